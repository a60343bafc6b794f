/**
 * The losses of `losses.ts`, computed by binary searches instead of comparing all with all.
 *
 * Along an epoch of a stream, positions, versions on one row and `seen` all grow. So of such a line's events on the row, those that
 * are concurrent with a given one are neighbours: behind the last that it has seen, before the first that has seen it; the
 * last of them is the highest. And of each line only the first event that has seen a given one can have overwritten it,
 * for the later ones have seen that one. A hot row with thousands of events that are not settled yet costs thousands of
 * steps, not millions.
 */
import { covers } from '../change/position.ts';
import { isAbove } from '../change/version.ts';
import { type Contender, hides, type Loss, lineOf } from './losses.ts';

/** The events on a row by line (`lineOf`), in the order of the streams; one per transaction, its last. */
export type RowStreams<Event extends Contender> = ReadonlyMap<string, readonly Event[]>;

/** How far back losers of a new event are looked for in each stream, for what is found at once. */
const LOOK_BACK_MAX = 100;

/**
 * `isNotLost` is a note of `judgeNewest`: where causes arrive first, one that knew the event has overwritten it, and
 * nothing changes that any more. On a hot row almost every event is soon, so looking back at it costs nothing.
 */
type Noted = Contender & { isNotLost?: boolean };

/** All losses among a row's events, or of those of them that are asked about, each with its highest winner. */
export function judgeRow<Event extends Contender>(
  streams: RowStreams<Event>,
  isAsked: (event: Event) => boolean = () => true,
): Loss<Event>[] {
  const losses: Loss<Event>[] = [];
  for (const stream of streams.values()) {
    for (const [place, event] of stream.entries()) {
      if (!isAsked(event)) continue;
      const winner = event.isTruncate ? null : winnerOver(event, place, streams);
      if (winner !== null && !isOverwritten(event, place, streams)) losses.push({ loser: event, winner });
    }
  }
  return losses;
}

/**
 * The losses in which the newest events of one line, from this place of it on, lose or win; of those that they
 * win over, the newest. What they overwrite among events that were known before is not taken back.
 */
export function judgeNewest<Event extends Noted>(
  streams: RowStreams<Event>,
  line: string,
  from: number,
): Loss<Event>[] {
  const losses = new Map<Event, Event>();
  const judged = new Set<Event>();
  const own = streams.get(line) ?? [];
  const judge = (event: Event | undefined, place: number): void => {
    if (event === undefined || event.isTruncate || event.isNotLost === true || judged.has(event)) return;
    judged.add(event);
    if (isOverwritten(event, place, streams)) {
      event.isNotLost = true;
      return;
    }
    const winner = winnerOver(event, place, streams);
    if (winner !== null) losses.set(event, winner);
  };
  for (let place = from; place < own.length; place += 1) {
    const event = own[place];
    if (event === undefined) continue;
    judge(event, place);
    if (own[place - 1]?.left !== undefined) judge(own[place - 1], place - 1);
    for (const [other, stream] of streams) {
      if (other === line) continue;
      const to = before(event, stream);
      const first = Math.max(seenBy(event, stream), to - LOOK_BACK_MAX);
      for (let loser = first; loser < to; loser += 1) judge(stream[loser], loser);
    }
  }
  return [...losses].map(([loser, winner]) => ({ loser, winner }));
}

/** The highest event that is concurrent with this one and above it, else the one that it was hidden from. */
function winnerOver<Event extends Contender>(event: Event, place: number, streams: RowStreams<Event>): Event | null {
  const own = lineOf(event.source);
  let highest: Event | null = null;
  for (const [line, stream] of streams) {
    if (line === own) continue;
    const to = before(event, stream);
    const winner = to > seenBy(event, stream) ? stream[to - 1] : undefined;
    if (winner !== undefined && isAbove(winner.source, (highest ?? event).source)) highest = winner;
  }
  const next = event.left === undefined ? undefined : streams.get(own)?.[place + 1];
  return highest ?? (next !== undefined && hides(next, event) ? next : null);
}

/** Whether this event is the highest that some other one had seen. */
function isOverwritten<Event extends Contender>(event: Event, place: number, streams: RowStreams<Event>): boolean {
  const own = lineOf(event.source);
  for (const [line, stream] of streams) {
    const first = line === own ? place + 1 : before(event, stream);
    const knowing = stream[first];
    if (knowing === undefined) continue;
    let isHighest = true;
    for (const [other, known] of streams) {
      const last = known[(other === line ? first : seenBy(knowing, known)) - 1];
      if (last !== undefined && last !== event && isAbove(last.source, event.source)) isHighest = false;
    }
    if (isHighest && !hides(knowing, event)) return true;
  }
  return false;
}

/** How many of the stream's events this one had seen. */
function seenBy({ source }: Contender, stream: readonly Contender[]): number {
  const mark = source.seen[stream[0]?.source.origin ?? ''];
  return mark === undefined ? 0 : prefix(stream, (other) => other.source.position <= mark);
}

/** How many of the stream's events had not seen this one. */
function before({ source }: Contender, stream: readonly Contender[]): number {
  return prefix(stream, (other) => !covers(other.source.seen, source.origin, source.position));
}

/** How many events at the front hold, where all that hold are in front. */
function prefix(stream: readonly Contender[], holds: (event: Contender) => boolean): number {
  let low = 0;
  let high = stream.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const event = stream[middle];
    if (event !== undefined && holds(event)) low = middle + 1;
    else high = middle;
  }
  return low;
}
