/**
 * Which events of a row lost to which others: reference semantics, and the oracle of the simulation.
 *
 * An event overwrites the highest of those that it has seen. One that none overwrote so, though a higher one is concurrent
 * with it, is lost: nobody who knew it has decided against it. There is one loss per event, to the highest of those that
 * are concurrent with it.
 *
 * It is not enough that a later event has *seen* the loser, and is concurrent with the winner itself: where the loser had
 * lost already, that event overwrote something else. Two regions can do so to each other's winners, each of which then
 * seems to carry the loss on, and it is told of nowhere (docs/adr/0004-what-a-loss-is.md).
 *
 * A write with a pushed stamp can be hidden from the next one of its own stream: until its echo has put its tuple right, an
 * event that is older by version may take the row. That next write has not overwritten it, as its image from before tells;
 * if nobody else has, and no other event wins over it, then it lost to that write. Once a heartbeat of the stream has stated
 * that everything up to the write is applied, it counts as seen: what is settled by then stays as it is.
 *
 * Of the events of one transaction on a row, the last speaks for all. A TRUNCATE is an event on every row of its table;
 * that it did not take a row is no loss of anything.
 *
 * The definition speaks of sets alone, so the order in which events arrive cannot matter. It is written to be read;
 * `judge-row.ts` computes the same fast.
 */
import { haveSameValues, type Image } from '../change/change-event.ts';
import type { Hlc } from '../change/hlc.ts';
import { areOfOneEpoch, covers, type Position, positionEpoch, type Seen } from '../change/position.ts';
import { isAbove, type Version } from '../change/version.ts';

/** What all events of a transaction share. */
export type Origination = Version & {
  readonly position: Position;
  readonly seen: Seen;
  /** The highest floor that its line of heartbeats had stated before it; none counts as 0. */
  readonly stated?: Hlc;
};

export type Contender = {
  readonly source: Origination;
  /** Place within the transaction. */
  readonly index: number;
  readonly isTruncate: boolean;
  /** What a write with a pushed stamp left of the row; absent for every other event. */
  readonly left?: Image | undefined;
  /** What its transaction found in place of the row, null for nothing; absent where that is not known, or not asked for. */
  readonly found?: Image | null | undefined;
};

export type Loss<Event extends Contender> = { readonly loser: Event; readonly winner: Event };

export function lossesOf<Event extends Contender>(events: readonly Event[]): Loss<Event>[] {
  const speakers = lastOfTransactions(events);
  const overwritten = new Set<Event>();
  const hidden = new Map<Event, Event>();
  for (const event of speakers) {
    const known = highest(speakers.filter((other) => hasSeen(event, other)));
    if (known !== null && hides({ ...event, found: foundBy(events, event) }, known)) hidden.set(known, event);
    else if (known !== null) overwritten.add(known);
  }
  return speakers.flatMap((loser) => {
    if (loser.isTruncate || overwritten.has(loser)) return [];
    const winner =
      highest(speakers.filter((other) => areConcurrent(loser, other) && isAbove(other.source, loser.source))) ??
      hidden.get(loser);
    return winner === undefined ? [] : [{ loser, winner }];
  });
}

function highest<Event extends Contender>(events: readonly Event[]): Event | null {
  return events.reduce<Event | null>(
    (known, event) => (known === null || isAbove(event.source, known.source) ? event : known),
    null,
  );
}

/**
 * Within an epoch of a stream, later events had seen the earlier ones. Across epochs they need not have: what was lost to a
 * restored region comes back to it like another region's.
 */
export function lineOf({ origin, position }: Pick<Origination, 'origin' | 'position'>): string {
  const known = newestLines.get(origin);
  if (known !== undefined && areOfOneEpoch(known.position, position)) return known.line;
  const line = `${positionEpoch(position)} ${origin}`;
  newestLines.set(origin, { position, line });
  return line;
}

/** By origin, the line that was asked for last: almost all are of one epoch, and making the text costs more than a look. */
const newestLines = new Map<string, { readonly position: Position; readonly line: string }>();

/** Whether `lineOf` tells the same of both. */
export function areOfOneLine(
  a: Pick<Origination, 'origin' | 'position'>,
  b: Pick<Origination, 'origin' | 'position'>,
): boolean {
  return a.origin === b.origin && areOfOneEpoch(a.position, b.position);
}

/** Whether `a` came after `b` and knew it. */
export function hasSeen(a: Contender, b: Contender): boolean {
  const { origin, position } = b.source;
  if (areOfOneLine(a.source, b.source)) return a.source.position > position;
  return covers(a.source.seen, origin, position);
}

/** Whether the later event of a stream, which comes next on the row, has not seen what this one left of it. */
export function hides(later: Contender, earlier: Contender): boolean {
  const { left } = earlier;
  if (left === undefined || later.isTruncate || later.found === undefined) return false;
  if (!areOfOneLine(later.source, earlier.source)) return false;
  if ((later.source.stated ?? 0n) >= earlier.source.hlc) return false;
  return later.found === null || !haveSameValues(left, later.found);
}

/** What the first event of the transaction found. */
function foundBy<Event extends Contender>(events: readonly Event[], { source }: Event): Event['found'] {
  const { origin, position } = source;
  const own = events.filter((event) => event.source.origin === origin && event.source.position === position);
  return own.reduce((first, event) => (event.index < first.index ? event : first)).found;
}

/** Neither had seen the other. */
export function areConcurrent(a: Contender, b: Contender): boolean {
  return !areOfOneLine(a.source, b.source) && !hasSeen(a, b) && !hasSeen(b, a);
}

function lastOfTransactions<Event extends Contender>(events: readonly Event[]): Event[] {
  const last = new Map<string, Event>();
  for (const event of events) {
    const transaction = `${event.source.origin} ${event.source.position}`;
    const known = last.get(transaction);
    if (known === undefined || event.index >= known.index) last.set(transaction, event);
  }
  return [...last.values()];
}
