// docs/doctor.md and the list of what doctor finds say the same: each area has a section, which begins
// with a table of its checks, with level, cause and remedy word for word as in the table of errors. What
// else the page tells is free. With --write, the tables are renewed.

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AREAS, type Area, CHECKS, type CheckCode } from '../src/monitor/checks/check-list.ts';
import { ERRORS } from '../src/platform/errors.ts';
import type { Check } from './source-tree.ts';

const PAGE = 'docs/doctor.md';
const HEADER = ['| code | check | level | what it finds | how it is mended |', '| --- | --- | --- | --- | --- |'];

export const checkDoctorDoc: Check = (tree) => {
  const page = tree.get(PAGE) ?? '';
  if (page === renewDoctorDoc(page)) return [];
  return [`${PAGE} differs from src/monitor/checks/check-list.ts or src/platform/errors.ts (npm run docs:errors)`];
};

/** The page with a section for each area, in their order, and its table; other text stays. */
export function renewDoctorDoc(page: string): string {
  const [introduction = '', ...parts] = page.split(/^## /m);
  const rest = new Map(parts.map((part) => [part.split('\n')[0]?.trim() ?? '', afterTable(part)]));
  const areas = Object.entries(AREAS).map(([area, title]) => {
    const more = rest.get(title) ?? '';
    rest.delete(title);
    return `## ${title}\n\n${tableOf(area as Area)}${more === '' ? '' : `\n\n${more}`}`;
  });
  const others = parts.filter((part) => rest.has(part.split('\n')[0]?.trim() ?? '')).map((part) => `## ${part.trim()}`);
  return `${[introduction.trim(), ...areas, ...others].join('\n\n')}\n`;
}

function tableOf(area: Area): string {
  const cell = (text: string): string => text.replaceAll('|', '\\|');
  const rows = (Object.keys(CHECKS) as CheckCode[])
    .filter((code) => CHECKS[code].area === area)
    .map((code) => {
      const { title, levels } = CHECKS[code];
      const { cause, remedy } = ERRORS[code];
      const level = levels.map((each) => (each === 'info' ? 'note' : each)).join(', ');
      return `| [${code}](errors.md#${code.toLowerCase()}) | ${title} | ${level} | ${cell(cause)} | ${cell(remedy)} |`;
    });
  return [...HEADER, ...rows].join('\n');
}

/** What a section says below its table. */
function afterTable(part: string): string {
  const lines = part.split('\n').slice(1);
  const end = lines.findLastIndex((line) => line.startsWith('|'));
  return lines
    .slice(end + 1)
    .join('\n')
    .trim();
}

if (import.meta.main && process.argv.includes('--write')) {
  const path = join(import.meta.dirname, '..', PAGE);
  await writeFile(path, renewDoctorDoc(await readFile(path, 'utf8')));
}
