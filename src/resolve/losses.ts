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
 * Of the events of one transaction on a row, the last speaks for all. A TRUNCATE is an event on every row of its table;
 * that it did not take a row is no loss of anything.
 *
 * The definition speaks of sets alone, so the order in which events arrive cannot matter. It is written to be read;
 * `judge-row.ts` computes the same fast.
 */
import { covers, type Position, positionEpoch, type Seen } from '../change/position.ts';
import { isAbove, type Version } from '../change/version.ts';

/** What all events of a transaction share. */
export type Origination = Version & { readonly position: Position; readonly seen: Seen };

export type Contender = {
  readonly source: Origination;
  /** Place within the transaction. */
  readonly index: number;
  readonly isTruncate: boolean;
};

export type Loss<Event extends Contender> = { readonly loser: Event; readonly winner: Event };

export function lossesOf<Event extends Contender>(events: readonly Event[]): Loss<Event>[] {
  const speakers = lastOfTransactions(events);
  const overwritten = new Set(speakers.map((event) => highest(speakers.filter((other) => hasSeen(event, other)))));
  return speakers.flatMap((loser) => {
    if (loser.isTruncate || overwritten.has(loser)) return [];
    const winner = highest(
      speakers.filter((other) => areConcurrent(loser, other) && isAbove(other.source, loser.source)),
    );
    return winner === null ? [] : [{ loser, winner }];
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
  return `${positionEpoch(position)} ${origin}`;
}

/** Whether `a` came after `b` and knew it. */
export function hasSeen(a: Contender, b: Contender): boolean {
  const { origin, position } = b.source;
  if (lineOf(a.source) === lineOf(b.source)) return a.source.position > position;
  return covers(a.source.seen, origin, position);
}

/** Neither had seen the other. */
export function areConcurrent(a: Contender, b: Contender): boolean {
  return lineOf(a.source) !== lineOf(b.source) && !hasSeen(a, b) && !hasSeen(b, a);
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
