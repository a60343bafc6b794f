/**
 * Which part of its own stream a region's database has made itself, and which part it has yet to be given.
 *
 * An epoch is one history of the region's WAL. A database that comes back from a copy, or a standby that is promoted, has
 * lost what was committed after the place where the histories part, the fork. The others have it, from the stream; so this
 * region takes it from there as well, like a remote region's. What it publishes from now on belongs to a new epoch.
 *
 * A position alone does not tell whose it is: a restored server gives the same WAL positions and transaction ids again. So
 * a database keeps, for each earlier epoch, how far it has made the stream itself (`lineage`): all else of earlier epochs
 * is foreign to it, and is applied. Everything of its own epoch is its own.
 *
 * What a transaction had seen of the earlier epochs (`seenOfOwn`) is the fork at first, and moves on as the lost part is
 * applied. Taking the highest position published for it would be the obvious way and is wrong: a write that was made before
 * the lost part came back is concurrent with it, and must be judged so.
 */
import { type Epoch, type Position, positionEpoch, positionLsn } from '../change/position.ts';

export type OwnHistory = {
  readonly epoch: Epoch;
  /** For each earlier epoch in which this very history of the WAL published, the last position of it. */
  readonly lineage: readonly Position[];
  /** Up to here the stream had no gap for this database when the epoch began; null where it had nothing of it. */
  readonly fork: Position | null;
  /** Where the stream ended when the epoch began; null for a stream that begins with it. */
  readonly after: Position | null;
};

/** Whether this database's own WAL holds the transaction at that position, so that the stream brings its echo. */
export function isOwn({ epoch, lineage }: OwnHistory, position: Position): boolean {
  const of = positionEpoch(position);
  if (of === epoch) return true;
  return lineage.some((to) => positionEpoch(to) === of && position <= to);
}

/** Whether the stream holds it, and this database has not made it. */
export function isLost(history: OwnHistory, position: Position): boolean {
  return positionEpoch(position) < history.epoch && !isOwn(history, position);
}

/** What is had of the own stream's earlier epochs where it is applied up to the mark; undefined for nothing. */
export function seenOfOwn({ epoch, fork, after }: OwnHistory, mark: Position | undefined): Position | undefined {
  if (after === null) return undefined;
  if (mark === undefined) return fork ?? undefined;
  if (positionEpoch(mark) === epoch) return after;
  return fork === null || mark > fork ? mark : fork;
}

/** How far in this database's WAL its own stream has come back to it, where it is applied up to the mark. */
export function echoedLsn(history: OwnHistory, mark: Position | undefined): bigint {
  if (mark === undefined) return 0n;
  if (positionEpoch(mark) === history.epoch) return positionLsn(mark);
  let lsn = 0n;
  for (const to of history.lineage) {
    const reached = to <= mark ? to : positionEpoch(to) === positionEpoch(mark) ? mark : null;
    if (reached !== null && positionLsn(reached) > lsn) lsn = positionLsn(reached);
  }
  return lsn;
}
