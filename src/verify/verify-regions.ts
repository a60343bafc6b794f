// Compares the replicated tables of several regions while writes go on.
//
// Per table: the ranges are walked (key-range.ts), and what they suspect is watched until it is decided
// (unsettled-rows.ts), both at once, so that waiting for rows in flight does not stop the walk. Where a
// table has so many suspects that the set is full, the walk waits; where very many rows truly differ,
// the table is given up early: the count says enough, and the rest of the tables is of more interest.
// What is parked of the table (parked-rows.ts) is compared behind its rows, in the same way: parking arrives as late as
// any change.

import { setTimeout as delay } from 'node:timers/promises';
import { fail } from '../platform/errors.ts';
import { isTableIncluded, type TableFilter } from '../platform/table-filter.ts';
import { compareRanges, RANGE_SIZES, type RangeSizes } from './key-range.ts';
import { RegionConnection } from './region-connection.ts';
import { RowTally } from './row-tally.ts';
import { definitionDifference, type TableDefinition, tableText } from './table-definition.ts';
import { problemOf, problemOfError, type TablePart, TableTally } from './table-tally.ts';
import { type SettleLimits, UnsettledRows } from './unsettled-rows.ts';
import type { TableReport, VerifyReport } from './verify-report.ts';

export interface VerifiedRegion {
  readonly region: string;
  readonly url: string;
  /** The tables that the region replicates. */
  readonly tables: TableFilter;
}

export interface VerifyProgress {
  readonly table: string;
  readonly tableIndex: number;
  readonly tableCount: number;
  /** Rows of this table compared so far, in the region that has most. */
  readonly rows: number;
  readonly unsettled: number;
}

export interface VerifyOptions extends Partial<SettleLimits> {
  readonly regions: readonly VerifiedRegion[];
  /** Patterns that narrow down what the regions replicate. */
  readonly tables?: readonly string[];
  readonly sizes?: RangeSizes;
  readonly onProgress?: (progress: VerifyProgress) => void;
}

export const SETTLE_MS = 10_000;
export const GIVE_UP_MS = 60_000;

/** Compares; throws only where nothing can be compared at all. */
export async function verifyRegions(options: VerifyOptions): Promise<VerifyReport> {
  const startedMs = performance.now();
  const settleMs = options.settleMs ?? SETTLE_MS;
  const limits = { settleMs, giveUpMs: Math.max(options.giveUpMs ?? GIVE_UP_MS, 2 * settleMs) };
  await using opened = new AsyncDisposableStack();
  const opening = await Promise.allSettled(
    options.regions.map(async ({ region, url }) => opened.use(await RegionConnection.open(region, url))),
  );
  const connections = opening.map((result) => {
    if (result.status === 'rejected') throw result.reason;
    return result.value;
  });
  const definitions = await Promise.all(connections.map((connection) => connection.definitions()));
  const names = chooseTables(options, definitions);
  const tables: TableReport[] = [];
  for (const [tableIndex, [name, members]] of names.entries()) {
    const onRows = (rows: number, unsettled: number): void =>
      options.onProgress?.({ table: name, tableIndex, tableCount: names.length, rows, unsettled });
    const found = members.map((index) => definitions[index]?.find((each) => tableText(each) === name));
    const parts = members.flatMap((index, place) => {
      const definition = found[place];
      const connection = connections[index];
      if (definition === undefined || connection === undefined) return [];
      return [{ connection, definition }];
    });
    const missing = members.filter((_, place) => found[place] === undefined);
    const regions = missing.map((index) => connections[index]?.region).join(', ');
    const problem = missing.length > 0 ? problemOf('SYN-V002', `does not exist in ${regions}`) : incomparable(parts);
    tables.push(
      problem === null ? await compareTable(name, parts, limits, options, onRows) : notCompared(name, problem),
    );
  }
  return {
    equal: tables.every(({ status }) => status === 'equal'),
    regions: options.regions.map(({ region }) => region),
    tables,
    duration_ms: Math.round(performance.now() - startedMs),
  };
}

/** Tables that at least two regions replicate, each with the places of those regions. */
function chooseTables(
  options: VerifyOptions,
  definitions: readonly (readonly TableDefinition[])[],
): [string, number[]][] {
  const wanted: TableFilter = { include: options.tables ?? ['*'], exclude: [] };
  const tables = new Map<string, number[]>();
  for (const each of definitions.flat()) {
    if (tables.has(tableText(each)) || !isTableIncluded(wanted, each.schema, each.table)) continue;
    const members = options.regions.flatMap(({ tables: filter }, index) =>
      isTableIncluded(filter, each.schema, each.table) ? [index] : [],
    );
    if (members.length > 1) tables.set(tableText(each), members);
  }
  if (tables.size === 0) throw fail('SYN-V004', 'no table that two of the regions replicate matches');
  return [...tables].sort(([a], [b]) => (a < b ? -1 : 1));
}

/** Why the rows of the table cannot be compared at all. */
function incomparable(parts: readonly TablePart[]): TableReport['problem'] {
  const [first, ...others] = parts;
  if (first === undefined) return null;
  for (const other of others) {
    const difference = definitionDifference(named(first), named(other));
    if (difference !== null) return problemOf('SYN-V002', difference);
  }
  return first.definition.key.length === 0 ? problemOf('SYN-P012', 'has no primary key') : null;
}

const named = ({ connection, definition }: TablePart): [string, TableDefinition] => [connection.region, definition];

async function compareTable(
  table: string,
  parts: readonly TablePart[],
  limits: SettleLimits,
  options: VerifyOptions,
  onRows: (rows: number, unsettled: number) => void,
): Promise<TableReport> {
  const tally = new TableTally(table, parts);
  const sizes = options.sizes ?? RANGE_SIZES;
  try {
    const bytes = parts.map(({ definition }) => definition.bytes);
    const fullest = bytes.indexOf(Math.max(...bytes));
    await compareRows(tally.rows, fullest, limits, sizes, (unsettled) => onRows(tally.rows.rowsMost, unsettled));
    const parked = parts.map(({ connection, definition }) => connection.parked(definition));
    tally.parked = new RowTally(await Promise.all(parked));
    await compareRows(tally.parked, 0, limits, sizes, (unsettled) => onRows(tally.rows.rowsMost, unsettled));
  } catch (error) {
    tally.problem = problemOfError(error);
  }
  return await tally.report();
}

async function compareRows(
  tally: RowTally,
  walker: number,
  limits: SettleLimits,
  sizes: RangeSizes,
  onUnsettled: (unsettled: number) => void,
): Promise<void> {
  const unsettled = new UnsettledRows(tally.sources, limits, () => performance.now());
  let lookAtMs = 0;
  const look = async (): Promise<void> => {
    tally.add(await unsettled.look());
    lookAtMs = performance.now() + unsettled.lookEveryMs;
  };
  for await (const outcome of compareRanges(tally.sources, walker, sizes)) {
    tally.addRows(outcome.rows);
    for (const key of outcome.suspects) unsettled.add(key);
    onUnsettled(unsettled.size);
    if (unsettled.isFull || (unsettled.size > 0 && performance.now() >= lookAtMs)) await look();
    while (unsettled.isFull && !tally.isHopeless) await waitAndLook(unsettled, look);
    if (tally.isHopeless) break;
  }
  while (unsettled.size > 0 && !tally.isHopeless) {
    await waitAndLook(unsettled, look);
    onUnsettled(unsettled.size);
  }
}

async function waitAndLook(unsettled: UnsettledRows, look: () => Promise<void>): Promise<void> {
  await delay(unsettled.lookEveryMs);
  await look();
}

function notCompared(table: string, problem: NonNullable<TableReport['problem']>): TableReport {
  const nothing = { rows: {}, settled: 0, differing: 0, differences: [], in_flight: [] };
  return { table, status: 'not-compared', ...nothing, keys_spelled_differently: 0, parked: nothing, problem };
}
