import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { RunIndex } from './run-index.ts';

const highestBelow = (runs: readonly number[], before: number): number => Math.max(-1, ...runs.slice(0, before));

describe('the index of runs', () => {
  test('tells the highest run below any place, whoever looked through which part', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat({ max: 5 }), { minLength: 1, maxLength: 60 }),
        fc.array(fc.nat({ max: 60 }), { maxLength: 6 }),
        fc.nat({ max: 60 }),
        (runs, handovers, first) => {
          let index = new RunIndex();
          for (const [offset, run] of runs.entries()) {
            // Somebody else goes on from what was kept, which leaves out what is trimmed.
            if (handovers.includes(offset)) {
              const kept = structuredClone(index.coverage(Math.min(first, offset)));
              index = new RunIndex();
              index.adopt(kept);
            }
            index.extend(offset, run);
          }
          assert.equal(index.coveredTo, runs.length);
          for (let before = Math.min(first, runs.length); before <= runs.length; before += 1) {
            if (before > 0) assert.equal(index.runBefore(before), highestBelow(runs, before), `before ${before}`);
          }
        },
      ),
    );
  });

  test('does not give up what it knows for what somebody kept earlier', () => {
    const index = new RunIndex();
    index.extend(0, 1);
    const kept = index.coverage(0);
    index.extend(1, 2);
    index.adopt(kept);
    assert.equal(index.runBefore(2), 2);
  });

  test('never tells of a place that it does not cover', () => {
    const index = new RunIndex();
    index.extend(3, 1);
    assert.equal(index.runBefore(3), -1);
    assert.equal(index.runBefore(4), 1);
    assert.throws(() => index.runBefore(5));
    assert.throws(() => index.extend(3, 2));
  });
});
