import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { madeEvent } from '../../../test/support/made-event.ts';
import { madeTuple } from '../../../test/support/made-tuple.ts';
import { ONE_TABLE } from '../../../test/support/one-table.ts';
import type { ChangeEvent } from '../../change/change-event.ts';
import { hlcFromMicros } from '../../change/hlc.ts';
import { makePosition } from '../../change/position.ts';
import type { ParkedRow, Tuple } from '../apply-port.ts';
import type { Current } from '../decide.ts';
import { planBatch, type RowOp, type SourceTransaction, type Step } from '../net-change.ts';
import type { BatchWriter } from './batch-writer.ts';
import { EchoWriter } from './echo-writer.ts';
import type { Placing } from './row-placer.ts';

const KEY = '["1"]';
const HLC = hlcFromMicros(2_000_000_000_000_000n) + 1n;
const PARKED = { key: KEY, hlc: HLC - 5n, origin: 'us' };

/** The steps of a batch with an own transaction for each of these events on the row. */
function stepsOf(events: readonly Partial<ChangeEvent>[]): Step[] {
  return planBatch(
    events.map((changes, at): SourceTransaction => {
      const event = madeEvent('eu', HLC, changes);
      const position = makePosition('0000000000000000001', 7n + BigInt(at));
      const { committed_at } = event;
      return { position, hlc: HLC, seen: {}, xid: 1 + at, committed_at, events: [event] };
    }),
    ({ table_name: table }) => ({ ...ONE_TABLE, id: table, table }),
    (_, pk) => JSON.stringify(Object.values(pk)),
    false,
  );
}

/** What the echo of events on a row does, where it finds this tuple and parked row, and writing the row ends so. */
async function echoOf(
  changes: Partial<ChangeEvent> | readonly Partial<ChangeEvent>[],
  found: Partial<Tuple>,
  placing: Placing,
  hlc = 1n,
  parked?: ParkedRow,
): Promise<string[]> {
  const current: Current = { tuple: madeTuple(found), version: { hlc, origin: found.writer ?? 'us' } };
  const done: string[] = [];
  const writer = {
    merging: { isTracked: () => false },
    judge: { events: () => undefined, row: () => undefined, truncate: () => undefined },
    emptyTable: async () => undefined,
    parking: {
      isParked: () => parked !== undefined,
      displaced: () => undefined,
      find: async () => new Map([[KEY, PARKED]]),
      drop: async () => void done.push('parked no more'),
    },
    stand: async () => new Map([[KEY, { current, exact: undefined, tombstone: undefined, parked }]]),
    transaction: { erase: async () => void done.push('erased') },
    rows: {
      place: async (_: unknown, { image }: RowOp) => {
        done.push(`writes ${image?.v}`);
        return placing;
      },
    },
    decide: async (_: unknown, __: unknown, { isLater }: { isLater: (current: Current) => boolean }) => {
      const isLost = isLater(current);
      done.push(isLost ? 'left' : 'decided');
      if (isLost) return 'lost';
      return placing === 'untold' ? 'untold' : 'done';
    },
    kept: {
      putBack: () => void done.push('put back later'),
      buried: () => void done.push('buried'),
      lookAgain: () => void done.push('look again'),
    },
  } as unknown as BatchWriter;
  const echo = new EchoWriter(writer, 'eu', 0n);
  await echo.write(stepsOf([changes].flat()));
  await echo.finish();
  return done;
}

test('a write whose echo waits for that of another row is looked at again, and no other is', async () => {
  assert.deepEqual(await echoOf({}, {}, 'untold'), ['writes after', 'put back later']);
  assert.deepEqual(await echoOf({}, {}, 'placed'), ['writes after']);
  assert.deepEqual(await echoOf({}, {}, 'parked'), ['writes after']);
});

test('a local row whose key has a higher row parked goes with its own echo, and with that of none before it', async () => {
  const parked: ParkedRow = {
    ...PARKED,
    pk: { id: '1' },
    image: { id: '1', v: 'parked' },
    hlc: HLC + 5n,
    position: null,
    event_id: null,
    blocker: '["2"]',
  };
  const echo = async (found: Partial<Tuple>): Promise<string[]> => await echoOf({}, found, 'placed', 1n, parked);
  assert.deepEqual(await echo({ local: true, xid: 1 }), ['erased']);
  assert.deepEqual(await echo({ local: true, xid: 2, image: { id: '1', v: 'after' } }), ['erased']);
  assert.deepEqual(await echo({ local: true, xid: 2 }), []);
  assert.deepEqual(await echo({ local: true, xid: 2, foreign: true, stampMicros: null }), []);
  assert.deepEqual(await echo({ local: true, xid: 2, stampMicros: null }), ['erased']);
  assert.deepEqual(await echo({}), ['erased']);
});

describe("an operator's decision", () => {
  const edit = { operator: true } as const;
  const discard = { operator: true, operation: 'DELETE', after_image: null } as const;

  test('waits where a user has the key, whatever the times of both', async () => {
    for (const stampMicros of [1n, 4_000_000_000_000_000n])
      assert.deepEqual(await echoOf(edit, { local: true, stampMicros }, 'placed'), ['left', 'put back later']);
    assert.deepEqual(await echoOf(edit, { local: true, foreign: true, stampMicros: null }, 'placed'), [
      'left',
      'put back later',
    ]);
    assert.deepEqual(await echoOf(discard, { local: true }, 'placed'), [
      'left',
      'parked no more',
      'buried',
      'look again',
    ]);
  });

  test('waits where a user has a value of the row', async () => {
    assert.deepEqual(await echoOf(edit, {}, 'untold'), ['decided', 'put back later']);
  });

  test('leaves a later row of the region that was displaced and has come back', async () => {
    assert.deepEqual(await echoOf(edit, { writer: 'eu' }, 'placed', HLC + 1n), ['left']);
    assert.deepEqual(await echoOf(discard, { writer: 'eu' }, 'placed', HLC + 1n), ['left']);
    assert.deepEqual(await echoOf(edit, { writer: 'eu' }, 'placed', HLC - 1n), ['decided']);
  });

  test('is carried out where the row is from before the stream, or was applied, or is what the decision left', async () => {
    assert.deepEqual(await echoOf(edit, { local: true, stampMicros: null }, 'placed'), ['decided']);
    assert.deepEqual(await echoOf(edit, {}, 'placed'), ['decided']);
    assert.deepEqual(await echoOf(edit, { local: true, image: { id: '1', v: 'after' } }, 'placed'), ['decided']);
  });

  test('waits where a row may be a later one with the values of an event before it, and that one is echoed', async () => {
    const before = { after_image: { id: '1', v: 'before' } };
    const found = { local: true, image: { id: '1', v: 'before' } };
    const echo = async (decision: Partial<ChangeEvent>, tuple: Partial<Tuple>): Promise<string[]> =>
      await echoOf([before, decision], { ...found, ...tuple }, 'placed');
    for (const foreign of [false, true]) assert.deepEqual(await echo(edit, { foreign, xid: 1 }), ['decided']);
    assert.deepEqual(await echo(edit, { xid: 9 }), ['left', 'put back later']);
    // Nothing else tells the version of what another tool wrote in a subtransaction.
    assert.deepEqual(await echo(edit, { foreign: true, xid: 9 }), ['left', 'writes before', 'put back later']);
    const discarded = ['left', 'writes before', 'parked no more', 'buried', 'look again'];
    assert.deepEqual(await echo(discard, { foreign: true, xid: 9 }), discarded);
  });
});
