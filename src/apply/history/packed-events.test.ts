/**
 * Packing changes nothing: whatever passes, in pieces or whole, is judged as if nothing had been packed.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { ONE_TABLE } from '../../../test/support/one-table.ts';
import { type ChangeEvent, microsToIso } from '../../change/change-event.ts';
import { hlcFromMicros, hlcToText } from '../../change/hlc.ts';
import { makePosition, type Position } from '../../change/position.ts';
import { EVERY_ROW } from '../apply-port.ts';
import { planBatch, type SourceTransaction, type Step } from '../net-change.ts';
import { PassedBatch, type RowLoss } from './passed-event.ts';
import { NO_HORIZON, UnsettledEvents } from './unsettled-events.ts';

const SHAPE = ONE_TABLE;
const ORIGINS = ['a', 'b', 'c'];
const at = (lsn: number): Position => makePosition('0000000000000000001', BigInt(lsn));

type Write = { readonly id: number; readonly kind: 'upsert' | 'remove' | 'move' | 'truncate'; readonly value: number };
type Sent = {
  readonly origin: string;
  readonly writes: readonly Write[];
  readonly isGiant: boolean;
  readonly isPushed: boolean;
  readonly isMerged: boolean;
  readonly micros: bigint;
  /** How much of what the other origins had sent by then it had seen, of 100. */
  readonly seenShare: number;
  readonly floor: bigint | null;
  /** Whether it is read back after a start, and not judged. */
  readonly isReadBack: boolean;
  /** Whether each of its pieces is taken before it is judged. */
  readonly isTakenFirst: boolean;
};

const write: fc.Arbitrary<Write> = fc.record({
  id: fc.nat(4),
  kind: fc.constantFrom('upsert', 'upsert', 'upsert', 'remove', 'move', 'truncate'),
  value: fc.nat(2),
});
const sent: fc.Arbitrary<Sent> = fc.record({
  origin: fc.constantFrom(...ORIGINS),
  writes: fc.array(write, { minLength: 1, maxLength: 6 }),
  isGiant: fc.boolean(),
  isPushed: fc.nat(5).map((n) => n === 0),
  isMerged: fc.boolean(),
  micros: fc.nat(60).map((n) => BigInt(1_000 + n)),
  seenShare: fc.constantFrom(0, 50, 100),
  floor: fc.option(
    fc.nat(60).map((n) => hlcFromMicros(BigInt(1_000 + n))),
    { freq: 4 },
  ),
  isReadBack: fc.boolean(),
  isTakenFirst: fc.boolean(),
});

/** How many events stay objects, and how many go into one chunk. */
const kept = fc.record({ young_max: fc.constantFrom(0, 1, 2, 5, 1_000), chunk_events: fc.integer({ min: 1, max: 5 }) });

/** Turns what origins send into transactions whose positions and seen only grow. */
function transactions(history: readonly Sent[]): SourceTransaction[] {
  const sentBy = new Map(ORIGINS.map((origin) => [origin, [] as Position[]]));
  const seenOf = new Map(ORIGINS.map((origin) => [origin, new Map<string, number>()]));
  return history.map(({ origin, writes, isPushed, isMerged, micros, seenShare }, place) => {
    const position = at(place + 1);
    const counts = seenOf.get(origin) ?? new Map<string, number>();
    const seen: { [origin: string]: Position } = {};
    for (const other of ORIGINS) {
      if (other === origin) continue;
      const theirs = sentBy.get(other) ?? [];
      const count = Math.max(counts.get(other) ?? 0, Math.floor((theirs.length * seenShare) / 100));
      counts.set(other, count);
      const last = theirs[count - 1];
      if (last !== undefined) seen[other] = last;
    }
    sentBy.get(origin)?.push(position);
    const hlc = hlcFromMicros(micros) + (isPushed ? 1n : 0n);
    const committed_at = microsToIso(micros);
    const events = writes.map(({ id, kind, value }, index): ChangeEvent => {
      const [before, after] = [`${id}`, kind === 'move' ? `${id + 1}` : `${id}`];
      return {
        event_id: `${origin} ${place} ${index}`,
        region_id: origin,
        schema_name: 'public',
        table_name: 't',
        row_pk: kind === 'truncate' ? {} : { id: kind === 'remove' ? before : after },
        operation: kind === 'truncate' ? 'TRUNCATE' : kind === 'remove' ? 'DELETE' : 'UPDATE',
        before_image: kind === 'truncate' ? null : { id: before, v: `${value}` },
        after_image: kind === 'truncate' || kind === 'remove' ? null : { id: after, v: `${value + 1}` },
        committed_at,
        hlc_timestamp: hlcToText(hlc),
        region_tags: [origin],
        ...(isMerged && value > 0 ? { merge: `rule ${value}` } : {}),
        transaction: { id: 1, epoch: '', commit_lsn: '', index, last: false, predecessor: null, seen },
      };
    });
    return { position, hlc, seen, xid: 1, committed_at, events, first_offset: place };
  });
}

function steps(source: SourceTransaction, events: readonly ChangeEvent[]): Step[] {
  return planBatch(
    [{ ...source, events }],
    () => SHAPE,
    (_, pk) => JSON.stringify([pk.id]),
    false,
  );
}

/** As the lane does: each piece is judged, before it is taken or behind that, unless it is read back. */
function pass(
  unsettled: UnsettledEvents,
  { origin, isReadBack, isTakenFirst }: Sent,
  source: SourceTransaction,
  packed: boolean,
): RowLoss[] {
  const batch = new PassedBatch(origin, () => 0n);
  const losses: RowLoss[] = [];
  const take = (planned: readonly Step[]): void => {
    if (packed) batch.takePiece(planned, (...row) => unsettled.packs(...row));
    else batch.take(planned, false);
  };
  for (let from = 0; from < source.events.length; from += 2) {
    const planned = steps(source, source.events.slice(from, from + 2));
    if (isTakenFirst) take(planned);
    for (const step of isReadBack ? [] : planned) {
      if (step.kind === 'truncate') losses.push(...unsettled.judgeTruncate(SHAPE, step.link));
      else {
        for (const { ops } of step.tables.values())
          for (const op of ops.values()) losses.push(...unsettled.judge(SHAPE, op.key, op.chain));
      }
    }
    if (!isTakenFirst) take(planned);
  }
  unsettled.add(batch);
  return losses;
}

const nameOf = ({ key, loser, winner }: RowLoss): string => {
  const event = ({ source, index, removes, merge }: RowLoss['loser']): string =>
    `${source.origin} ${source.position} ${index} ${removes} ${merge}`;
  return `${key}: ${event(loser)} to ${event(winner)}`;
};

const names = (losses: readonly RowLoss[]): string[] => losses.map(nameOf).sort();

async function settle(unsettled: UnsettledEvents): Promise<string[]> {
  const round = await unsettled.settle(async () => {});
  if (round === null) return [];
  unsettled.keepSettled(round.settled);
  unsettled.forget(round.undecidedFrom, () => 0);
  return names(round.settled);
}

describe('events that are packed or cold', () => {
  test('are judged as if they were neither, whatever passes beside them', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(sent, { maxLength: 14, size: 'max' }), kept, async (history, limits) => {
        const packed = new UnsettledEvents(ORIGINS, NO_HORIZON, limits);
        const plain = new UnsettledEvents(ORIGINS, NO_HORIZON);
        const all = transactions(history);
        for (const [place, each] of history.entries()) {
          const { origin, isGiant, floor } = each;
          const source = all[place] as SourceTransaction;
          assert.deepEqual(names(pass(packed, each, source, isGiant)), names(pass(plain, each, source, false)));
          for (const { key } of [{ key: EVERY_ROW }, ...[0, 1, 2, 3, 4, 5].map((id) => ({ key: `["${id}"]` }))]) {
            const version = { hlc: source.hlc, origin };
            assert.equal(packed.knows(SHAPE.id, key, version), plain.knows(SHAPE.id, key, version), key);
          }
          if (floor !== null) {
            for (const memory of [packed, plain]) for (const member of ORIGINS) memory.heartbeat(member, floor);
            assert.deepEqual(await settle(packed), await settle(plain));
            assert.equal(packed.undecidedFrom, plain.undecidedFrom);
          }
        }
        for (const each of [packed, plain]) for (const member of ORIGINS) each.heartbeat(member, hlcFromMicros(9_999n));
        assert.deepEqual(await settle(packed), await settle(plain));
        assert.deepEqual([packed.size, plain.size], [0, 0]);
      }),
      { numRuns: 2_000 },
    );
  });

  test('the last event of a row speaks, where an earlier one was packed and it was not', async () => {
    const row = { id: 1, kind: 'upsert' as const, value: 0 };
    const common = { isGiant: true, isPushed: false, isMerged: false, seenShare: 0, floor: null, isReadBack: false };
    const first = { ...common, origin: 'a', writes: [row], micros: 2_000n, isTakenFirst: false };
    const second = {
      ...common,
      origin: 'b',
      writes: [row, { ...row, id: 2 }, row],
      micros: 1_000n,
      isTakenFirst: true,
    };
    const [winner, loser] = transactions([first, second]) as [SourceTransaction, SourceTransaction];
    const unsettled = new UnsettledEvents(ORIGINS, NO_HORIZON);
    pass(unsettled, first, winner, true);
    pass(unsettled, second, loser, true);
    for (const member of ORIGINS) unsettled.heartbeat(member, hlcFromMicros(9_999n));
    assert.deepEqual(await settle(unsettled), [
      `["1"]: b ${loser.position} 2 false undefined to a ${winner.position} 0 false undefined`,
    ]);
  });

  test('beyond the bound are not gathered, and count as missing', () => {
    const unsettled = new UnsettledEvents(['a', 'b'], NO_HORIZON, { events_max: 10 });
    const batch = new PassedBatch('a', () => 0n, 10);
    const rows = Array.from({ length: 8 }, (_, id) => ({ id, kind: 'upsert' as const, value: 0 }));
    const common = {
      origin: 'a',
      isGiant: true,
      isPushed: false,
      isMerged: false,
      seenShare: 0,
      floor: null,
      isReadBack: false,
      isTakenFirst: false,
    };
    const [source] = transactions([{ ...common, writes: rows, micros: 1_000n }]) as [SourceTransaction];
    for (let piece = 0; piece < 4; piece += 1) {
      const moved = source.events.map((event) => ({ ...event, row_pk: { id: `${piece} ${event.row_pk.id}` } }));
      batch.takePiece(steps(source, moved), () => true);
      assert.ok(batch.size <= 10);
    }
    unsettled.add(batch);
    assert.deepEqual([unsettled.size, unsettled.lostBelow], [0, source.hlc + 1n]);
  });
});
