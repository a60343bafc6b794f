import assert from 'node:assert/strict';
import { test } from 'node:test';
import { boundedMicros, isoToMicros, isoToMillis, microsToIso } from './change-event.ts';

test('times keep their microseconds, also before 1970', () => {
  assert.equal(microsToIso(1_767_225_600_000_001n), '2026-01-01T00:00:00.000001Z');
  assert.equal(microsToIso(-1n), '1969-12-31T23:59:59.999999Z');
  for (const micros of [0n, -1n, -28_500_000_000_000_123n, 1_767_225_600_123_456n]) {
    assert.equal(isoToMicros(microsToIso(micros)), micros);
    assert.equal(isoToMillis(microsToIso(micros)), Math.floor(Number(micros) / 1_000));
  }
});

test('a time beyond all years is the nearest that can be told', () => {
  for (const [micros, iso] of [
    [2n ** 63n, '9999-12-31T23:59:59.999999Z'],
    [-(2n ** 63n), '0001-01-01T00:00:00.000000Z'],
  ] as const) {
    assert.equal(microsToIso(boundedMicros(micros)), iso);
    assert.equal(isoToMicros(iso), boundedMicros(micros));
  }
  assert.equal(boundedMicros(5n), 5n);
});
