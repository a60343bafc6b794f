/**
 * Unsettled events that are not young any more, outside of the garbage-collected heap: some eighty bytes for each, where the
 * objects that they are judged by take ten times as much, and a collector that walks over all of them again and again.
 *
 * Each is written once, in columns of a chunk, and points to the one before it on its row, so that a row is found from its
 * newest event on. What a row's events are judged by is made anew when an event comes that may be concurrent with them.
 *
 * Events are forgotten by their holders, the batches that they came in. Nothing is taken out by that: once most of what is
 * here is forgotten, whoever keeps the places writes what is left anew, elsewhere.
 */
import type { Hlc } from '../../change/hlc.ts';
import { makePosition, type Position, positionEpoch, positionLsn, type Seen } from '../../change/position.ts';
import { invariant } from '../../platform/assert.ts';
import type { EventHolder, Passed } from './passed-event.ts';
import type { LineEnd } from './passed-row.ts';

/** Where there is no event. */
export const NOT_COLD = -1;
/** Chunks of which it is not worth the while. */
const REWRITTEN_MIN = 8;
const EPOCHS_MAX = 0xff;
const ORIGINS_MAX = 0xff;
const MERGES_MAX = 0xffff;

const REMOVES = 1;
const IS_PUSHED = 2;
const IS_SETTLED = 4;
const IS_NOT_LOST = 8;

/** What can be asked of an event without making it anew. */
export type ColdEvent = { readonly origin: string; readonly hlc: Hlc; readonly position: Position };

/** Columns for so many events, and for what so many origins had sent by each. */
function newChunk(first: number, size: number, origins: number) {
  return {
    /** The place of its first event. */
    first,
    origins,
    count: 0,
    holders: [] as EventHolder[],
    holder: new Uint16Array(size),
    hlc: new BigUint64Array(size),
    lsn: new BigUint64Array(size),
    stated: new BigUint64Array(size),
    before: new Float64Array(size),
    offset: new Float64Array(size),
    index: new Uint32Array(size),
    merge: new Uint16Array(size),
    epoch: new Uint8Array(size),
    origin: new Uint8Array(size),
    flags: new Uint8Array(size),
    /** By event and origin; an epoch of 0 stands for nothing seen. */
    seenLsn: new BigUint64Array(size * origins),
    seenEpoch: new Uint8Array(size * origins),
    /** What the newest event had seen: most neighbours had seen the same. */
    seen: null as Seen | null,
  };
}

type Chunk = ReturnType<typeof newChunk>;

/** Texts by small numbers, from 1 on. */
class Names {
  readonly #texts: string[] = [];
  readonly #numbers = new Map<string, number>();
  readonly #max: number;

  constructor(max: number) {
    this.#max = max;
  }

  get size(): number {
    return this.#texts.length;
  }

  hasRoomFor(count: number): boolean {
    return this.#texts.length + count <= this.#max;
  }

  numberOf(text: string): number {
    let number = this.#numbers.get(text);
    if (number === undefined) {
      invariant(this.#texts.length < this.#max, 'there is room for another name');
      this.#texts.push(text);
      number = this.#texts.length;
      this.#numbers.set(text, number);
    }
    return number;
  }

  textOf(number: number): string {
    const text = this.#texts[number - 1];
    invariant(text !== undefined, 'a name has been told');
    return text;
  }
}

export class ColdEvents {
  readonly #chunks: Chunk[] = [];
  readonly #chunkEvents: number;
  /** How many events there are of each holder that is not forgotten. */
  readonly #countOf = new Map<EventHolder, number>();
  #written = 0;
  #forgotten = 0;
  readonly #origins = new Names(ORIGINS_MAX);
  readonly #epochs = new Names(EPOCHS_MAX);
  readonly #merges = new Names(MERGES_MAX);

  constructor(chunkEvents: number) {
    this.#chunkEvents = chunkEvents;
  }

  /** Whether it is worth writing what is left anew. */
  get isMostlyForgotten(): boolean {
    return this.#forgotten * 2 > this.#written && this.#written > REWRITTEN_MIN * this.#chunkEvents;
  }

  /** Whether there is nothing about the event that is not kept here, and all that it names has room. */
  takes({ source: { seen, stated }, isTruncate, left, found, event }: Passed): boolean {
    if (isTruncate || left !== undefined || found !== undefined || event !== null || stated === undefined) return false;
    let regions = 1;
    for (const _ in seen) regions += 1;
    return this.#origins.hasRoomFor(regions) && this.#epochs.hasRoomFor(regions) && this.#merges.hasRoomFor(1);
  }

  /** Writes an event behind the one at the place `before`; returns its own. */
  append(passed: Passed, before: number): number {
    const { source, holder, merge } = passed;
    let chunk = this.#chunks.at(-1);
    this.#origins.numberOf(source.origin);
    if (chunk?.seen !== source.seen) for (const other in source.seen) this.#origins.numberOf(other);
    if (chunk === undefined || chunk.count === this.#chunkEvents || chunk.origins < this.#origins.size) {
      chunk = newChunk(this.#chunks.length * this.#chunkEvents, this.#chunkEvents, this.#origins.size);
      this.#chunks.push(chunk);
    }
    const at = chunk.count;
    chunk.count += 1;
    let held = chunk.holders.lastIndexOf(holder);
    if (held < 0) held = chunk.holders.push(holder) - 1;
    chunk.holder[at] = held;
    this.#written += 1;
    this.#countOf.set(holder, (this.#countOf.get(holder) ?? 0) + 1);
    chunk.hlc[at] = source.hlc;
    chunk.lsn[at] = positionLsn(source.position);
    chunk.epoch[at] = this.#epochs.numberOf(positionEpoch(source.position));
    chunk.origin[at] = this.#origins.numberOf(source.origin);
    chunk.stated[at] = source.stated ?? 0n;
    chunk.offset[at] = source.first_offset ?? Number.NaN;
    chunk.index[at] = passed.index;
    chunk.merge[at] = merge === undefined ? 0 : this.#merges.numberOf(merge);
    chunk.before[at] = before;
    chunk.flags[at] = flagsOf(passed);
    this.#see(chunk, at, source.seen);
    return chunk.first + at;
  }

  /** What has been noted on an event since it was written. */
  note(passed: Passed): void {
    const chunk = this.#chunkOf(passed.coldAt);
    if (chunk !== undefined) chunk.flags[passed.coldAt - chunk.first] = flagsOf(passed);
  }

  /** The events of a row from its newest one on, in their order; not those that are forgotten. */
  read(newest: number): Passed[] {
    const found: Passed[] = [];
    this.#each(newest, (chunk, at) => {
      found.push(this.#made(chunk, at));
      return false;
    });
    return found.reverse();
  }

  /** Whether this holds for an event of the row. */
  some(newest: number, holds: (event: ColdEvent) => boolean): boolean {
    return this.#each(newest, (chunk, at) =>
      holds({
        origin: this.#origins.textOf(chunk.origin[at] ?? 0),
        hlc: chunk.hlc[at] ?? 0n,
        position: this.#positionAt(chunk, at),
      }),
    );
  }

  /** Whether an event of the row is stamped so and not settled. */
  hasOpen(newest: number, from: Hlc, to: Hlc): boolean {
    return this.#each(newest, (chunk, at) => {
      const hlc = chunk.hlc[at] ?? 0n;
      return hlc >= from && hlc <= to && ((chunk.flags[at] ?? 0) & IS_SETTLED) === 0;
    });
  }

  /** The newest event of each line. */
  ends(newest: number): LineEnd[] {
    const lines = new Set<number>();
    const ends: LineEnd[] = [];
    this.#each(newest, (chunk, at) => {
      const [origin = 0, epoch = 0] = [chunk.origin[at], chunk.epoch[at]];
      const line = origin * (EPOCHS_MAX + 1) + epoch;
      if (lines.has(line)) return false;
      lines.add(line);
      const [position, holder] = [this.#positionAt(chunk, at), holderAt(chunk, at)];
      ends.push({ origin: this.#origins.textOf(origin), position, holder });
      return false;
    });
    return ends;
  }

  /** The holder has been forgotten. */
  forget(holder: EventHolder): void {
    this.#forgotten += this.#countOf.get(holder) ?? 0;
    this.#countOf.delete(holder);
  }

  #see(chunk: Chunk, at: number, seen: Seen): void {
    const { origins, seenLsn, seenEpoch } = chunk;
    const from = at * origins;
    if (at > 0 && chunk.seen === seen) {
      seenLsn.copyWithin(from, from - origins, from);
      seenEpoch.copyWithin(from, from - origins, from);
      return;
    }
    chunk.seen = seen;
    for (const origin in seen) {
      const mark = seen[origin];
      if (mark === undefined) continue;
      const column = from + this.#origins.numberOf(origin) - 1;
      seenLsn[column] = positionLsn(mark);
      seenEpoch[column] = this.#epochs.numberOf(positionEpoch(mark));
    }
  }

  /** From the newest on, until one says true. */
  #each(newest: number, look: (chunk: Chunk, at: number) => boolean): boolean {
    for (let place = newest; ; ) {
      const chunk = this.#chunkOf(place);
      if (chunk === undefined) return false;
      const at = place - chunk.first;
      if (!holderAt(chunk, at).isForgotten && look(chunk, at)) return true;
      place = chunk.before[at] ?? NOT_COLD;
    }
  }

  #chunkOf(place: number): Chunk | undefined {
    return this.#chunks[Math.floor(place / this.#chunkEvents)];
  }

  #positionAt(chunk: Chunk, at: number): Position {
    return makePosition(this.#epochs.textOf(chunk.epoch[at] ?? 0), chunk.lsn[at] ?? 0n);
  }

  #made(chunk: Chunk, at: number): Passed {
    const flags = chunk.flags[at] ?? 0;
    const merge = chunk.merge[at] ?? 0;
    const offset = chunk.offset[at] ?? Number.NaN;
    const passed: Passed = {
      source: {
        origin: this.#origins.textOf(chunk.origin[at] ?? 0),
        hlc: chunk.hlc[at] ?? 0n,
        position: this.#positionAt(chunk, at),
        seen: this.#seenAt(chunk, at),
        stated: chunk.stated[at] ?? 0n,
        first_offset: Number.isNaN(offset) ? undefined : offset,
        is_pushed: (flags & IS_PUSHED) !== 0,
      },
      index: chunk.index[at] ?? 0,
      isTruncate: false,
      left: undefined,
      found: undefined,
      removes: (flags & REMOVES) !== 0,
      merge: merge === 0 ? undefined : this.#merges.textOf(merge),
      event: null,
      holder: holderAt(chunk, at),
      coldAt: chunk.first + at,
      isSettled: (flags & IS_SETTLED) !== 0,
    };
    if ((flags & IS_NOT_LOST) !== 0) passed.isNotLost = true;
    return passed;
  }

  #seenAt({ origins, seenLsn, seenEpoch }: Chunk, at: number): Seen {
    const seen: { [origin: string]: Position } = {};
    for (let column = 0; column < origins; column += 1) {
      const epoch = seenEpoch[at * origins + column] ?? 0;
      if (epoch === 0) continue;
      const lsn = seenLsn[at * origins + column] ?? 0n;
      seen[this.#origins.textOf(column + 1)] = makePosition(this.#epochs.textOf(epoch), lsn);
    }
    return seen;
  }
}

function holderAt({ holders, holder }: Chunk, at: number): EventHolder {
  const found = holders[holder[at] ?? 0];
  invariant(found !== undefined, 'an event has a holder');
  return found;
}

function flagsOf({ removes, source, isSettled, isNotLost }: Passed): number {
  return (
    (removes ? REMOVES : 0) |
    (source.is_pushed ? IS_PUSHED : 0) |
    (isSettled ? IS_SETTLED : 0) |
    (isNotLost === true ? IS_NOT_LOST : 0)
  );
}
