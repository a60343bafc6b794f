/**
 * Local writes that were overwritten too early, and by whom.
 *
 * Until the echo of a local write with a pushed stamp has rewritten it, its tuple says less than its version, and an event
 * that is older by version may take the row. The echo takes it back; but a user may have written over it in between, who
 * then saw that event in place and not the write before. For all regions that write was overwritten by the later one of
 * its own stream, so nothing was concurrent and no conflict would tell of it, and yet nobody has seen it: it is lost.
 *
 * The later write's image from before tells. It is neither what the write left, nor of anything above it that was applied
 * in between.
 */
import { type ChangeEvent, type Image, isoToMicros } from '../change/change-event.ts';
import { covers, type Position } from '../change/position.ts';
import { isAbove } from '../change/version.ts';
import { EVERY_ROW, type RowKey, type TableShape } from './apply-port.ts';
import { haveSameValues, isPushed } from './decide.ts';
import { formerKey } from './net-change.ts';
import { imageOf, type Loss, type Recent, type RecentEvents, versionOf } from './recent-events.ts';

/** What the batch at hand has done so far, which the lane remembers only once it is committed. */
export type InBatch = {
  /** The newest own event on the row. */
  readonly before: Recent | undefined;
  /** Where the whole table was emptied last. */
  readonly emptiedAt: Position | undefined;
};

/** Losses among an own stream's events on one row, `chain` being the new ones. */
export function earlyOverwrites(
  shape: TableShape,
  key: RowKey,
  chain: readonly Recent[],
  recent: RecentEvents,
  { before: inBatch, emptiedAt }: InBatch,
): readonly Loss[] {
  const first = chain[0];
  if (first === undefined) return [];
  // Behind what the lane does not remember, a write of its own may be missing between the two.
  const cannotTellTo = [
    recent.missingTo(first.origin),
    emptiedAt,
    recent.newestLike(shape.id, EVERY_ROW, first)?.position,
  ].reduce((a, b) => (a === undefined || (b !== undefined && b > a) ? b : a), undefined);
  const losses: Loss[] = [];
  let before = inBatch ?? recent.newestLike(shape.id, key, first);
  for (const write of chain) {
    // Whoever emptied the table had seen what was there.
    const isClear = before !== undefined && (cannotTellTo === undefined || cannotTellTo < before.position);
    if (before !== undefined && isClear && wasHidden(shape, before, write)) {
      const hidden = versionOf(before);
      const isOverwritten = recent
        .othersThan(shape.id, key, write)
        .some((other) => covers(write.seen, other.origin, other.position) && isAbove(versionOf(other), hidden));
      if (!isOverwritten) losses.push({ loser: before, winner: write });
    }
    before = write;
  }
  return losses;
}

/** Whether the later write found something else in place than what the pushed one before it had left. */
function wasHidden(shape: TableShape, before: Recent, write: Recent): boolean {
  if (before.position === write.position || write.event.operation === 'TRUNCATE') return false;
  if (before.removes || !isPushed(before.hlc, isoToMicros(before.event.committed_at))) return false;
  const left = imageOf(before);
  const found = imageBefore(shape, write);
  return left !== null && (found === null || !haveSameValues(left, found));
}

/** What stood under the key: nothing where a row was inserted, or came from another key. */
function imageBefore(shape: TableShape, { event, removes }: Recent): Image | null {
  return cameFromElsewhere(shape, event, removes) ? null : event.before_image;
}

function cameFromElsewhere(shape: TableShape, event: ChangeEvent, removes: boolean): boolean {
  return !removes && formerKey(shape, event) !== null;
}
