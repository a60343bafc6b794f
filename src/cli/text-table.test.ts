import assert from 'node:assert/strict';
import { test } from 'node:test';
import { shortened, textTable, widthOf } from './text-table.ts';

test('columns are as wide as their widest cell, numbers stand to the right', () => {
  const columns = [{ title: 'LINK' }, { title: 'LAG', align: 'right' }, { title: 'NOTE' }] as const;
  assert.deepEqual(
    textTable(columns, [
      ['us → eu', '5 ms', ''],
      ['東京 → eu', '12,000 ms', 'late'],
    ]),
    ['LINK             LAG  NOTE', 'us → eu         5 ms', '東京 → eu  12,000 ms  late'],
  );
});

test('a column without any cell is left out', () => {
  assert.deepEqual(textTable([{ title: 'A' }, { title: 'B' }], [['1', '']]), ['A', '1']);
});

test('width is what a terminal shows', () => {
  const cases = [
    ['abc', 3],
    ['\u001b[31mred\u001b[0m', 3],
    ['語', 2],
    ['🎉', 2],
    ['e\u0301', 1],
  ] as const;
  for (const [text, width] of cases) assert.equal(widthOf(text), width, text);
});

test('long values are cut, and none can command the terminal', () => {
  assert.equal(shortened('abcdef', 6), 'abcdef');
  assert.equal(shortened('abcdefg', 6), 'abcde…');
  assert.equal(shortened('a\nb\u001b[2J', 20), 'a\\nb\\u001b[2J');
  assert.equal(shortened('語語語語', 5), '語語…');
  assert.equal(shortened('x'.repeat(1_000_000), 10), 'xxxxxxxxx…');
});
