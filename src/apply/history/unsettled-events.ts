/**
 * The events that may still lose or win, by row: what conflicts are judged from.
 *
 * Every event of every region passes through the lane of each region, local ones as echoes. What is concurrent with an
 * event stands in its stream before the heartbeat by which its region had applied that event. So once the floors of all
 * members' heartbeats have reached an event here, all that is concurrent with it has passed here; and once they have
 * reached its winner too, so has whoever may have overwritten it knowingly. A loss that is judged then is judged from the complete
 * set, whatever the order of arrival, so every region finds the same. It counts as settled.
 *
 * Judging it when its second event passes would be too early: a higher winner, or who overwrote it knowingly, may be yet
 * to come. What is found then is only good for a provisional record.
 *
 * Everything from the lowest unsettled event on is kept, and nothing below: what wins over an event or overwrites it is
 * above it. Of most events only what the judge needs is kept; their images are read again from the log. Those of a giant
 * transaction are packed, until something contests their row, and what is no longer young is written down outside of the heap. Beyond a bound, the oldest are forgotten unsettled, and `lostBelow` tells so.
 */
import { HLC_MAX, type Hlc } from '../../change/hlc.ts';
import type { Epoch, Position } from '../../change/position.ts';
import type { Version } from '../../change/version.ts';
import { Fifo } from '../../platform/fifo.ts';
import { judgeNewest, judgeRow } from '../../resolve/judge-row.ts';
import { lineOf, type Origination } from '../../resolve/losses.ts';
import type { ConflictHorizon, RowKey, TableShape } from '../apply-port.ts';
import type { ChainLink } from '../net-change.ts';
import {
  type EventHolder,
  originationOf,
  type Passed,
  type PassedBatch,
  type PassedSource,
  type RowLoss,
  toPassed,
} from './passed-event.ts';
import { RowMemory } from './row-memory.ts';

export type UnsettledLimits = {
  readonly events_max: number;
  /** Of those, that stay objects, with their images at hand, so that a conflict seen at once is logged whole at once. */
  readonly young_max: number;
  /** Others are written down in chunks of so many. */
  readonly chunk_events: number;
};

/** Hours of a separation under light load, minutes under the heaviest. */
export const UNSETTLED_LIMITS: UnsettledLimits = { events_max: 1_000_000, young_max: 2_000, chunk_events: 1_024 };
/** Rows judged without giving the event loop its turn. */
const ROWS_PER_STEP = 500;

const NO_LOSSES: RowLoss[] = [];

export const NO_HORIZON: ConflictHorizon = { undecided_from: 0n, lost_below: 0n, offsets: {} };

export class UnsettledEvents {
  readonly #members: readonly string[];
  readonly #limits: UnsettledLimits;
  readonly #rows: RowMemory;
  /** Batches by origin, oldest first. */
  readonly #batches = new Map<string, Fifo<PassedBatch>>();
  /** Batches that are young, oldest first. */
  readonly #young = new Fifo<PassedBatch>();
  #youngEvents = 0;
  #events = 0;
  readonly #floors = new Map<string, Hlc>();
  readonly #epochs = new Map<string, Epoch>();
  /** By line. */
  readonly #stated = new Map<string, Hlc>();
  #settledTo: Hlc = 0n;
  #undecidedFrom: Hlc = 0n;
  #lostBelow: Hlc = 0n;

  constructor(members: readonly string[], horizon: ConflictHorizon, limits: Partial<UnsettledLimits> = {}) {
    this.#members = members;
    this.#limits = { ...UNSETTLED_LIMITS, ...limits };
    this.#rows = new RowMemory(this.#limits.chunk_events);
    this.#undecidedFrom = horizon.undecided_from;
    this.#lostBelow = horizon.lost_below;
  }

  get size(): number {
    return this.#events;
  }

  /** Events stamped below it may be missing here without being settled; 0 where none is. */
  get lostBelow(): Hlc {
    return this.#lostBelow;
  }

  /** Losses of events stamped below it are settled. */
  get undecidedFrom(): Hlc {
    return this.#undecidedFrom;
  }

  /** Says that unsettled events stamped below it may be missing: their part of a log is gone, or cannot be read. */
  lacks(below: Hlc): void {
    if (below > this.#lostBelow) this.#lostBelow = below;
  }

  /**
   * An item of that epoch of a member's stream has passed the lane. A region that comes back as an older copy of itself has
   * not applied what it had stated before.
   */
  enters(member: string, epoch: Epoch): void {
    if (epoch <= (this.#epochs.get(member) ?? '')) return;
    this.#epochs.set(member, epoch);
    this.#floors.delete(member);
  }

  /** A heartbeat with this floor has passed the lane. */
  heartbeat(member: string, floor: Hlc): void {
    if (floor > (this.#floors.get(member) ?? 0n)) this.#floors.set(member, floor);
  }

  /** What a heartbeat at that position of an origin's stream states as its floor, in whichever history. */
  states(at: Pick<Origination, 'origin' | 'position'>, floor: Hlc): void {
    if (floor > this.stated(at)) this.#stated.set(lineOf(at), floor);
  }

  /** The highest floor that the line has stated so far. */
  stated(at: Pick<Origination, 'origin' | 'position'>): Hlc {
    return this.#stated.get(lineOf(at)) ?? 0n;
  }

  /** Registers events once their batch is committed. */
  add(batch: PassedBatch): void {
    if (batch.isTooLarge) this.lacks(batch.highest + 1n);
    const { size } = batch;
    if (size === 0) return;
    for (const { shape, key, passed } of batch.entries) this.#rows.add(shape, key, passed);
    for (const packed of batch.packed) this.#rows.addPacked(packed);
    const batches = this.#batches.get(batch.origin) ?? new Fifo();
    this.#batches.set(batch.origin, batches);
    batches.push(batch);
    this.#events += size;
    this.#young.push(batch);
    this.#youngEvents += batch.entries.length;
    this.#cool();
    while (this.#events > this.#limits.events_max) this.#forgetOldest();
  }

  /** As in `RowMemory`. */
  knows(table: string, key: RowKey, version: Version): boolean {
    return this.#rows.knows(table, key, version);
  }

  /** As in `RowMemory`. */
  packs(shape: TableShape, key: RowKey, source: Origination): boolean {
    return this.#rows.packs(shape, key, source);
  }

  /** The losses that show now among a row's new events and those of other origins; they may still change. */
  judge(shape: TableShape, key: RowKey, chain: readonly ChainLink[]): RowLoss[] {
    const first = chain[0];
    if (first === undefined || this.#rows.hasNone(shape.id, key)) return NO_LOSSES;
    const { hlc, position, seen } = first.source;
    if (!this.#rows.mayConflict(shape.id, key, { origin: first.event.region_id, hlc, position, seen })) return [];
    const streams = this.#rows.streams(shape.id, key);
    return streams === null ? [] : this.#judgeNewest(streams, shape, key, chain);
  }

  /** The losses to a TRUNCATE that show now, among the events of all rows of its table. */
  judgeTruncate(shape: TableShape, link: ChainLink): RowLoss[] {
    const event = originationOf(link);
    return this.#rows.conflicting(shape.id, event).flatMap((key) => {
      // There may be very many rows: what is cold of them stays so.
      const streams = this.#rows.look(shape.id, key);
      if (streams === null) return [];
      const losses = this.#judgeNewest(streams, shape, key, [link]);
      for (const events of streams.values())
        for (const each of events) if (each.isNotLost === true) this.#rows.noted(each);
      return losses;
    });
  }

  /** Those losses that count as settled by now and did not before; null where nothing can have changed. */
  async settle(
    turn: () => Promise<void>,
  ): Promise<{ readonly settled: RowLoss[]; readonly undecidedFrom: Hlc } | null> {
    const watermark = this.#watermark();
    // Nothing is known of what may be missing: no loss can be told for certain.
    if (watermark <= this.#settledTo || this.#lostBelow === HLC_MAX) return null;
    let undecidedFrom = watermark + 1n;
    const settled: RowLoss[] = [];
    let judged = 0;
    const from = this.#undecidedFrom > this.#lostBelow ? this.#undecidedFrom : this.#lostBelow;
    const isDue = ({ source: { hlc }, isSettled }: Passed): boolean => hlc >= from && hlc <= watermark && !isSettled;
    for (const { shape, key } of this.#rows.contested()) {
      judged += 1;
      if (judged % ROWS_PER_STEP === 0) await turn();
      if (!this.#rows.mayHave(shape.id, key, from, watermark)) continue;
      const streams = this.#rows.look(shape.id, key);
      if (streams === null) continue;
      for (const { loser, winner } of judgeRow(streams, isDue)) {
        const { hlc } = loser.source;
        if (winner.source.hlc <= watermark) settled.push({ shape, key, loser, winner });
        else if (hlc < undecidedFrom) undecidedFrom = hlc;
      }
    }
    this.#settledTo = watermark;
    return { settled, undecidedFrom };
  }

  /** Says that these records are final. */
  keepSettled(losses: readonly RowLoss[]): void {
    for (const { loser } of losses) {
      loser.isSettled = true;
      this.#rows.noted(loser);
    }
  }

  /** Forgets what is settled; `offsetOf` tells where a stream goes on of which nothing is left. */
  forget(undecidedFrom: Hlc, offsetOf: (origin: string) => number): ConflictHorizon {
    if (undecidedFrom > this.#undecidedFrom) this.#undecidedFrom = undecidedFrom;
    const lostBelow = this.#lostBelow;
    // What was lost is below everything that is yet to come.
    if (this.#settledTo >= lostBelow) this.#lostBelow = 0n;
    for (const batches of this.#batches.values()) {
      for (let { first } = batches; first !== undefined && first.highest < this.#undecidedFrom; { first } = batches) {
        this.#forgetBatch(first);
        batches.shift();
      }
    }
    const offsets = Object.fromEntries(
      this.#members.map((origin) => [origin, this.#batches.get(origin)?.first?.firstOffset ?? offsetOf(origin)]),
    );
    return { undecided_from: this.#undecidedFrom, lost_below: lostBelow, offsets };
  }

  /** The chain is not registered yet: it joins its line for the time of the look, as a copy of a hot row's line costs too much. */
  #judgeNewest(
    known: ReadonlyMap<string, Passed[]>,
    shape: TableShape,
    key: RowKey,
    chain: readonly ChainLink[],
  ): RowLoss[] {
    const [first] = chain;
    if (first === undefined) return [];
    const line = lineOf(originationOf(first));
    const own = known.get(line) ?? [];
    const { length } = own;
    const last = own.at(-1);
    try {
      const from = join(own, shape, chain);
      return judgeNewest(new Map([...known, [line, own]]), line, from)
        .filter(({ loser: { holder, source } }) => {
          return !holder.isForgotten && (source.hlc >= this.#undecidedFrom || source.hlc < this.#lostBelow);
        })
        .map((loss) => ({ ...loss, shape, key }));
    } finally {
      own.length = length;
      if (last !== undefined) own[length - 1] = last;
    }
  }

  #watermark(): Hlc {
    let watermark = HLC_MAX;
    for (const member of this.#members) {
      const floor = this.#floors.get(member) ?? 0n;
      if (floor < watermark) watermark = floor;
    }
    return watermark;
  }

  /** The oldest of what is young make room. */
  #cool(): void {
    for (let { first } = this.#young; first !== undefined; { first } = this.#young) {
      if (!first.isForgotten && this.#youngEvents <= this.#limits.young_max) return;
      this.#young.shift();
      this.#youngEvents -= first.entries.length;
      this.#rows.cool(first.entries);
      first.release();
    }
  }

  #forgetOldest(): void {
    let oldest: PassedBatch | undefined;
    for (const { first } of this.#batches.values()) {
      if (first !== undefined && (oldest === undefined || first.highest < oldest.highest)) oldest = first;
    }
    if (oldest === undefined) return;
    this.lacks(oldest.highest + 1n);
    this.#forgetBatch(oldest);
    this.#batches.get(oldest.origin)?.shift();
  }

  #forgetBatch(batch: PassedBatch): void {
    this.#events -= batch.size;
    this.#rows.forget(batch);
    // Whatever is not released is young.
    this.#youngEvents -= batch.entries.length;
    batch.clear();
  }
}

/** The holder of events that are only looked at. */
const NOBODY: EventHolder = { isForgotten: false };

/** Puts the chain behind a row's line; returns where what is new begins. */
function join(line: Passed[], shape: TableShape, chain: readonly ChainLink[]): number {
  let from = line.length;
  const sources = new Map<Position, PassedSource>();
  for (const link of chain) {
    const { position } = link.source;
    const source = sources.get(position) ?? originationOf(link);
    sources.set(position, source);
    const former = line.at(-1)?.source.position === position ? line.pop() : undefined;
    if (line.length < from) from = line.length;
    const passed = toPassed(shape, link, source, NOBODY, true);
    if (former !== undefined) passed.found = former.found;
    line.push(passed);
  }
  return from;
}
