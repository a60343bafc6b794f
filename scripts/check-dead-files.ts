// Finds modules that nothing needs: not the command line, no test of a whole, no benchmark and no
// script. A source that only its own unit test imports is dead too; what supports tests may serve any.

import { reachableFrom } from './module-graph.ts';
import type { Check } from './source-tree.ts';

export const checkDeadFiles: Check = (tree) => {
  const paths = [...tree.keys()].filter((path) => path.endsWith('.ts'));
  const isTestFile = (path: string): boolean => path.endsWith('.test.ts');
  const isRoot = (path: string): boolean =>
    path === 'src/main.ts' ||
    // What replays schedules by hand.
    /^(scripts|bench)\/|^test\/simulation\/run-/.test(path) ||
    (path.startsWith('test/') && isTestFile(path));
  const reached = reachableFrom(paths.filter(isRoot), tree);
  const reachedByTests = reachableFrom(paths.filter(isTestFile), tree);
  const isNeeded = (path: string): boolean =>
    reached.has(path) || (path.startsWith('test/') && reachedByTests.has(path));
  return paths
    .filter((path) => /^(src|test)\//.test(path) && !isTestFile(path) && !isNeeded(path))
    .map((path) => `${path}: nothing reaches it from src/main.ts, a test of a whole, bench/ or scripts/`);
};
