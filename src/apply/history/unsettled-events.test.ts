import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { madeEvent } from '../../../test/support/made-event.ts';
import { ONE_TABLE } from '../../../test/support/one-table.ts';
import { HLC_MAX } from '../../change/hlc.ts';
import { makePosition, type Position } from '../../change/position.ts';
import type { SourceTransaction, Step } from '../net-change.ts';
import { PassedBatch } from './passed-event.ts';
import { NO_HORIZON, UnsettledEvents } from './unsettled-events.ts';

const SHAPE = ONE_TABLE;
const KEY = '["1"]';
const turn = async (): Promise<void> => {};
const at = (lsn: number): Position => makePosition('0000000000000000001', BigInt(lsn));

function write(origin: string, hlc: bigint, seen: Readonly<Record<string, Position>> = {}): SourceTransaction {
  const lsn = Number(hlc);
  // The stamps are small numbers, so they count as pushed: each finds what the one before it left.
  const image = { id: '1', v: 'the same' };
  const event = madeEvent(origin, hlc, {
    event_id: `${origin}${lsn}`,
    before_image: image,
    after_image: image,
    transaction: { id: 1, epoch: '', commit_lsn: '', index: 0, last: true, predecessor: null, seen },
  });
  return { position: at(lsn), hlc, seen, xid: 1, committed_at: event.committed_at, events: [event], first_offset: lsn };
}

function stepsOf(source: SourceTransaction): Step[] {
  return source.events.map((event) => {
    const link = { event, source, removes: false };
    const op = {
      key: KEY,
      pk: { id: '1' },
      kind: 'upsert' as const,
      image: event.after_image,
      chain: [link],
      last: link,
    };
    return { kind: 'rows', tables: new Map([[SHAPE.id, { shape: SHAPE, ops: new Map([[KEY, op]]) }]]) };
  });
}

function pass(unsettled: UnsettledEvents, source: SourceTransaction): void {
  const batch = new PassedBatch(source.events[0]?.region_id ?? '', () => 0n);
  batch.take(stepsOf(source), true);
  unsettled.add(batch);
}

function beat(unsettled: UnsettledEvents, floor: bigint): void {
  for (const member of ['a', 'b']) unsettled.heartbeat(member, floor);
}

async function settled(unsettled: UnsettledEvents): Promise<string[]> {
  const round = await unsettled.settle(turn);
  if (round === null) return [];
  unsettled.keepSettled(round.settled);
  unsettled.forget(round.undecidedFrom, () => 99);
  return round.settled.map(({ loser, winner }) => `${loser.event?.event_id} to ${winner.event?.event_id}`);
}

describe('unsettled events', () => {
  test('settle once the winner is stable, and are forgotten then', async () => {
    const unsettled = new UnsettledEvents(['a', 'b'], NO_HORIZON);
    pass(unsettled, write('a', 10n));
    pass(unsettled, write('b', 20n));
    beat(unsettled, 15n);
    assert.deepEqual(await settled(unsettled), []);
    assert.equal(unsettled.size, 2);
    beat(unsettled, 20n);
    assert.deepEqual(await settled(unsettled), ['a10 to b20']);
    assert.equal(unsettled.size, 0);
    assert.deepEqual(await settled(unsettled), []);
  });

  test('keep the streams from the oldest of them on', async () => {
    const unsettled = new UnsettledEvents(['a', 'b'], NO_HORIZON);
    for (const hlc of [10n, 20n, 30n]) pass(unsettled, write('a', hlc, { b: at(5) }));
    pass(unsettled, write('b', 5n));
    beat(unsettled, 15n);
    const round = await unsettled.settle(turn);
    const horizon = unsettled.forget(round?.undecidedFrom ?? 0n, () => 99);
    assert.deepEqual(horizon, { undecided_from: 16n, lost_below: 0n, offsets: { a: 20, b: 99 } });
  });

  test('that a restarted lane reads again are not judged a second time', async () => {
    const horizon = { undecided_from: 15n, lost_below: 0n, offsets: {} };
    const unsettled = new UnsettledEvents(['a', 'b'], horizon);
    pass(unsettled, write('a', 10n));
    pass(unsettled, write('b', 20n));
    assert.deepEqual(unsettled.judge(SHAPE, KEY, []), []);
    beat(unsettled, 30n);
    assert.deepEqual(await settled(unsettled), []);
  });

  test('beyond the bound are forgotten oldest first, and what that concerns is never settled', async () => {
    const unsettled = new UnsettledEvents(['a', 'b'], NO_HORIZON, { events_max: 3 });
    pass(unsettled, write('a', 10n));
    pass(unsettled, write('b', 20n));
    pass(unsettled, write('b', 25n));
    pass(unsettled, write('a', 30n, { b: at(20) }));
    assert.equal(unsettled.size, 3);
    assert.equal(unsettled.lostBelow, 11n);
    beat(unsettled, 30n);
    assert.deepEqual(await settled(unsettled), ['b25 to a30']);
    assert.equal(unsettled.lostBelow, 0n);
  });

  test('settle nothing while a stream is not at hand', async () => {
    const unsettled = new UnsettledEvents(['a', 'b'], NO_HORIZON);
    unsettled.lacks(HLC_MAX);
    pass(unsettled, write('a', 10n));
    pass(unsettled, write('b', 20n));
    beat(unsettled, 30n);
    assert.equal(await unsettled.settle(turn), null);
  });

  test('of one row alone, however many, cost no search', () => {
    const unsettled = new UnsettledEvents(['a', 'b'], NO_HORIZON);
    for (let hlc = 1n; hlc <= 10_000n; hlc += 1n) pass(unsettled, write('a', hlc));
    const link = (source: SourceTransaction) => source.events.map((event) => ({ event, source, removes: false }));
    assert.deepEqual(unsettled.judge(SHAPE, KEY, link(write('b', 20_000n, { a: at(10_000) }))), []);
    assert.equal(unsettled.judge(SHAPE, KEY, link(write('b', 20_000n, { a: at(9_999) }))).length, 1);
  });
});
