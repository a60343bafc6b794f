/**
 * Orphans: rows whose foreign key names a parent that is not there.
 *
 * A server checks foreign keys where a statement of a user runs, and apply is none: a parent deleted in one region while
 * a child is inserted in another leaves an orphan in all of them. Each constraint is checked by one statement over the
 * whole table, with the constraint's own operators and its own meaning of NULL. A child may arrive before its parent, so
 * an orphan counts only if it is still one at the next look. A look lists no more than the first ones by key; where the list
 * was cut and none of it lasts, those behind it are unknown, and it is looked again.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { type ForeignKey, namesNoRow, ofChild, readForeignKeys } from '../platform/foreign-keys.ts';
import { connect, type PostgresClient, quoteIdent } from '../platform/postgres.ts';
import { isTableIncluded, type TableFilter } from '../platform/table-filter.ts';
import type { VerifiedRegion } from './verify-regions.ts';

export type Orphan = { readonly key: Readonly<Record<string, string | null>>; readonly foreign_key: readonly string[] };

export type ConstraintReport = {
  readonly region: string;
  readonly table: string;
  readonly constraint: string;
  readonly parent: string;
  readonly orphans: readonly Orphan[];
  /** More than are listed. */
  readonly more: boolean;
};

export type OrphanReport = {
  /** How many constraints were looked at, in all regions. */
  readonly constraints: number;
  /** Those that have orphans. */
  readonly broken: readonly ConstraintReport[];
};

/** Orphans of one constraint that are listed. */
const ORPHANS_MAX = 1_000;
/** What the last look finds is told as it is, where every list before was cut and mended since. */
const LOOKS_MAX = 5;
const STATEMENT_TIMEOUT_MS = 3_600_000;

/** Looks once, and where that finds any, again, `settleMs` apart; `tables` narrow down what the regions replicate. */
export async function findOrphans(
  regions: readonly VerifiedRegion[],
  settleMs: number,
  tables: readonly string[] = ['*'],
): Promise<OrphanReport> {
  const wanted: TableFilter = { include: [...tables], exclude: [] };
  const reports = await Promise.all(regions.map(async (region) => await orphansIn(region, settleMs, wanted)));
  return {
    constraints: reports.reduce((sum, { constraints }) => sum + constraints, 0),
    broken: reports.flatMap(({ broken }) => broken),
  };
}

export function renderOrphans({ constraints, broken }: OrphanReport): string {
  const lines = broken.flatMap(({ region, table, constraint, parent, orphans, more }) => [
    `${region}: ${table} (${constraint}): ${more ? 'more than ' : ''}${orphans.length} without a row of ${parent}`,
    ...orphans.map(({ key, foreign_key }) => `  ${told(key)} names ${foreign_key.join(', ')}`),
  ]);
  if (broken.length === 0) lines.push(`no orphans; ${constraints} foreign keys were checked`);
  return `${lines.join('\n')}\n`;
}

async function orphansIn(
  { region, url, tables }: VerifiedRegion,
  settleMs: number,
  wanted: TableFilter,
): Promise<OrphanReport> {
  await using client = await connect(url, {
    applicationName: 'syncline verify',
    statementTimeoutMs: STATEMENT_TIMEOUT_MS,
  });
  const keys = (await readForeignKeys(client)).filter(({ schema, table }) =>
    [tables, wanted].every((filter) => isTableIncluded(filter, schema, table)),
  );
  const broken: ConstraintReport[] = [];
  let suspected: { readonly key: ForeignKey; readonly orphans: readonly Orphan[] }[] = [];
  for (const key of keys) {
    const orphans = await orphansOf(client, key);
    if (orphans.length > 0) suspected.push({ key, orphans });
  }
  for (let look = 2; suspected.length > 0; look += 1) {
    await delay(settleMs);
    const undecided: typeof suspected = [];
    for (const { key, orphans: before } of suspected) {
      const now = await orphansOf(client, key);
      const isCut = before.length > ORPHANS_MAX || now.length > ORPHANS_MAX;
      const lasting = bothOf(before, now);
      const orphans = isCut && lasting.length === 0 && look === LOOKS_MAX ? now : lasting;
      if (orphans.length > 0) broken.push(reportOf(region, key, orphans, isCut));
      else if (isCut && now.length > 0) undecided.push({ key, orphans: now });
    }
    suspected = undecided;
  }
  return { constraints: keys.length, broken };
}

function bothOf(before: readonly Orphan[], now: readonly Orphan[]): readonly Orphan[] {
  const still = new Set(now.map((orphan) => JSON.stringify(orphan)));
  return before.filter((orphan) => still.has(JSON.stringify(orphan)));
}

function reportOf(region: string, key: ForeignKey, orphans: readonly Orphan[], isCut: boolean): ConstraintReport {
  return {
    region,
    table: `${key.schema}.${key.table}`,
    constraint: key.name,
    parent: `${key.parentSchema}.${key.parentTable}`,
    orphans: orphans.slice(0, ORPHANS_MAX),
    more: isCut,
  };
}

async function orphansOf(client: PostgresClient, foreignKey: ForeignKey): Promise<Orphan[]> {
  const { schema, table, columns, key } = foreignKey;
  const texts = (names: readonly string[]): string[] => names.map((name) => `${ofChild(name)}::text`);
  const order = key.length === 0 ? 'c.ctid' : key.map(ofChild).join(', ');
  const { rows } = await client.queryArrays(
    `select ${[...texts(key), ...texts(columns.map((column) => column.child))].join(', ')}
       from ${quoteIdent(schema)}.${quoteIdent(table)} c
      where ${namesNoRow(foreignKey)}
      order by ${order} limit ${ORPHANS_MAX + 1}`,
  );
  return rows.map((row) => ({
    key: Object.fromEntries(key.map((name, place) => [name, row[place] ?? null])),
    foreign_key: row.slice(key.length).map((value) => value ?? 'NULL'),
  }));
}

function told(key: Orphan['key']): string {
  const values = Object.entries(key).map(([column, value]) => `${column}=${value ?? 'NULL'}`);
  return values.join(', ') || 'a row without a key';
}
