import assert from 'node:assert/strict';
import { test } from 'node:test';
import { importsOf, reachableFrom } from './module-graph.ts';

test('static, type, dynamic and side-effect imports are found', () => {
  const text = `
import type { A } from './a.ts';
import './b.ts';
export { c } from "../c.ts";
import fs, {
  x,
} from 'node:fs';
const d = await import('./d.ts');
const transform = 'from here';
`;
  assert.deepEqual(importsOf('src/x/y.ts', text), ['src/x/a.ts', 'src/x/b.ts', 'src/c.ts', 'node:fs', 'src/x/d.ts']);
});

test('files are reached through imports and through paths in strings', () => {
  const tree = new Map([
    ['src/main.ts', "import './a.ts'; new Worker(new URL('./worker.ts', import.meta.url));"],
    ['src/a.ts', "import './main.ts';"],
    ['src/worker.ts', ''],
    ['src/dead.ts', "import './a.ts';"],
  ]);
  assert.deepEqual([...reachableFrom(['src/main.ts'], tree)].sort(), ['src/a.ts', 'src/main.ts', 'src/worker.ts']);
});
