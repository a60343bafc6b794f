// Finds modules that nothing needs: not the command line, no test of a whole, no benchmark and no
// script. A module that only its own unit test imports is dead too.

import { reachableFrom } from './module-graph.ts';
import type { Check } from './source-tree.ts';

export const checkDeadFiles: Check = (tree) => {
  const paths = [...tree.keys()].filter((path) => path.endsWith('.ts'));
  const isRoot = (path: string): boolean =>
    path === 'src/main.ts' ||
    /^(scripts|bench)\//.test(path) ||
    (path.startsWith('test/') && path.endsWith('.test.ts'));
  const reached = reachableFrom(paths.filter(isRoot), tree);
  return paths
    .filter((path) => /^(src|test)\//.test(path) && !path.endsWith('.test.ts') && !reached.has(path))
    .map((path) => `${path}: nothing reaches it from src/main.ts, a test of a whole, bench/ or scripts/`);
};
