import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ROWS_OF_TIME_MIN, rowsAfter, rowsAfterLock } from './batch-size.ts';

const ROWS_MAX = 5_000;

test('a batch that took long makes the next one smaller, and others make it larger, up to the bound', () => {
  assert.equal(rowsAfter(4_000, 800, ROWS_MAX), 2_000);
  assert.equal(rowsAfter(400, 800, ROWS_MAX), ROWS_OF_TIME_MIN);
  assert.equal(rowsAfter(1_000, 100, ROWS_MAX), 2_000);
  assert.equal(rowsAfter(4_000, 100, ROWS_MAX), ROWS_MAX);
});

test('a database for which every batch takes long gets batches of more than a row all the same', () => {
  let rows = ROWS_MAX;
  for (let batch = 0; batch < 20; batch += 1) rows = rowsAfter(rows, 3_000, ROWS_MAX);
  assert.equal(rows, ROWS_OF_TIME_MIN);
  // As after locks of users, which leave a single row.
  for (rows = 1; rows < ROWS_OF_TIME_MIN; ) {
    const next = rowsAfter(rows, 3_000, ROWS_MAX);
    assert.ok(next > rows);
    rows = next;
  }
});

test('rows that take their time end in batches that are short, or small, whatever a row takes', () => {
  fc.assert(
    fc.property(
      fc.double({ min: 0.001, max: 50, noNaN: true }),
      fc.nat(400),
      fc.integer({ min: 1, max: ROWS_MAX }),
      (rowMs, fixedMs, start) => {
        let rows = start;
        const took = (): number => fixedMs + rows * rowMs;
        for (let batch = 0; batch < 40; batch += 1) rows = rowsAfter(rows, took(), ROWS_MAX);
        // It goes to and fro about the size that takes half a second.
        assert.ok(rows <= 2 * ROWS_OF_TIME_MIN || took() <= 2 * 500);
        assert.ok(rows >= Math.min(ROWS_OF_TIME_MIN, ROWS_MAX));
      },
    ),
  );
});

test('a lock leaves half, and in the end one row', () => {
  assert.deepEqual([9, 2, 1].map(rowsAfterLock), [4, 1, 1]);
});

test('no size is beyond the bound, however small that is', () => {
  assert.equal(rowsAfter(10, 3_000, 10), 10);
  assert.equal(rowsAfter(10, 10, 10), 10);
});
