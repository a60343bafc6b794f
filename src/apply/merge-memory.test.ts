/** What rows begin with of which nothing is kept, and that looking at them leaves no trace. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ONE_TABLE } from '../../test/support/one-table.ts';
import { makePosition } from '../change/position.ts';
import { type ApplyTransaction, EVERY_ROW, type HistoryEntry, type RowKey } from './apply-port.ts';
import { MergeMemory } from './merge-memory.ts';
import { MergeRules } from './merge-rules.ts';
import { MergeWriter } from './merge-writer.ts';

const KEY = '["3"]';
const epoch = '0000000000000000001';

const truncated = (hlc: bigint): HistoryEntry => ({
  version: { hlc, origin: 'us' },
  position: makePosition(epoch, hlc),
  index: 0,
  event_id: `us ${hlc}`,
  seen: {},
  before: null,
  after: null,
  merge: undefined,
});

/** A database that keeps nothing but these events on every row. */
function keeping(entries: readonly HistoryEntry[]): ApplyTransaction {
  const merges = new Map([[EVERY_ROW, { state: null, events: entries }]]);
  return { merges: async () => merges } as unknown as ApplyTransaction;
}

const begun = async (memory: MergeMemory, kept: readonly HistoryEntry[], setAside: readonly RowKey[]) => {
  const inheritance = { above: 5n, isLate: (key: RowKey) => setAside.includes(key) };
  const loaded = (await memory.load(keeping(kept), ONE_TABLE, [KEY], inheritance)).get(KEY);
  return loaded?.inherited.map(({ event_id }) => event_id);
};

test('a row of which nothing is kept begins with the TRUNCATEs that are not stable', async () => {
  const kept = [truncated(4n), truncated(6n)];
  assert.deepEqual(await begun(new MergeMemory(new MergeRules()), kept, []), ['us 6']);
});

test('one of which an event is set aside, which may be older, begins with all that there are', async () => {
  const kept = [truncated(4n), truncated(6n)];
  assert.deepEqual(await begun(new MergeMemory(new MergeRules()), kept, [KEY]), ['us 4', 'us 6']);
});

test('a row that was only looked at has what is emptied behind the look', async () => {
  const memory = new MergeMemory(new MergeRules());
  const writer = new MergeWriter(keeping([]), async () => new Map(), {
    rules: new MergeRules(),
    memory,
    functions: async () => [],
    region: 'eu',
    epoch,
    echoedLsn: 0n,
    seen: {},
    isEcho: false,
    isBehind: null,
    stable: 5n,
    setAside: async () => new Set(),
  });
  assert.deepEqual(await writer.results(ONE_TABLE, [{ key: KEY, version: { hlc: 3n, origin: 'us' } }]), [null]);
  assert.deepEqual(await begun(memory, [truncated(6n)], []), ['us 6']);
});
