import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DriftWindow } from './clock-drift.ts';

test('the quickest way of the window counts, and both directions give drift and error', () => {
  const window = new DriftWindow(() => 0);
  assert.equal(window.drift, null);
  // The source is 5 s ahead, and ways take 10 ms and more.
  for (const way of [30, 10, 500]) window.record(way - 5_000, null);
  assert.equal(window.leastMs, -4_990);
  assert.deepEqual(window.drift, { drift_ms: 4_990, error_ms: null }, 'at least');
  window.record(-4_980, 5_014);
  assert.deepEqual(window.drift, { drift_ms: 5_002, error_ms: 12 });
});

test('what is old is forgotten', () => {
  let now = 0;
  const window = new DriftWindow(() => now);
  window.record(-100, 100);
  now = 29_000;
  window.record(50, 50);
  assert.equal(window.leastMs, -100);
  now = 31_000;
  assert.deepEqual(window.drift, { drift_ms: 0, error_ms: 50 });
  now = 100_000;
  assert.equal(window.drift, null);
});
