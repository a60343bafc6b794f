/**
 * The user's row as a cache of the fold: what to write into it once more events are known.
 *
 * A local write that is committed and not captured yet is in the tuple and not in the fold. As long as the tuple has such
 * writes, what they changed, from `included` to the tuple, is folded on top of all that is known, as an event that had seen
 * what is included: the same step as of any event, so that removals, sets and counters mean the same as in the fold. Once
 * everything in the tuple is captured, the fold itself takes the place of this guess.
 *
 * `included` is what the tuple would be without those writes, by what is known: for a batch of another region, the fold before the
 * batch; for an echo, the fold before it with the echo's events on top, as later than all (`withEcho`), for that is
 * how the tuple has them. (The fold with the echo can lack what the tuple has: an event that was passed on without its causes gives
 * its own image, causes included, until one that it has not seen takes its place before it.) It is not the image that the lane last wrote. That one holds writes that were merged
 * in and are still not captured: taken as the base, it hides them, so the next batch drops them from the row, and a user's
 * next write, which counts as knowing them, makes that final. (+1 here, not captured; +10 applied, 11 is written; +100
 * applied: the fold is 110 and the tuple is still 11, so the row has to become 111.) And the tuple being what the lane
 * wrote does not mean that all in it is captured, unless capture has passed the place of that write in the WAL.
 *
 * Before a batch of another region is folded, the own stream is read up to its end, always, whatever the batch's `seen` says of it: an
 * event can hold local writes that its origin knew through a third region only. Its image has them already, and the tuple
 * would add them once more. All that others know was in the stream before.
 */
import type { Image } from '../change/change-event.ts';
import { HLC_MAX } from '../change/hlc.ts';
import { type Epoch, makePosition, type Position } from '../change/position.ts';
import { type FoldEvent, type Folding, foldOn } from './fold.ts';
import type { FoldState } from './fold-state.ts';
import type { Heads } from './heads.ts';
import type { MergeRule } from './merge-rule.ts';

/** A row whose tuple has local writes that the fold does not know. */
export type UncapturedRow = {
  readonly region: string;
  /** The epoch of the region's own stream. */
  readonly epoch: Epoch;
  readonly rule: MergeRule;
  readonly included: FoldState;
  /** The tuple now, locked; null where there is none. */
  readonly tuple: Image | null;
};

const BEYOND_ALL = 2n ** 64n - 1n;

/** What the tuple includes once these local events, in their order, are no longer what is not captured. */
export function* withEcho(before: FoldState, echo: readonly FoldEvent[]): Folding<FoldState> {
  const onTop = echo.map((event) => ({ ...event, version: { hlc: HLC_MAX, origin: event.version.origin } }));
  const { state } = yield* foldOn(before, onTop);
  return state;
}

/** The image to write into it, null for removing the row. */
export function* cachedRow(fold: FoldState, row: UncapturedRow): Folding<Image | null> {
  const { region, epoch, rule, included, tuple } = row;
  if (included.image === null && tuple === null) return fold.image;
  const local = {
    version: { hlc: HLC_MAX, origin: region },
    position: makePosition(epoch, BEYOND_ALL),
    index: 0,
    seen: seenOf(included.heads),
    before: included.image,
    after: tuple,
    rule,
    isGuess: true as const,
  };
  return (yield* foldOn(fold, [local])).state.image;
}

function seenOf(heads: Heads): { [origin: string]: Position } {
  const seen: { [origin: string]: Position } = {};
  for (const [line, position] of Object.entries(heads)) {
    const origin = line.slice(line.indexOf(' ') + 1);
    const known = seen[origin];
    if (known === undefined || known < position) seen[origin] = position;
  }
  return seen;
}
