// What doctor found, for a person: errors, warnings and notes, each kind once.
//
// A schema with two hundred tables has the same fault two hundred times. Findings that differ only in
// what they name become one paragraph: all names, the reason once, and one block of statements that can
// be copied as it is, so nothing of it is wrapped, cut or indented. Notes need nothing and print no
// statements.

import { CHECKS, type CheckCode, type Severity } from '../monitor/checks/check-list.ts';
import type { Finding } from '../monitor/checks/finding.ts';
import { paint } from './output.ts';
import { widthOf } from './text-table.ts';

const MARK: Readonly<Record<Severity, string>> = { error: '✖', warning: '!', info: 'i' };
const COLOUR = { error: 'red', warning: 'yellow', info: 'cyan' } as const;
const NOUN: Readonly<Record<Severity, string>> = { error: 'error', warning: 'warning', info: 'note' };
const HEADING: Readonly<Record<Severity, string>> = {
  error: 'Errors: the agent would not start, a table would stay out, or regions would differ',
  warning: 'Warnings: risks to decide on',
  info: 'Notes: worth knowing, nothing is needed',
};
const SEVERITIES = ['error', 'warning', 'info'] as const;
const ORDER = Object.keys(CHECKS) as CheckCode[];
const NONE_NEEDED = /^(--|#) none is needed/;
const EXCLUDE = /^# (?:or )?in the configuration: tables: \{ exclude: (\[.*\]) \}$/;
/** How many findings of one kind are told in full, and how many tables a note names. */
const TOLD_MAX = 8;
const NAMES_MAX = 6;

/** Sections of findings, then one line that sums up; `fit` is that line where nothing has to be done. */
export function renderFindings(
  name: string,
  findings: readonly Finding[],
  width: number,
  fit = `${name} is fit`,
): string {
  const sections = SEVERITIES.flatMap((severity) => {
    const groups = grouped(findings.filter((each) => each.severity === severity));
    if (groups.length === 0) return [];
    return [paint('bold', HEADING[severity]), '', ...groups.map((group) => `${renderGroup(group, width)}\n`)];
  });
  return [...sections, summary(name, findings, fit)].join('\n');
}

export function countOf(findings: readonly Finding[], severity: Severity): number {
  return findings.filter((each) => each.severity === severity).length;
}

function summary(name: string, findings: readonly Finding[], fit: string): string {
  const [errors, warnings, notes] = SEVERITIES.map((severity) => {
    const count = countOf(findings, severity);
    return `${count} ${NOUN[severity]}${count === 1 ? '' : 's'}`;
  });
  const isFit = findings.every(({ severity }) => severity === 'info');
  if (!isFit) return `${name}: ${errors}, ${warnings}, ${notes}`;
  return paint('green', fit) + (findings.length === 0 ? '' : ` (${notes})`);
}

/** Findings of one kind together, in the order of the list of checks. */
function grouped(findings: readonly Finding[]): Finding[][] {
  const groups = new Map<string, Finding[]>();
  for (const finding of findings) {
    const kind = `${finding.code} ${finding.why}`;
    groups.set(kind, [...(groups.get(kind) ?? []), finding]);
  }
  const place = ([first]: readonly Finding[]): number => (first === undefined ? 0 : ORDER.indexOf(first.code));
  return [...groups.values()].sort((a, b) => place(a) - place(b));
}

function renderGroup(group: readonly Finding[], width: number): string {
  const [first] = group;
  if (first === undefined) return '';
  const { code, severity, why } = first;
  const head = `${MARK[severity]} ${code}`;
  const what = severity === 'info' ? noted(group) : told(group);
  const [opening = '', ...more] = what.flatMap((text) => wrapped(text, width - head.length - 1));
  const indent = ' '.repeat(head.length + 1);
  const reason = wrapped(why, width - 2).map((line) => `  ${line}`);
  const lines = [
    `${paint(COLOUR[severity], head)} ${paint('bold', opening)}`,
    ...more.map((line) => `${indent}${paint('bold', line)}`),
    ...reason,
  ];
  const fix = mergedFixes(group.map((each) => each.fix));
  return [...lines, ...(fix.some((line) => NONE_NEEDED.test(line)) ? [] : fix)].join('\n');
}

function told(group: readonly Finding[]): string[] {
  const shown = group.slice(0, TOLD_MAX).map(({ what }) => what);
  const rest = group.length - shown.length;
  return rest === 0 ? shown : [...shown, `… and ${rest} more, which --json lists.`];
}

/** One sentence for a note about several tables. */
function noted(group: readonly Finding[]): string[] {
  const [first] = group;
  const tables = group.map(({ table }) => table);
  if (first === undefined || group.length === 1 || tables.includes(undefined)) return told(group);
  const named = tables.slice(0, NAMES_MAX).join(', ');
  const rest = tables.length - NAMES_MAX;
  const title = CHECKS[first.code].title;
  return [`${title[0]?.toUpperCase()}${title.slice(1)}: ${named}${rest > 0 ? ` and ${rest} more` : ''}.`];
}

/** Their lines, with a comment that they share once, and what to exclude as one list. */
export function mergedFixes(fixes: readonly string[]): string[] {
  const lines: string[] = [];
  const settings = new Set<string>();
  const excluded: string[] = [];
  let heading = '';
  for (const fix of fixes) {
    const comments: string[] = [];
    for (const line of fix.split('\n')) {
      const exclude = EXCLUDE.exec(line)?.[1];
      if (exclude !== undefined) excluded.push(...(JSON.parse(exclude) as string[]));
      else if (line.startsWith('#')) settings.add(line);
      else if (line.startsWith('--')) comments.push(line);
      else {
        if (comments.length > 0 && comments.join('\n') !== heading) lines.push(...comments);
        if (comments.length > 0) heading = comments.splice(0).join('\n');
        lines.push(line);
      }
    }
    if (comments.length > 0 && comments.join('\n') !== heading) {
      lines.push(...comments);
      heading = comments.join('\n');
    }
  }
  lines.push(...settings);
  if (excluded.length > 0) {
    const or = lines.length > 0 ? 'or ' : '';
    lines.push(`# ${or}in the configuration: tables: { exclude: ${JSON.stringify(excluded)} }`);
  }
  return lines;
}

/** The words in lines that fit; a word that is too long stands alone. */
function wrapped(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && widthOf(line) + 1 + widthOf(word) > width) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line];
}
