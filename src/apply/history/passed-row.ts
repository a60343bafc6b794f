/**
 * The unsettled events of one row of which there is more than one, per line (an epoch of a stream) in its order: the last of each
 * transaction. Events are forgotten with their batches; a row is swept of them when it is looked at.
 *
 * Those of each line that came first may be cold (`cold-events.ts`): of them the row knows where the newest one is, and how far
 * each line goes, which is all that is asked of them until an event comes that had not seen them.
 */
import { covers, type Position } from '../../change/position.ts';
import { areOfOneLine, lineOf, type Origination } from '../../resolve/losses.ts';
import { NOT_COLD } from './cold-events.ts';
import type { EventHolder, Passed } from './passed-event.ts';

/** Shorter lists are swept of each event that is forgotten. */
const LONG = 256;

/** The newest event of a line. */
export type LineEnd = { readonly origin: string; readonly position: Position; readonly holder: EventHolder };

export class PassedRow {
  /** Where the newest of its cold events is. */
  coldAt = NOT_COLD;
  /** Whether what was cold of it has been made anew: it is written down as a whole then, or not at all. */
  isThawed = false;
  #coldEnds: LineEnd[] = [];
  /** The first line by itself, since most rows have no other. */
  #line = '';
  #stream: Passed[] = [];
  #others: Map<string, Passed[]> | null = null;
  #newest: Passed | null = null;
  /** The round of forgetting that it was swept in. */
  #sweptIn = -1;

  /** The event that came last. */
  get newest(): Passed | null {
    return this.#newest;
  }

  /** How many are kept as objects. */
  get size(): number {
    let size = this.#stream.length;
    if (this.#others !== null) for (const stream of this.#others.values()) size += stream.length;
    return size;
  }

  get streams(): ReadonlyMap<string, Passed[]> {
    const streams = new Map<string, Passed[]>();
    if (this.#stream.length > 0) streams.set(this.#line, this.#stream);
    if (this.#others !== null) for (const [line, stream] of this.#others) streams.set(line, stream);
    return streams;
  }

  add(passed: Passed): void {
    const line = lineOf(passed.source);
    const stream = this.#streamOf(line);
    this.#newest = passed;
    if (stream === undefined) {
      passed.found = undefined;
      this.#begin(line, [passed]);
    } else if (stream.at(-1)?.source.position === passed.source.position) {
      // An earlier change of the same transaction.
      passed.found = stream.pop()?.found;
      stream.push(passed);
    } else {
      // What a write found is asked only behind one with a pushed stamp; images take room.
      if (stream.at(-1)?.left === undefined) passed.found = undefined;
      stream.push(passed);
    }
  }

  /** What is cold of it. */
  hasCold(coldAt: number, ends: readonly LineEnd[]): void {
    this.coldAt = coldAt;
    this.#coldEnds = [...ends];
  }

  /** The lists with these events, which are cold, in front. */
  streamsBehind(events: readonly Passed[]): ReadonlyMap<string, Passed[]> {
    const streams = linesOf(events);
    for (const [line, stream] of this.streams) streams.set(line, [...(streams.get(line) ?? []), ...stream]);
    return streams;
  }

  /** Takes what was cold back. */
  thaw(events: readonly Passed[]): void {
    const streams = this.streamsBehind(events);
    this.#stream = [];
    this.#others = null;
    this.coldAt = NOT_COLD;
    this.#coldEnds = [];
    this.isThawed = true;
    for (const [line, stream] of streams) this.#begin(line, stream);
  }

  /** Takes out the events of its line up to this one, for as long as each may be taken. */
  takeUpTo(passed: Passed, mayTake: (passed: Passed) => boolean): Passed[] {
    const line = lineOf(passed.source);
    const stream = this.#streamOf(line) ?? [];
    let count = 0;
    for (const each of stream) {
      if (!mayTake(each)) break;
      count += 1;
      if (each === passed) break;
    }
    const taken = stream.splice(0, count);
    if (stream.length === 0) this.#others?.delete(line);
    const newest = taken.at(-1);
    if (newest !== undefined) {
      const { origin, position } = newest.source;
      const others = this.#coldEnds.filter((each) => !areOfOneLine(each, newest.source));
      this.#coldEnds = [...others, { origin, position, holder: newest.holder }];
    }
    return taken;
  }

  /** Drops what is forgotten, once for each round of forgetting. */
  sweep(round: number): void {
    if (round === this.#sweptIn) return;
    this.#sweptIn = round;
    // Before the newest cold event of a line all others of it are forgotten.
    this.#coldEnds = this.#coldEnds.filter(({ holder }) => !holder.isForgotten);
    if (this.#coldEnds.length === 0) this.coldAt = NOT_COLD;
    this.#stream = swept(this.#stream);
    for (const [line, stream] of this.#others ?? []) {
      const kept = swept(stream);
      if (kept.length === 0) this.#others?.delete(line);
      else if (kept !== stream) this.#others?.set(line, kept);
    }
  }

  /** Whether the newest event of its line is of that transaction. */
  endsWith(source: Origination): boolean {
    return this.#streamOf(lineOf(source))?.at(-1)?.source.position === source.position;
  }

  /** Whether an event of another line is here that is not among what was seen. */
  holdsUnseen(by: Origination): boolean {
    if (this.#coldEnds.some((end) => isUnseen(end, by))) return true;
    if (endsUnseen(this.#stream, by)) return true;
    if (this.#others !== null) for (const stream of this.#others.values()) if (endsUnseen(stream, by)) return true;
    return false;
  }

  #streamOf(line: string): Passed[] | undefined {
    if (line !== this.#line) return this.#others?.get(line);
    return this.#stream.length === 0 ? undefined : this.#stream;
  }

  #begin(line: string, events: Passed[]): void {
    if (this.#stream.length === 0) {
      this.#line = line;
      this.#stream = events;
      return;
    }
    this.#others ??= new Map();
    this.#others.set(line, events);
  }
}

/** Events in their order, by line. */
export function linesOf(events: readonly Passed[]): Map<string, Passed[]> {
  return Map.groupBy(events, ({ source }) => lineOf(source));
}

export function isUnseen(source: Pick<Origination, 'origin' | 'position'>, by: Origination): boolean {
  return !areOfOneLine(source, by) && !covers(by.seen, source.origin, source.position);
}

function endsUnseen(stream: readonly Passed[], by: Origination): boolean {
  const last = stream.at(-1);
  return last !== undefined && isUnseen(last.source, by);
}

/**
 * The events that are kept. Those of a line are forgotten from the front, and of a long one by halves, so that each costs
 * constant time: what is forgotten is below all that can still lose or win, and changes nothing there.
 */
function swept(stream: Passed[]): Passed[] {
  const isLong = stream.length > LONG && stream[stream.length >> 1]?.holder.isForgotten === false;
  if (isLong || !stream.some(({ holder }) => holder.isForgotten)) return stream;
  return stream.filter(({ holder }) => !holder.isForgotten);
}
