/** Invariants of rows at the end: every region holds the fold of all events, and set none of them aside. */

import type { Image } from '../../src/change/change-event.ts';
import type { Version } from '../../src/change/version.ts';
import { partRows } from '../../src/resolve/parking.ts';
import type { Failure } from './invariants.ts';
import { foldMerged } from './merging.ts';
import { claimsSame } from './model-database.ts';
import { MERGED, modelShape, rowName } from './model-store.ts';
import { isValidRow } from './model-validity.ts';
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
  return (
    checkFold(regions, events, table, conditions) ??
    (table === MERGED ? (checkValid(regions, conditions) ?? checkCounters(regions, published, conditions)) : null) ??
    checkQuarantine(regions)
  );
}

/** Users leave no row that the constraints do not take, so no merge may. */
function checkValid(regions: readonly Region[], { merging }: Conditions): Failure | null {
  for (const { name, database } of regions) {
    for (const { key, tuple } of database.table(MERGED).slots.values()) {
      const wrong = [...merging.rules.values()].find(
        ({ validity }) => tuple !== null && !isValidRow(tuple.image, validity),
      );
      if (wrong === undefined) continue;
      return { invariant: 'valid', message: `${name} has ${JSON.stringify(tuple?.image)} in row ${key}` };
    }
  }
  return null;
}

/** Counters that users only add to hold the sum of what was added. */
function checkCounters(regions: readonly Region[], published: Published, { merging }: Conditions): Failure | null {
  if (!merging.countsOnly) return null;
  const sums = new Map<string, number>();
  for (const transactions of published.values()) {
    for (const { events } of transactions) {
      for (const { table_name, before_image, after_image, row_pk } of events) {
        if (table_name !== MERGED) continue;
        const by = Number(after_image?.n) - Number(before_image?.n);
        sums.set(row_pk.id ?? '', (sums.get(row_pk.id ?? '') ?? 0) + by);
      }
    }
  }
  for (const { name, database } of regions) {
    for (const { key, tuple } of database.table(MERGED).slots.values()) {
      const sum = sums.get(key) ?? 0;
      if (Number(tuple?.image.n) === sum) continue;
      return {
        invariant: 'increments',
        message: `${name} counts ${tuple?.image.n} in row ${key}, and ${sum} were added`,
      };
    }
  }
  return null;
}

type Folded = { readonly key: string; readonly image: Image; readonly version: Version };

function checkFold(
  regions: readonly Region[],
  events: Map<string, RowEvent[]>,
  table: string,
  { baseline, merging }: Conditions,
): Failure | null {
  const shape = modelShape('public', table);
  const before = new Map(
    baseline
      .filter((row) => row.table === table)
      .map(({ image }) => [rowName(shape, JSON.stringify([image.id])), image]),
  );
  const folded: Folded[] = [];
  for (const key of new Set([...before.keys(), ...events.keys()])) {
    const { image, version } = foldMerged(events.get(key) ?? [], before.get(key) ?? null, merging);
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
    .map(({ id, v, u, w, ...others }) => {
      const told = Object.keys(others).length === 0 ? '' : ` ${Object.values(others).join(' ')}`;
      return `${id}=${v}${u == null ? '' : `/${u}`}${w == null ? '' : `/${w}`}${told}`;
    });
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
