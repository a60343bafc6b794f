/**
 * Invariants of the looks for orphans: every region looks at every removal, and not before it has applied all that is
 * concurrent with it, since any of that may name the row that was removed.
 */
import { covers } from '../../src/change/position.ts';
import type { Failure } from './invariants.ts';
import { LATE } from './model-store.ts';
import type { Published, PublishedTransaction } from './published.ts';
import type { Region } from './region.ts';
import type { Conditions } from './world-view.ts';

const PLENTY = 1_000;

export function checkOrphanLooks(
  regions: readonly Region[],
  published: Published,
  conditions: Conditions,
): Failure | null {
  // A region that comes back as an older copy of itself has looked in a history that is lost.
  if (conditions.restores) return null;
  const transactions = [...published.values()].flat().filter(({ events }) => events.length > 0);
  for (const removal of transactions) {
    for (const event_id of removalsOf(removal)) {
      const concurrent = transactions.filter(
        ({ origin, seen }) => origin !== removal.origin && !covers(seen, removal.origin, removal.position),
      );
      for (const { name, removalsLookedAt } of regions) {
        const marks = removalsLookedAt.get(event_id);
        if (marks === undefined) continue;
        const missing = concurrent.find(({ origin, position }) => !covers(marks, origin, position));
        if (missing !== undefined) {
          return wrong(`${name} looked at ${event_id} before ${missing.origin} ${missing.position} was there`);
        }
      }
    }
  }
  return null;
}

/** Removals that a region has yet to look at. */
export function removalsAhead(regions: readonly Region[], published: Published, conditions: Conditions): string[] {
  // What was forgotten for want of room is not read back from the log.
  if (conditions.restores || conditions.unsettled.events_max <= PLENTY) return [];
  const removals = [...published.values()].flat().flatMap(removalsOf);
  return regions.flatMap(({ name, removalsLookedAt }) =>
    removals
      .filter((event_id) => !removalsLookedAt.has(event_id))
      .map((event_id) => `${name} has yet to look at ${event_id}`),
  );
}

function removalsOf({ events }: PublishedTransaction): string[] {
  return events
    .filter(
      ({ table_name, operation, before_image, row_pk }) =>
        // Nothing refers to the table that is published late.
        table_name !== LATE &&
        (operation === 'DELETE' ||
          operation === 'TRUNCATE' ||
          (operation === 'UPDATE' && before_image !== null && before_image.id !== row_pk.id)),
    )
    .map(({ event_id }) => event_id);
}

function wrong(message: string): Failure {
  return { invariant: 'orphans-found', message };
}
