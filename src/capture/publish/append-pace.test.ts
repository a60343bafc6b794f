import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { pacedAppends } from './append-pace.ts';

/** Asks for appends at these times, and returns when each started. */
function startsOf(t: TestContext, asked: readonly { readonly atMs: number; readonly isUrgent?: boolean }[]): number[] {
  t.mock.timers.enable({ apis: ['setTimeout', 'setImmediate'] });
  let nowMs = 0;
  const starts: number[] = [];
  const defer = pacedAppends(() => nowMs);
  for (; nowMs < 100; nowMs += 1) {
    for (const { atMs, isUrgent } of asked) if (atMs === nowMs) defer(() => starts.push(nowMs), isUrgent === true);
    t.mock.timers.tick(1);
  }
  return starts;
}

test('an append after a rest starts at once, and one behind another waits until that is a while ago', (t) => {
  assert.deepEqual(startsOf(t, [{ atMs: 10 }, { atMs: 12 }, { atMs: 40 }]), [10, 14, 40]);
});

test('an urgent one starts at once, and counts for the one behind it', (t) => {
  assert.deepEqual(startsOf(t, [{ atMs: 10 }, { atMs: 12, isUrgent: true }, { atMs: 13 }]), [10, 12, 16]);
});
