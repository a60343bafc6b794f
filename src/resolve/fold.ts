/**
 * The fold: what a row is, given all of its events. Reference semantics, and the oracle of the simulation.
 *
 * Events are taken in the order of their versions; events of one transaction share a version and keep their order by
 * index. Last writer wins takes each event's image, so the row is what the highest event left of it.
 */
import type { Image } from '../change/change-event.ts';
import type { Seen } from '../change/position.ts';
import { compareVersions, type Version } from '../change/version.ts';

export type FoldEvent = {
  readonly version: Version;
  /** Stands for the transaction within its origin's stream. */
  readonly position: string;
  /** Place within the transaction. */
  readonly index: number;
  readonly seen: Seen;
  readonly before: Image | null;
  /** null where the event removed the row. */
  readonly after: Image | null;
};

/** The row's image after all events above `base`; null where it is absent. */
export function foldRow(events: readonly FoldEvent[], base: Version): Image | null {
  const ordered = [...events].sort((a, b) => compareVersions(a.version, b.version) || a.index - b.index);
  let current: Image | null = null;
  for (const event of ordered) if (compareVersions(event.version, base) > 0) current = event.after;
  return current;
}
