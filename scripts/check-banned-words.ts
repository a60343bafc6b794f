// Words that have no place in a finished tree: notes to oneself, tests that are switched off or that
// switch off others, debugging leftovers, and paths of one machine or numbers of a tracker, which
// mean nothing to a reader elsewhere.

import { type Check, isTest, lineAt } from './source-tree.ts';

interface Ban {
  readonly pattern: RegExp;
  readonly why: string;
  readonly applies?: (path: string) => boolean;
}

const isCode = (path: string): boolean => path.endsWith('.ts');

const BANS: readonly Ban[] = [
  { pattern: /\b(TODO|FIXME|XXX|HACK)\b/g, why: 'do it now, or leave it out' },
  { pattern: /\b(test|it|describe|suite)\.(only|skip|todo)\b/g, why: 'every test runs', applies: isTest },
  { pattern: /\b(only|skip|todo):\s*(true|['"`])/g, why: 'every test runs', applies: isTest },
  { pattern: /\bt(ext|estContext)?\.(skip|todo)\(/g, why: 'every test runs', applies: isTest },
  { pattern: /@ts-(ignore|nocheck|expect-error)\b/g, why: 'the compiler is right', applies: isCode },
  { pattern: /\b(biome-ignore|oxlint-disable|eslint-disable)\b/g, why: 'the linter is right', applies: isCode },
  { pattern: /^\s*debugger\b/gm, why: 'a leftover of debugging', applies: isCode },
  { pattern: /(?<![\w.])\/(work|home|Users|root)\/\w/g, why: 'a path of one machine' },
  { pattern: /\b(issue|ticket|pull request|PR) #?\d+\b|\(#\d+\)/gi, why: 'a number of a tracker' },
];

export const checkBannedWords: Check = (tree) => {
  const complaints: string[] = [];
  for (const [path, text] of tree) {
    if (path.startsWith('scripts/check-banned-words')) continue;
    for (const { pattern, why, applies } of BANS) {
      if (applies !== undefined && !applies(path)) continue;
      for (const match of text.matchAll(pattern)) {
        complaints.push(`${path}:${lineAt(text, match.index)}: "${match[0].trim()}": ${why}`);
      }
    }
  }
  return complaints;
};
