// docs/errors.md and the table of src/platform/errors.ts say the same: every code has a section with
// its class, cause and remedy word for word, and every section has a code. What else a section tells
// is free. With --write, missing sections are added and changed lines replaced.

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ERRORS, type ErrorEntry } from '../src/platform/errors.ts';
import type { Check } from './source-tree.ts';

const PAGE = 'docs/errors.md';
type Table = Readonly<Record<string, ErrorEntry>>;

export const checkErrorsDoc: Check = (tree) => compareErrorsDoc(tree.get(PAGE) ?? '', ERRORS);

export function compareErrorsDoc(page: string, table: Table): string[] {
  const complaints: string[] = [];
  const sections = sectionsOf(page);
  for (const [code, entry] of Object.entries(table)) {
    const section = sections.get(code);
    if (section === undefined) complaints.push(`${PAGE}: no section for ${code}`);
    else if (!section.startsWith(facts(entry))) complaints.push(`${PAGE}: ${code} differs from src/platform/errors.ts`);
  }
  for (const code of sections.keys()) {
    if (!(code in table)) complaints.push(`${PAGE}: ${code} is no code of src/platform/errors.ts`);
  }
  return complaints.map((complaint) => `${complaint} (npm run docs:errors)`);
}

/** The page with a section for each code, in the order of the table; other text of a section stays. */
export function renewErrorsDoc(page: string, table: Table): string {
  const sections = sectionsOf(page);
  const introduction = page.split(/^## /m)[0]?.trimEnd() ?? '';
  const renewed = Object.entries(table).map(([code, entry]) => {
    const more = (sections.get(code) ?? '').replace(/^- Class:.*\n- Cause:.*\n- Remedy:.*\n?/, '').trim();
    return `## ${code}\n\n${facts(entry)}${more === '' ? '' : `\n\n${more}`}`;
  });
  return `${[introduction, ...renewed].join('\n\n')}\n`;
}

const facts = (entry: ErrorEntry): string =>
  `- Class: ${entry.class}\n- Cause: ${entry.cause}\n- Remedy: ${entry.remedy}`;

/** Code → text of its section. */
function sectionsOf(page: string): Map<string, string> {
  const parts = page.split(/^## /m).slice(1);
  return new Map(parts.map((part) => [part.split('\n')[0]?.trim() ?? '', part.slice(part.indexOf('\n')).trim()]));
}

if (import.meta.main && process.argv.includes('--write')) {
  const path = join(import.meta.dirname, '..', PAGE);
  await writeFile(path, renewErrorsDoc(await readFile(path, 'utf8'), ERRORS));
}
