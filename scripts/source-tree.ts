// The files of the repository as the checks see them: paths from its root, with their text. Checks
// are functions of a tree to a list of complaints, so that their unit tests need no disk.

import { readdir, readFile } from 'node:fs/promises';
import { join, relative } from 'node:path';

/** Path from the root of the repository → text. */
export type SourceTree = ReadonlyMap<string, string>;

/** Complaints, each beginning with the path it is about; none means that the check passed. */
export type Check = (tree: SourceTree) => string[];

const LEFT_OUT = new Set(['node_modules', '.git', '.cache', 'results', 'fixtures', 'package-lock.json']);
const TEXT = /\.(ts|js|mjs|json|md|sql|yaml|yml|sh)$|^(bin|\.ci)\//;

export async function readSourceTree(root: string): Promise<SourceTree> {
  const tree = new Map<string, string>();
  const visit = async (folder: string): Promise<void> => {
    for (const entry of await readdir(folder, { withFileTypes: true })) {
      if (LEFT_OUT.has(entry.name)) continue;
      const path = join(folder, entry.name);
      if (entry.isDirectory()) await visit(path);
      else if (entry.isFile() && TEXT.test(relative(root, path))) {
        tree.set(relative(root, path), await readFile(path, 'utf8'));
      }
    }
  };
  await visit(root);
  return new Map([...tree].sort(([a], [b]) => (a < b ? -1 : 1)));
}

export const isTest = (path: string): boolean => path.endsWith('.test.ts') || path.startsWith('test/');

/** Number of the line at an offset of the text, from one. */
export const lineAt = (text: string, offset: number): number => text.slice(0, offset).split('\n').length;
