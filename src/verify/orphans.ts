/**
 * Orphans: rows whose foreign key names a parent that is not there.
 *
 * A server checks foreign keys where a statement of a user runs, and apply is none: a parent deleted in one region while
 * a child is inserted in another leaves an orphan in all of them. Each constraint is checked by one statement over the
 * whole table, with the constraint's own operators and its own meaning of NULL. A child may arrive before its parent, so
 * an orphan counts only if it is still one at a second look.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { connect, type PostgresClient, quoteIdent } from '../platform/postgres.ts';
import { isTableIncluded } from '../platform/table-filter.ts';
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
const STATEMENT_TIMEOUT_MS = 3_600_000;

type ForeignKey = {
  readonly schema: string;
  readonly table: string;
  readonly name: string;
  readonly parentSchema: string;
  readonly parentTable: string;
  /** MATCH FULL: a key that is NULL in part refers to nothing, and is wrong. */
  readonly isFull: boolean;
  readonly columns: readonly { readonly child: string; readonly parent: string; readonly operator: string }[];
  /** The primary key of the child. */
  readonly key: readonly string[];
};

// Constraints of partitions that come from their root are checked with it. What newer servers keep of periods and of
// constraints that nobody enforces is asked by name, since older ones have no such column.
const FOREIGN_KEYS = `
select n.nspname as schema, c.relname as "table", f.conname as name, pn.nspname as parent_schema, p.relname as parent_table,
  (f.confmatchtype = 'f')::int::text as is_full,
  (select json_agg(json_build_object('child', ca.attname, 'parent', pa.attname,
       'operator', quote_ident(opn.nspname) || '.' || op.oprname) order by k.place)
     from unnest(f.conkey, f.confkey, f.conpfeqop) with ordinality as k(child, parent, operator, place)
     join pg_attribute ca on ca.attrelid = f.conrelid and ca.attnum = k.child
     join pg_attribute pa on pa.attrelid = f.confrelid and pa.attnum = k.parent
     join pg_operator op on op.oid = k.operator
     join pg_namespace opn on opn.oid = op.oprnamespace)::text as columns,
  (select coalesce(json_agg(a.attname order by k.place), '[]')
     from pg_index i cross join unnest(i.indkey::int2[]) with ordinality as k(attnum, place)
     join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
     where i.indrelid = c.oid and i.indisprimary and k.place <= i.indnkeyatts)::text as key
from pg_constraint f
join pg_class c on c.oid = f.conrelid join pg_namespace n on n.oid = c.relnamespace
join pg_class p on p.oid = f.confrelid join pg_namespace pn on pn.oid = p.relnamespace
where f.contype = 'f' and f.conparentid = 0
  and not coalesce((to_jsonb(f) ->> 'conperiod')::boolean, false)
  and coalesce((to_jsonb(f) ->> 'conenforced')::boolean, true)
order by 1, 2, 3`;

/** Looks twice, `settleMs` apart where the first look finds any. */
export async function findOrphans(regions: readonly VerifiedRegion[], settleMs: number): Promise<OrphanReport> {
  const reports = await Promise.all(regions.map(async (region) => await orphansIn(region, settleMs)));
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

async function orphansIn({ region, url, tables }: VerifiedRegion, settleMs: number): Promise<OrphanReport> {
  await using client = await connect(url, {
    applicationName: 'syncline verify',
    statementTimeoutMs: STATEMENT_TIMEOUT_MS,
  });
  const keys = (await readForeignKeys(client)).filter(({ schema, table }) => isTableIncluded(tables, schema, table));
  const broken: ConstraintReport[] = [];
  const suspected: { readonly key: ForeignKey; readonly orphans: readonly Orphan[] }[] = [];
  for (const key of keys) {
    const orphans = await orphansOf(client, key);
    if (orphans.length > 0) suspected.push({ key, orphans });
  }
  if (suspected.length > 0) await delay(settleMs);
  for (const { key, orphans } of suspected) {
    const still = new Set((await orphansOf(client, key)).map((orphan) => JSON.stringify(orphan)));
    const lasting = orphans.filter((orphan) => still.has(JSON.stringify(orphan)));
    if (lasting.length === 0) continue;
    broken.push({
      region,
      table: `${key.schema}.${key.table}`,
      constraint: key.name,
      parent: `${key.parentSchema}.${key.parentTable}`,
      orphans: lasting.slice(0, ORPHANS_MAX),
      more: lasting.length > ORPHANS_MAX,
    });
  }
  return { constraints: keys.length, broken };
}

async function readForeignKeys(client: PostgresClient): Promise<ForeignKey[]> {
  const { rows } = await client.query(FOREIGN_KEYS);
  return rows.map((row) => ({
    schema: row.schema ?? '',
    table: row.table ?? '',
    name: row.name ?? '',
    parentSchema: row.parent_schema ?? '',
    parentTable: row.parent_table ?? '',
    isFull: row.is_full === '1',
    columns: JSON.parse(row.columns ?? '[]') as ForeignKey['columns'],
    key: JSON.parse(row.key ?? '[]') as string[],
  }));
}

async function orphansOf(client: PostgresClient, foreignKey: ForeignKey): Promise<Orphan[]> {
  const { schema, table, parentSchema, parentTable, columns, key, isFull } = foreignKey;
  const child = (column: string): string => `c.${quoteIdent(column)}`;
  const refers = columns.map((column) => `${child(column.child)} is not null`).join(isFull ? ' or ' : ' and ');
  const matches = columns
    .map(({ child: of, parent, operator }) => `p.${quoteIdent(parent)} operator(${operator}) ${child(of)}`)
    .join(' and ');
  const texts = (names: readonly string[]): string[] => names.map((name) => `${child(name)}::text`);
  const order = key.length === 0 ? 'c.ctid' : key.map(child).join(', ');
  const { rows } = await client.queryArrays(
    `select ${[...texts(key), ...texts(columns.map((column) => column.child))].join(', ')}
       from ${quoteIdent(schema)}.${quoteIdent(table)} c
      where (${refers}) and not exists (
        select from ${quoteIdent(parentSchema)}.${quoteIdent(parentTable)} p where ${matches})
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
