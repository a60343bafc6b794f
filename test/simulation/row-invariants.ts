/** Invariants of rows at the end: every region holds the fold of all events, and set none of them aside. */

import type { Image } from '../../src/change/change-event.ts';
import { VERSION_ZERO } from '../../src/change/version.ts';
import { foldRow } from '../../src/resolve/fold.ts';
import type { Failure } from './invariants.ts';
import { eventsByRow, type Published, type RowEvent } from './published.ts';
import type { Region } from './region.ts';

export function checkRows(regions: readonly Region[], published: Published, table: string): Failure | null {
  return checkFold(regions, eventsByRow(published, table), table) ?? checkQuarantine(regions);
}

function checkFold(regions: readonly Region[], events: Map<string, RowEvent[]>, table: string): Failure | null {
  const folded = [...events.values()].map((row) => {
    const fold = row.map(({ hlc, origin, ...event }) => ({ ...event, version: { hlc, origin } }));
    return foldRow(fold, VERSION_ZERO);
  });
  const expected = tell(folded);
  for (const { name, database } of regions) {
    const actual = tell([...database.table(table).slots.values()].map(({ tuple }) => tuple?.image ?? null));
    if (actual === expected) continue;
    const message = `${name}.${table} holds ${actual}, the fold of all events is ${expected}`;
    return { invariant: 'converges', message };
  }
  return null;
}

function tell(images: readonly (Image | null)[]): string {
  const rows = images.filter((image) => image !== null).map(({ id, v, u }) => `${id}=${v}${u == null ? '' : `/${u}`}`);
  return rows.sort().join(' ') || 'nothing';
}

function checkQuarantine(regions: readonly Region[]): Failure | null {
  for (const { name, store } of regions) {
    for (const { event, error } of store.quarantine.values()) {
      return { invariant: 'quarantine-empty', message: `${name} set aside ${event}: ${error}` };
    }
  }
  return null;
}
