import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkBannedWords } from './check-banned-words.ts';

const count = (path: string, text: string): number => checkBannedWords(new Map([[path, text]])).length;

test('banned words are found with their line', () => {
  assert.deepEqual(checkBannedWords(new Map([['src/a.ts', 'const a = 1;\n// TODO: later']])), [
    'src/a.ts:2: "TODO": do it now, or leave it out',
  ]);
  const cases = [
    ['src/a.test.ts', 'test.only("x", () => {})'],
    ['test/a.test.ts', 'describe.skip("x", () => {})'],
    ['test/a.test.ts', 'test("x", { skip: "slow" }, () => {})'],
    ['test/a.test.ts', 't.skip("no server")'],
    ['src/a.ts', '// @ts-ignore'],
    ['src/a.ts', '// biome-ignore lint: x'],
    ['src/a.ts', '  debugger;'],
    ['docs/a.md', 'see /home/me/notes'],
    ['src/a.ts', '// as in issue 12'],
  ] as const;
  for (const [path, text] of cases) assert.equal(count(path, text), 1, text);
});

test('words that only look alike pass', () => {
  const cases = [
    ['src/a.ts', 'rows.skip(3)'],
    ['src/a.ts', 'const todos = 1;'],
    ['src/a.ts', "import x from '../work/a.ts'"],
    ['docs/a.md', 'https://example.com/home/page'],
  ] as const;
  for (const [path, text] of cases) assert.equal(count(path, text), 0, text);
});
