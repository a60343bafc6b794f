import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { LAG_WINDOW_MS, LagWindow } from './lag-window.ts';

test('without events there is no percentile', () => {
  assert.equal(new LagWindow(() => 0).percentiles([0.5, 0.99]), null);
});

test('percentiles are within a few percent of the exact ones', () => {
  const delays = fc.array(fc.double({ min: 0.2, max: 80_000_000, noNaN: true }), { minLength: 1, maxLength: 200 });
  const share = fc.double({ min: 0, max: 1, noNaN: true });
  fc.assert(
    fc.property(delays, share, (samples, wanted) => {
      const window = new LagWindow(() => 0);
      for (const sample of samples) window.record(sample);
      const sorted = samples.toSorted((a, b) => a - b);
      const exact = sorted[Math.max(1, Math.ceil(wanted * sorted.length)) - 1] ?? 0;
      const [answer] = window.percentiles([wanted]) ?? [Number.NaN];
      assert.ok(Math.abs(answer - exact) <= exact * 0.05 + 0.1, `${answer} instead of ${exact}`);
    }),
  );
});

test('a batch counts as many times as it has events', () => {
  const window = new LagWindow(() => 0);
  window.record(10, 99);
  window.record(5_000, 1);
  const [p50, p99, p100] = window.percentiles([0.5, 0.99, 1]) ?? [];
  assert.ok(p50 !== undefined && p50 > 9 && p50 < 11);
  assert.equal(p99, p50);
  assert.ok(p100 !== undefined && p100 > 4_700 && p100 < 5_300);
});

test('what is older than the window no longer counts, and a rest empties it', () => {
  let nowMs = 0;
  const window = new LagWindow(() => nowMs);
  window.record(1_000, 1_000);
  nowMs = LAG_WINDOW_MS - 20_000;
  window.record(1);
  assert.ok((window.percentiles([0.5])?.[0] ?? 0) > 900);
  nowMs = LAG_WINDOW_MS + 10_000;
  assert.ok((window.percentiles([0.5])?.[0] ?? 1_000) < 2);
  nowMs = 10 * LAG_WINDOW_MS;
  assert.equal(window.percentiles([0.5]), null);
});

test('a delay that clocks made negative, or that is beyond a day, stays in range', () => {
  const window = new LagWindow(() => 0);
  for (const delay of [-5, Number.NaN, 0, 1e12]) window.record(delay);
  const [p50, p100] = window.percentiles([0.5, 1]) ?? [];
  assert.equal(p50, 0);
  assert.ok(p100 !== undefined && p100 > 80_000_000);
});
