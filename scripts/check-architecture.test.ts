import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkArchitecture, declares } from './check-architecture.ts';

const SOURCE = `
export async function applyBatch<T>(rows: T[]): Promise<void> {}
export class Stamper {
  static async start(): Promise<void> {}
  async stamp(row: string): Promise<void> {}
  get #last(): number { return 0; }
}
export const LIMIT = 5;
`;
const step = (number: number, text = '`src/a.ts` `Stamper.stamp`'): string =>
  `${number}. Something happens: ${text}.\n`;
const page = (steps: string[]): string => `# Architecture\n\n${steps.join('')}\n## More\n`;
const complaints = (text: string): string[] =>
  checkArchitecture(
    new Map([
      ['ARCHITECTURE.md', text],
      ['src/a.ts', SOURCE],
    ]),
  );
const ten = Array.from({ length: 10 }, (_, index) => step(index + 1));

test('declared functions, classes, members and constants are found', () => {
  for (const name of ['applyBatch', 'Stamper', 'start', 'stamp', '#last', 'LIMIT'])
    assert.ok(declares(SOURCE, name), name);
  for (const name of ['apply', 'rows', 'Stamp', 'LIMITS']) assert.ok(!declares(SOURCE, name), name);
});

test('ten steps whose names exist pass', () => {
  assert.deepEqual(complaints(page(ten)), []);
  assert.deepEqual(complaints(page(ten.with(2, step(3, '`src/a.ts` `applyBatch()`, `LIMIT`')))), []);
});

test('a missing step, a step without names and a name that is gone are complaints', () => {
  assert.deepEqual(complaints(page(ten.slice(0, 9))), ['ARCHITECTURE.md: step 10 is missing']);
  assert.deepEqual(complaints(page(ten.with(0, step(1, 'by magic')))), [
    'ARCHITECTURE.md: step 1 names no file and function',
  ]);
  assert.deepEqual(complaints(page(ten.with(0, step(1, '`src/a.ts` `Stamper`, `Stamper.gone`')))), [
    'ARCHITECTURE.md:3: src/a.ts declares no Stamper.gone',
  ]);
  assert.deepEqual(checkArchitecture(new Map()), ['ARCHITECTURE.md: is missing']);
});
