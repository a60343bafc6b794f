// ARCHITECTURE.md tells the way of one event in ten numbered steps, each with the file and the names
// that do it, written as `src/folder/file.ts` followed by one or more of `name` or `Class.method`,
// set apart by commas. The names exist in that file, so the page cannot rot unseen.

import { type Check, lineAt } from './source-tree.ts';

const PAGE = 'ARCHITECTURE.md';
const STEPS = 10;
const REFERENCE = /`(src\/[\w./-]+\.ts)`((?:,?\s+`[A-Za-z_$][\w$]*(?:\.#?[\w$]+)?(?:\(\))?`)+)/g;

export const checkArchitecture: Check = (tree) => {
  const page = tree.get(PAGE);
  if (page === undefined) return [`${PAGE}: is missing`];
  const complaints: string[] = [];
  for (const match of page.matchAll(REFERENCE)) {
    const [, path = '', names = ''] = match;
    const text = tree.get(path) ?? '';
    for (const [, name = ''] of names.matchAll(/`([^`(]+)(?:\(\))?`/g)) {
      const missing = name.split('.').filter((part) => !declares(text, part));
      if (missing.length > 0) complaints.push(`${PAGE}:${lineAt(page, match.index)}: ${path} declares no ${name}`);
    }
  }
  for (let step = 1; step <= STEPS; step += 1) {
    const text = new RegExp(`^${step}\\.\\s[\\s\\S]*?(?=^\\d+\\.\\s|^#|$(?![\\s\\S]))`, 'm').exec(page)?.[0];
    if (text === undefined) complaints.push(`${PAGE}: step ${step} is missing`);
    else if (text.search(REFERENCE) < 0) complaints.push(`${PAGE}: step ${step} names no file and function`);
  }
  return complaints;
};

/** Whether the module declares the name at its top or as a member of a class. */
export function declares(text: string, name: string): boolean {
  const escaped = name.replace(/[$#]/g, '\\$&');
  const declaration = `\\b(?:function\\*?|class|const|let|interface|type)\\s+${escaped}(?![\\w$])`;
  const member = `^\\s+(?:(?:static|async|override|readonly|get|set)\\s+)*\\*?${escaped}\\s*[(<:=]`;
  return new RegExp(`${declaration}|${member}`, 'm').test(text);
}
