// Who imports whom, read from the text of the modules: static and dynamic imports, type imports too,
// and files that are named by a relative path in a string, as workers and child processes are.

import { posix } from 'node:path';
import type { SourceTree } from './source-tree.ts';

const IMPORT = /(?:^|[^\w.])(?:from|import)\s*\(?\s*(['"])([^'"\n]+)\1/g;
const FILE_IN_STRING = /(['"`])(\.{1,2}\/[^'"`\n]+\.ts)\1/g;

/** The module's imports: repository paths for relative ones, package names as they stand. */
export function importsOf(path: string, text: string): string[] {
  const specifiers = [...text.matchAll(IMPORT)].map((match) => match[2] ?? '');
  return specifiers.map((specifier) => (specifier.startsWith('.') ? resolveFrom(path, specifier) : specifier));
}

/** Every file of the tree that can be reached from the roots. */
export function reachableFrom(roots: readonly string[], tree: SourceTree): Set<string> {
  const reached = new Set<string>();
  const open = [...roots];
  for (let path = open.pop(); path !== undefined; path = open.pop()) {
    const text = tree.get(path);
    if (text === undefined || reached.has(path)) continue;
    reached.add(path);
    const named = [...text.matchAll(FILE_IN_STRING)].map((match) => resolveFrom(path, match[2] ?? ''));
    open.push(...importsOf(path, text), ...named);
  }
  return reached;
}

const resolveFrom = (path: string, specifier: string): string => posix.join(posix.dirname(path), specifier);
