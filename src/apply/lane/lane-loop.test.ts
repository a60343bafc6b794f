/** What the loop does about housekeeping that fails. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DatabaseClock } from '../../clock/database-clock.ts';
import { fail } from '../../platform/errors.ts';
import type { ApplyPort } from '../apply-port.ts';
import type { Lane } from './lane.ts';
import { LaneLoop } from './lane-loop.ts';

/** Runs a loop without streams whose parked rows fail with these errors, one after the other; returns what it told. */
async function run(errors: readonly unknown[]): Promise<string[]> {
  const told: string[] = [];
  const stopping = new AbortController();
  let nowMs = 0;
  const failing = [...errors];
  const lane: Partial<Lane> = {
    isUnsettled: true,
    echoedLsn: 0n,
    stable: 0n,
    lookAgain: async () => 0,
    settleConflicts: async () => 0,
    pruneMerges: async () => 0,
    settle: async () => {
      const error = failing.shift();
      if (error !== undefined) throw error;
      told.push('settled');
      stopping.abort();
      return 1;
    },
  };
  const walEnds = { inserted: 0n, flushed: 0n };
  const port: Partial<ApplyPort> = {
    clockMicros: async () => 0n,
    prune: async () => undefined,
    walEnds: async () => walEnds,
  };
  const loop = new LaneLoop({
    region: 'eu',
    lane: lane as Lane,
    port: port as ApplyPort,
    consumers: [],
    batchRowsMax: 1,
    confirmedLsn: () => 0n,
    isPaused: () => false,
    wasStanding: () => false,
    onFault: () => undefined,
    onChoreFault: (chore, error) => told.push(`${chore} ${(error as { code?: string } | null)?.code ?? 'again'}`),
    leadLimits: () => ({ waitMicros: 0n, holdMicros: 0n }),
    clock: new DatabaseClock(),
    onBatch: () => undefined,
    prepareAcknowledgement: () => () => undefined,
    publishedTo: () => null,
    nextCommand: () => undefined,
    nowMs: () => (nowMs += 1_000),
  });
  await loop.run(stopping.signal, () => undefined);
  return told;
}

test('a chore that fails for a row or a table is told of, and tried again until it is done', async () => {
  const refused = Object.assign(new Error('violates a check constraint'), { code: '23514' });
  const keyless = fail('SYN-P012', 'a table has no key');
  assert.deepEqual(await run([refused, keyless]), [
    'parked rows SYN-A012',
    'parked rows SYN-A012',
    'settled',
    'parked rows again',
  ]);
});

test('one that meets a lock comes back without a word, and what is wrong with the connection ends the run', async () => {
  const locked = Object.assign(new Error('lock timeout'), { code: '55P03' });
  assert.deepEqual(await run([locked]), ['settled']);
  await assert.rejects(run([fail('SYN-P009', 'the connection was lost')]), { code: 'SYN-P009' });
});
