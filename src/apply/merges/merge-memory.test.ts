/** What rows begin with of which nothing is kept, and that looking at them leaves no trace. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { madeEvent } from '../../../test/support/made-event.ts';
import { madeTuple } from '../../../test/support/made-tuple.ts';
import { ONE_TABLE } from '../../../test/support/one-table.ts';
import { makePosition } from '../../change/position.ts';
import { type ApplyTransaction, EVERY_ROW, type HistoryEntry, type RowKey, type Tuple } from '../apply-port.ts';
import { MergeMemory } from './merge-memory.ts';
import { MergeRules } from './merge-rules.ts';
import { type MergeView, MergeWriter } from './merge-writer.ts';

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

const VIEW: MergeView = {
  rules: new MergeRules(),
  memory: new MergeMemory(new MergeRules()),
  functions: async () => [],
  region: 'eu',
  epoch,
  echoedLsn: 0n,
  seen: {},
  isEcho: false,
  isBehind: null,
  stable: 5n,
  setAside: async () => new Set(),
};

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

/** What is done to a row that stands so, when this event comes to it and these are kept of all rows. */
async function written(
  event: { readonly hlc: bigint; readonly isLate: boolean; readonly isSetAside?: boolean },
  tuple: Tuple | undefined,
  kept: readonly HistoryEntry[],
): Promise<string[]> {
  const done: string[] = [];
  const image = { id: '3', v: 'came' };
  const transaction = {
    merges: async () => new Map([[EVERY_ROW, { state: null, events: kept }]]),
    inspect: async () => new Map(tuple === undefined ? [] : [[KEY, tuple]]),
    walPosition: async () => 50n,
    insert: async () => done.push('inserted') > 0,
    overwriteAll: async () => void done.push('overwritten'),
    erase: async () => void done.push('erased'),
    addHistory: async () => undefined,
    putMerges: async () => undefined,
    dropHistory: async () => undefined,
  } as unknown as ApplyTransaction;
  const current = tuple === undefined ? null : { tuple, version: { hlc: 100n, origin: 'us' } };
  const standing = { current, exact: undefined, tombstone: undefined, parked: undefined };
  const writer = new MergeWriter(transaction, async () => new Map([[KEY, standing]]), {
    ...VIEW,
    memory: new MergeMemory(new MergeRules()),
    isBehind: event.isLate ? () => false : null,
    setAside: async () => new Set(event.isSetAside === true ? [KEY] : []),
  });
  const change = madeEvent('ap', event.hlc, {
    row_pk: { id: '3' },
    before_image: { id: '3', v: 'before' },
    after_image: image,
  });
  const source = { position: makePosition(epoch, event.hlc), hlc: event.hlc, seen: {}, xid: 1, committed_at: '' };
  const link = { event: change, source: { ...source, events: [change] }, removes: false };
  await writer.rows(ONE_TABLE, [{ key: KEY, pk: { id: '3' }, kind: 'upsert', image, chain: [link], last: link }]);
  return done;
}

const STANDING = madeTuple({ image: { id: '3', v: 'standing' } });

test('an event that comes late goes by what a row at rest holds, whatever TRUNCATE before that is kept', async () => {
  assert.deepEqual(await written({ hlc: 98n, isLate: true }, STANDING, [truncated(99n)]), []);
  assert.deepEqual(await written({ hlc: 98n, isLate: true }, STANDING, []), []);
  assert.deepEqual(await written({ hlc: 101n, isLate: true }, STANDING, [truncated(99n)]), ['overwritten']);
});

test('a row that is absent may have been removed by its users, unless a TRUNCATE that is not stable has taken it', async () => {
  const event = { hlc: 98n, isLate: false, isSetAside: true };
  assert.deepEqual(await written(event, undefined, [truncated(4n)]), []);
  assert.deepEqual(await written(event, undefined, [truncated(6n)]), ['inserted']);
});

test('a row that was only looked at has what is emptied behind the look', async () => {
  const memory = new MergeMemory(new MergeRules());
  const writer = new MergeWriter(keeping([]), async () => new Map(), { ...VIEW, memory });
  assert.deepEqual(await writer.results(ONE_TABLE, [{ key: KEY, version: { hlc: 3n, origin: 'us' } }]), [null]);
  assert.deepEqual(await begun(memory, [truncated(6n)], []), ['us 6']);
});
