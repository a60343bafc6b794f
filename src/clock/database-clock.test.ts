import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hlcFromMicros, hlcNext } from '../change/hlc.ts';
import { DatabaseClock, leadMicros } from './database-clock.ts';

type TestClock = {
  readonly clock: DatabaseClock;
  readonly pass: (ms: number) => void;
  readonly read: (server: bigint, tripMs: number) => Promise<void>;
};

/** A clock whose reading takes as long as it is told. */
function clockOf(): TestClock {
  let now = 0;
  const clock = new DatabaseClock(() => now);
  return {
    clock,
    pass: (ms) => {
      now += ms;
    },
    read: async (server, tripMs) =>
      await clock.read(async () => {
        now += tripMs;
        return server;
      }),
  };
}

test('knows nothing before the first reading, and goes on from there at its own pace', async () => {
  const { clock, pass, read } = clockOf();
  assert.equal(clock.nowMicros(), null);
  assert.equal(clock.ageMs, Number.POSITIVE_INFINITY);
  await read(1_000_000n, 30);
  assert.equal(clock.nowMicros(), 1_000_000n, 'never early');
  pass(2.5);
  assert.equal(clock.nowMicros(), 1_002_500n);
  assert.equal(clock.ageMs, 2.5);
});

test('a slow reading does not set it back', async () => {
  const { clock, pass, read } = clockOf();
  await read(1_000_000n, 0);
  pass(1_000);
  await read(2_000_000n, 40);
  assert.equal(clock.nowMicros(), 2_040_000n);
});

test('follows a server whose clock is set back or forth', async () => {
  const { clock, read } = clockOf();
  await read(10_000_000n, 0);
  await read(5_000_000n, 1);
  assert.equal(clock.nowMicros(), 5_001_000n);
  await read(20_000_000n, 1);
  assert.equal(clock.nowMicros(), 20_000_000n);
});

test('a lead counts to the first microsecond that covers the stamp', () => {
  assert.equal(leadMicros(hlcFromMicros(10n), 10n), 0n);
  assert.equal(leadMicros(hlcNext(hlcFromMicros(10n)), 10n), 1n);
  assert.equal(leadMicros(hlcFromMicros(10n), 11n), 0n);
});
