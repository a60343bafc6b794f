/**
 * Regions that write one row, hear of each other when they like, and keep the row as a cache of the fold: what the unit
 * tests of the fold judge. Clocks are crooked, capture lags behind, and streams are heard in their own order alone, so an
 * event can arrive before those that it knew.
 */
import fc from 'fast-check';
import { HistoryPacking } from '../../src/apply/merges/history-packing.ts';
import { type HistoryEvent, MergedRow } from '../../src/apply/merges/merged-row.ts';
import type { Image } from '../../src/change/change-event.ts';
import { makePosition, type Position, positionLsn } from '../../src/change/position.ts';
import { compareVersions, isAbove, VERSION_ZERO, type Version } from '../../src/change/version.ts';
import type { FoldAnswer, FoldEvent, FoldRequest } from '../../src/resolve/fold.ts';
import { foldNow } from '../../src/resolve/fold-drivers.ts';
import { type FoldState, settledRow } from '../../src/resolve/fold-state.ts';
import { knows, type Observer } from '../../src/resolve/heads.ts';
import { lineOf } from '../../src/resolve/losses.ts';
import type { MergeRule } from '../../src/resolve/merge-rule.ts';
import type { RowFold } from '../../src/resolve/row-fold.ts';

export const REGIONS: readonly string[] = ['a', 'b', 'c'];
const EPOCH = '0000000000000000001';

export type Move = {
  readonly region: number;
  /** How many transactions of each region are heard before, its own for the echo. */
  readonly hears: readonly number[];
  readonly clock: number;
  /** Writes of one transaction. */
  readonly writes: readonly number[];
};

export const moves: fc.Arbitrary<Move[]> = fc.array(
  fc.record({
    region: fc.nat(REGIONS.length - 1),
    hears: fc.tuple(fc.nat(3), fc.nat(3), fc.nat(3)),
    clock: fc.nat(8),
    writes: fc.array(fc.nat(999), { maxLength: 2 }),
  }),
  { maxLength: 18 },
);

/** What a user makes of the row; the number chooses. Undefined leaves it. */
export type Write = (row: Image | null, choice: number) => Image | null | undefined;

type Region = {
  readonly name: string;
  readonly row: MergedRow;
  readonly fold: RowFold<HistoryEvent>;
  /** Transactions of each region that are applied. */
  readonly heard: number[];
  tuple: Image | null;
  /** Whether a user wrote the tuple. */
  isLocal: boolean;
  /** Of the last local commit, or look of the lane. */
  lsn: bigint;
  echoedLsn: bigint;
};

export class MergeWorld {
  readonly streams: FoldEvent[][][] = REGIONS.map(() => []);
  readonly regions: readonly Region[];
  readonly #base: Image | null;
  readonly #rule: MergeRule;
  readonly #answer: (request: FoldRequest) => FoldAnswer;
  readonly #captured = REGIONS.map(() => 0);

  constructor(base: Image | null, rule: MergeRule, answer: (request: FoldRequest) => FoldAnswer) {
    this.#base = base;
    this.#rule = rule;
    this.#answer = answer;
    this.regions = REGIONS.map((name, place) => {
      const row = new MergedRow(settledRow(base), place === 0 ? null : new HistoryPacking(place));
      const heard = REGIONS.map(() => 0);
      return { name, row, fold: row.fold, heard, tuple: base, isLocal: false, lsn: 0n, echoedLsn: 0n };
    });
  }

  play(made: readonly Move[], write: Write): void {
    for (const { region: number, hears, clock, writes } of made) {
      const region = this.regions[number];
      if (region === undefined) continue;
      for (const [origin, count] of hears.entries()) this.#hear(region, origin, count);
      this.#commit(region, number, clock, writes, write);
    }
  }

  /** Everything arrives everywhere. */
  settle(): void {
    for (const [own, region] of this.regions.entries()) this.#hear(region, own, Infinity);
    for (const region of this.regions) for (const origin of REGIONS.keys()) this.#hear(region, origin, Infinity);
    // Heartbeats go by, and rows of which not all was captured are looked at again.
    for (const region of this.regions) {
      region.lsn += 1n;
      region.echoedLsn = region.lsn;
      this.#look(region, null);
    }
  }

  /** All events, in no order. */
  events(): FoldEvent[] {
    return this.streams.flat(2);
  }

  /** What is known of the row at that region. */
  state(region: Region): FoldState {
    return foldNow(region.fold.fold(), this.#answer).state;
  }

  /** The highest version that whatever can still arrive there is above, and has seen. */
  stable(at: Region): Version {
    const unheard = this.streams.flatMap((stream, origin) => stream.slice(at.heard[origin])).flat();
    let stable = VERSION_ZERO;
    for (const event of at.fold.events) {
      const { origin } = event.version;
      const place = REGIONS.indexOf(origin);
      const isApplied = this.regions.every(({ name, heard }) => {
        const last = this.streams[place]?.[(heard[place] ?? 0) - 1]?.[0];
        return name === origin || (last !== undefined && last.position >= event.position);
      });
      const isSettled = unheard.every(
        (other) =>
          compareVersions(other.version, event.version) > 0 &&
          knows(observerOf(other), lineOf(observerOf(event)), event.position),
      );
      if (!isApplied || !isSettled) break;
      stable = event.version;
    }
    return stable;
  }

  #hear(region: Region, origin: number, count: number): void {
    const stream = this.streams[origin] ?? [];
    const from = region.heard[origin] ?? 0;
    const published = this.#published(origin, region, count);
    const to = REGIONS[origin] === region.name ? published : Math.min(published, from + count);
    if (to === from) return;
    // What any other region knows of this one's writes came from its stream: so that is read up to its end first.
    const own = REGIONS.indexOf(region.name);
    if (origin !== own) this.#hear(region, own, 0);
    const events = stream.slice(from, to).flat();
    for (const event of events) region.fold.add({ ...event, event_id: '', merge: undefined });
    region.heard[origin] = to;
    if (origin === own) {
      for (const { position, after, seen } of events) region.row.captured(positionLsn(position), after, seen);
      const last = events.at(-1);
      if (last !== undefined) region.echoedLsn = positionLsn(last.position);
    }
    this.#look(region, events[0]?.before ?? null);
  }

  #look(region: Region, before: Image | null): void {
    region.lsn += 1n;
    const found = { image: region.tuple, isLocal: region.isLocal, isEmptied: false, lsn: region.lsn };
    const place = { region: region.name, epoch: EPOCH, rule: this.#rule, echoedLsn: region.echoedLsn };
    const { image, keep } = foldNow(region.row.settle(found, before, this.#seenBy(region), place), this.#answer);
    keep();
    if (image !== region.tuple) region.isLocal = false;
    region.tuple = image;
  }

  #seenBy({ name, heard }: Region): { readonly [origin: string]: Position } {
    const seen: { [origin: string]: Position } = {};
    for (const [origin, count] of heard.entries()) {
      const last = REGIONS[origin] === name ? undefined : this.streams[origin]?.[count - 1]?.[0];
      if (last !== undefined) seen[last.version.origin] = last.position;
    }
    return seen;
  }

  /** The length of a stream in the log. What a region "hears" of itself is captured before. */
  #published(origin: number, by: Region, count: number): number {
    const committed = this.streams[origin]?.length ?? 0;
    const known = this.#captured[origin] ?? 0;
    const isOwn = REGIONS[origin] === by.name;
    const captured = Math.min(committed, known + (isOwn ? count : 0));
    this.#captured[origin] = captured;
    return captured;
  }

  #commit(region: Region, number: number, clock: number, writes: readonly number[], write: Write): void {
    const stream = this.streams[number] ?? [];
    const seen = this.#seenBy(region);
    let highest: Version = stream.at(-1)?.[0]?.version ?? VERSION_ZERO;
    for (const [origin, count] of region.heard.entries()) {
      for (const [event] of this.streams[origin]?.slice(0, count) ?? []) {
        if (event !== undefined && isAbove(event.version, highest)) highest = event.version;
      }
    }
    const version = { hlc: highest.hlc + BigInt(1 + clock), origin: region.name };
    region.lsn += 1n;
    const position = makePosition(EPOCH, region.lsn);
    const events: FoldEvent[] = [];
    for (const choice of writes) {
      const after = write(region.tuple, choice);
      if (after === undefined || after === region.tuple) continue;
      const event = { version, position, index: events.length, seen, before: region.tuple, after, rule: this.#rule };
      events.push(event);
      region.tuple = after;
      region.isLocal = true;
    }
    if (events.length > 0) stream.push(events);
  }

  get base(): Image | null {
    return this.#base;
  }
}

/** An order in which the events of each stream stay in their order. */
export function arrival(events: readonly FoldEvent[], dice: Iterator<number>): FoldEvent[] {
  const lines = new Map<string, FoldEvent[]>();
  for (const event of events) {
    const line = lineOf({ origin: event.version.origin, position: event.position });
    lines.set(line, [...(lines.get(line) ?? []), event]);
  }
  const waiting = [...lines.values()];
  const arrived: FoldEvent[] = [];
  while (arrived.length < events.length) {
    const event = waiting[(dice.next().value as number) % waiting.length]?.shift();
    if (event !== undefined) arrived.push(event);
  }
  return arrived;
}

function observerOf({ version, position, seen }: FoldEvent): Observer {
  return { origin: version.origin, position, seen };
}
