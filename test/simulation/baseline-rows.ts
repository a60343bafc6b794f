/**
 * Rows that every region held before its stream began: they are in no stream, and the same everywhere.
 *
 * Regions begin when they please. So what one loaded, and what another wrote long after its own beginning, can have
 * commit timestamps in any order; only which transaction came before the beginning tells them apart.
 */
import type { Image } from '../../src/change/change-event.ts';
import type { Random } from '../../src/platform/random.ts';
import type { ModelDatabase } from './model-database.ts';
import { CLAIMS, MERGED } from './model-store.ts';
import { TABLES } from './workload.ts';

export type BaselineRow = { readonly table: string; readonly image: Image };

/** How far aside of the time of the beginning the rows' commit timestamps lie. */
const ASIDE_MICROS = 3_000_000;

export function chooseBaseline(random: Random, regions: readonly string[]): BaselineRow[] {
  const keys = {
    kv: ['1', '2', '3', '4'],
    other: ['1', '2', '3'],
    owned: regions.map((region) => `${region}1`),
    claims: ['1', '2', '3'],
    merged: ['1', '2'],
  };
  return TABLES.flatMap((table) =>
    keys[table]
      .filter(() => random.chance(0.6))
      // In one region, no two rows claim the same.
      .map((id) => ({ table, image: { id, v: 'before', ...othersOf(table, id) } })),
  );
}

function othersOf(table: string, id: string): Image {
  if (table === MERGED) return { n: '0', s: '{a}', m: '5' };
  return table === CLAIMS ? { u: id, w: id } : { u: null };
}

/** With all rows of counters. */
export function withCounters(rows: readonly BaselineRow[]): BaselineRow[] {
  const counters = ['1', '2'].map((id) => ({ table: MERGED, image: { id, v: 'before', ...othersOf(MERGED, id) } }));
  return [...rows.filter(({ table }) => table !== MERGED), ...counters];
}

export function loadBaseline(database: ModelDatabase, rows: readonly BaselineRow[], random: Random): void {
  const aside = BigInt(random.below(2 * ASIDE_MICROS) - ASIDE_MICROS);
  const { region: writer } = database;
  const transaction = database.begin({ writer, local: true, stampMicros: database.now() + aside });
  for (const { table, image } of rows) {
    const slot = database.table(table).slot(image.id ?? '');
    database.hold(slot, transaction, 'write');
    database.put(slot, transaction, image);
  }
  database.enterWal(transaction);
  database.becomeVisible(transaction);
  database.beginStream();
}
