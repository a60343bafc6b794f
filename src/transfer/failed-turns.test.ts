import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FailedTurns } from './failed-turns.ts';

test('a table that fails rests by itself, twice as long each time up to a bound, and is told once it lasts', () => {
  const turns = new FailedTurns();
  const rests: number[] = [];
  for (let nowMs = 0, times = 1; times <= 8; times += 1) {
    assert.equal(turns.failed('a', new Error('locked'), nowMs), times === 3);
    assert.deepEqual(turns.lasting, times < 3 ? [] : [{ code: 'SYN-K034', detail: 'a: locked', table: 'a' }]);
    assert.equal(turns.isResting('b', nowMs), false);
    const beganMs = nowMs;
    while (turns.isResting('a', nowMs)) nowMs += 1_000;
    rests.push(nowMs - beganMs);
  }
  assert.deepEqual(rests, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
  turns.passed('a');
  assert.deepEqual(turns.lasting, []);
  assert.equal(turns.isResting('a', 0), false);
});
