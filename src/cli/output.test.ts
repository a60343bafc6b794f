import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bytes, duration } from './output.ts';

test('durations are short, and precise where it matters', () => {
  const cases = [
    [null, '–'],
    [0, '0 ms'],
    [4.26, '4.3 ms'],
    [9_999, '9,999 ms'],
    [10_000, '10 s'],
    [119_499, '119 s'],
    [120_000, '2 min'],
    [7_200_000, '2 h 0 min'],
    [200_000_000, '2 d'],
  ] as const;
  for (const [ms, text] of cases) assert.equal(duration(ms), text);
});

test('sizes are short', () => {
  const cases = [
    [null, '–'],
    [0, '0 B'],
    [1_023, '1023 B'],
    [1_536, '1.5 KB'],
    [10 * 1024 ** 3, '10.0 GB'],
    [500 * 1024 ** 4, '500 TB'],
  ] as const;
  for (const [size, text] of cases) assert.equal(bytes(size), text);
});
