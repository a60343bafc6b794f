/**
 * The user's row as a cache of the fold: what to write into it once more events are known.
 *
 * A local write that is committed and not captured yet is in the tuple and not in the fold. It is told by the tuple being
 * another than `known`, the last image that we know it had (what the lane last wrote there, or the last captured local
 * event's image, whichever is later by WAL position: by stamps it would be wrong, they can be pushed). What the user has
 * changed since is then folded on top of all that is known, as an event that had seen what stood in that image: the same step as of any
 * event, so that a removal, an element of a set and a counter mean the same as in the fold. Its capture follows, and the fold
 * with it takes the place of this guess.
 */
import { haveSameValues, type Image } from '../change/change-event.ts';
import { HLC_MAX } from '../change/hlc.ts';
import { type Epoch, makePosition, type Seen } from '../change/position.ts';
import { type Folding, foldOn } from './fold.ts';
import type { FoldState } from './fold-state.ts';
import type { MergeRule } from './merge-rule.ts';

/** Where the row stands in its database. */
export type CachedRow = {
  readonly region: string;
  /** The epoch of the region's own stream. */
  readonly epoch: Epoch;
  readonly rule: MergeRule;
  /** The last image that we know the tuple had; null where there was none. */
  readonly known: Image | null;
  /** What was applied here when it had that image. */
  readonly seen: Seen;
  /** The tuple now, locked. */
  readonly tuple: Image | null;
};

const BEYOND_ALL = 2n ** 64n - 1n;

/** The image to write, null for removing the row. */
export function* cachedRow(fold: FoldState, row: CachedRow): Folding<Image | null> {
  const { region, epoch, rule, known, seen, tuple } = row;
  if (known === null ? tuple === null : tuple !== null && haveSameValues(known, tuple)) return fold.image;
  const local = {
    version: { hlc: HLC_MAX, origin: region },
    position: makePosition(epoch, BEYOND_ALL),
    index: 0,
    seen,
    before: known,
    after: tuple,
    rule,
  };
  return (yield* foldOn(fold, [local])).state.image;
}
