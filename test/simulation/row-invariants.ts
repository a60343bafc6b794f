/** Invariants of rows at the end: every region holds the fold of all events, and set none of them aside. */

import type { Image } from '../../src/change/change-event.ts';
import type { Version } from '../../src/change/version.ts';
import { compareEvents, foldOn } from '../../src/resolve/fold.ts';
import { foldNow, neverAsked } from '../../src/resolve/fold-drivers.ts';
import { settledRow } from '../../src/resolve/fold-state.ts';
import { partRows } from '../../src/resolve/parking.ts';
import type { Failure } from './invariants.ts';
import { claimsSame } from './model-database.ts';
import { modelShape, rowName } from './model-store.ts';
import { eventsByRow, type Published, type RowEvent } from './published.ts';
import type { Region } from './region.ts';
import type { Conditions } from './world-view.ts';

export function checkRows(
  regions: readonly Region[],
  published: Published,
  table: string,
  conditions: Conditions,
): Failure | null {
  const events = eventsByRow(published, table, conditions.baseline);
  return checkFold(regions, events, table, conditions) ?? checkQuarantine(regions);
}

type Folded = { readonly key: string; readonly image: Image; readonly version: Version };

function checkFold(
  regions: readonly Region[],
  events: Map<string, RowEvent[]>,
  table: string,
  { baseline }: Conditions,
): Failure | null {
  const shape = modelShape('public', table);
  const before = new Map(
    baseline
      .filter((row) => row.table === table)
      .map(({ image }) => [rowName(shape, JSON.stringify([image.id])), image]),
  );
  const folded: Folded[] = [];
  for (const key of new Set([...before.keys(), ...events.keys()])) {
    const row = (events.get(key) ?? []).map(({ hlc, origin, ...event }) => ({ ...event, version: { hlc, origin } }));
    const base = settledRow(before.get(key) ?? null);
    const { image, version } = foldNow(foldOn(base, row.sort(compareEvents)), neverAsked).state;
    if (image !== null) folded.push({ key, image, version });
  }
  const { visible, parked } = partRows(folded, (a, b) => claimsSame(a.image, b.image));
  const expected = tell(visible.map(({ image }) => image));
  const expectedParked = tell(parked.map(({ image }) => image));
  for (const { name, database, store } of regions) {
    const actual = tell([...database.table(table).slots.values()].map(({ tuple }) => tuple?.image ?? null));
    if (actual !== expected) {
      const message = `${name}.${table} holds ${actual}, the fold of all events is ${expected}`;
      return { invariant: 'converges', message };
    }
    const kept = [...store.parked.values()].filter((row) => row.table === table);
    const actualParked = tell(kept.map(({ image }) => image));
    if (actualParked === expectedParked) continue;
    const message = `of ${table}, ${name} parks ${actualParked}; the rows above leave no room for ${expectedParked}`;
    return { invariant: 'parks-alike', message };
  }
  return null;
}

function tell(images: readonly (Image | null)[]): string {
  const rows = images
    .filter((image) => image !== null)
    .map(({ id, v, u, w }) => `${id}=${v}${u == null ? '' : `/${u}`}${w == null ? '' : `/${w}`}`);
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
