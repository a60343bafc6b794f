/**
 * Sets of events that hold all earlier ones of each stream: by line (`lineOf`), the position of the last.
 *
 * Whoever has seen an event of a line has seen all before it there, so this little is enough to tell whether an event has
 * seen each of a set, or all that stood in a part of the history that is forgotten.
 */
import { covers, type Position, type Seen } from '../change/position.ts';
import { lineOf } from './losses.ts';

export type Heads = { readonly [line: string]: Position };

export type Observer = { readonly origin: string; readonly position: Position; readonly seen: Seen };

export const NOTHING: Heads = {};

/** Whether the observer knew that event. Of its own transaction, what is before it in order counts as known. */
export function knows(observer: Observer, line: string, position: Position): boolean {
  if (line === lineOf(observer)) return position <= observer.position;
  return covers(observer.seen, line.slice(line.indexOf(' ') + 1), position);
}

export function knowsAll(observer: Observer, heads: Heads): boolean {
  for (const line of Object.keys(heads)) {
    const position = heads[line];
    if (position !== undefined && !knows(observer, line, position)) return false;
  }
  return true;
}

export function withHead(heads: Heads, { origin, position }: Observer): Heads {
  return { ...heads, [lineOf({ origin, position })]: position };
}

/** Those that the observer did not know. */
export function unknownTo(observer: Observer, heads: Heads): Heads {
  const left: { [line: string]: Position } = {};
  for (const [line, position] of Object.entries(heads)) if (!knows(observer, line, position)) left[line] = position;
  return left;
}

/** Those that at least one of the observers did not know. */
export function unknownToAny(observers: readonly Observer[], heads: Heads): Heads {
  const left: { [line: string]: Position } = {};
  for (const [line, position] of Object.entries(heads)) {
    if (observers.some((observer) => !knows(observer, line, position))) left[line] = position;
  }
  return left;
}

/** By line one that knows what all of these do: whatever is known to all of them is known to it, and nothing else. */
export function weakest(observers: readonly Observer[]): Observer[] {
  const byLine = new Map<string, Observer>();
  for (const observer of observers) {
    const line = lineOf(observer);
    const other = byLine.get(line);
    byLine.set(line, other === undefined ? observer : weaker(observer, other));
  }
  return [...byLine.values()];
}

function weaker(one: Observer, other: Observer): Observer {
  const seen: { [origin: string]: Position } = {};
  for (const [origin, mark] of Object.entries(one.seen)) {
    const known = other.seen[origin];
    if (known !== undefined) seen[origin] = known < mark ? known : mark;
  }
  return { origin: one.origin, position: one.position < other.position ? one.position : other.position, seen };
}

export function isEmpty(heads: Heads): boolean {
  for (const _ in heads) return false;
  return true;
}
