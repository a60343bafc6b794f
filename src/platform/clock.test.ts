import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SystemClock, systemClock } from './clock.ts';

test('readings keep to the millisecond of the wall clock and add digits below it', () => {
  let millis = 1_700_000_000_000;
  let nanos = 5_000_000_000n;
  const clock = new SystemClock(
    () => millis,
    () => nanos,
  );
  assert.equal(clock.nowMicros(), 1_700_000_000_000_000n);
  nanos += 250_000n;
  assert.equal(clock.nowMicros(), 1_700_000_000_000_250n);
  nanos += 900_000n; // The timer runs ahead of a clock that has not ticked yet.
  assert.equal(clock.nowMicros(), 1_700_000_000_000_999n);
  millis += 1;
  nanos += 10_000n;
  assert.equal(clock.nowMicros(), 1_700_000_000_001_009n);
});

test('a clock that is set forward or back shows at once', () => {
  let millis = 1_000_000;
  let nanos = 0n;
  const clock = new SystemClock(
    () => millis,
    () => nanos,
  );
  clock.nowMicros();
  millis += 60_000;
  nanos += 1_000n;
  assert.equal(clock.nowMicros() / 1_000n, 1_060_000n);
  millis -= 120_000;
  nanos += 1_000n;
  assert.equal(clock.nowMicros() / 1_000n, 940_000n);
});

test('the system clock agrees with Date.now()', () => {
  const before = Date.now();
  const now = Number(systemClock.nowMicros() / 1_000n);
  assert.ok(before <= now && now <= Date.now());
});
