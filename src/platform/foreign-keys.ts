/**
 * The foreign keys of a database, and which rows break them: what a server checks where a statement of a user runs, and
 * nowhere else.
 *
 * A row is asked about with the constraint's own operators and its own meaning of NULL.
 */
import { type PostgresClient, quoteIdent } from './postgres.ts';

export type ForeignKey = {
  readonly schema: string;
  readonly table: string;
  readonly name: string;
  readonly parentSchema: string;
  readonly parentTable: string;
  /** MATCH FULL: a key that is NULL in part refers to nothing, and is wrong. */
  readonly isFull: boolean;
  readonly columns: readonly ForeignKeyColumn[];
  /** The primary key of the child. */
  readonly key: readonly string[];
};

export type ForeignKeyColumn = {
  readonly child: string;
  readonly parent: string;
  /** The type of the parent's column, without a modifier. */
  readonly type: string;
  /** Compares a parent's value, on the left, with a child's. */
  readonly operator: string;
};

// Constraints of partitions that come from their root are checked with it. What newer servers keep of periods and of
// constraints that nobody enforces is asked by name, since older ones have no such column.
const FOREIGN_KEYS = `
select n.nspname as schema, c.relname as "table", f.conname as name, pn.nspname as parent_schema, p.relname as parent_table,
  (f.confmatchtype = 'f')::int::text as is_full,
  (select json_agg(json_build_object('child', ca.attname, 'parent', pa.attname, 'type', format_type(pa.atttypid, -1),
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

export async function readForeignKeys(client: PostgresClient): Promise<ForeignKey[]> {
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

/** Whether the row `c` of the child's table refers to a row, and there is none. */
export function namesNoRow({ columns, isFull, parentSchema, parentTable }: ForeignKey): string {
  const refers = columns.map(({ child }) => `${ofChild(child)} is not null`).join(isFull ? ' or ' : ' and ');
  const matches = columns.map((column) => isNamed(`p.${quoteIdent(column.parent)}`, column)).join(' and ');
  return `(${refers}) and not exists (
        select from ${quoteIdent(parentSchema)}.${quoteIdent(parentTable)} p where ${matches})`;
}

/** Whether the row `c` names that value of a parent. */
export function isNamed(value: string, { child, operator }: ForeignKeyColumn): string {
  return `${value} operator(${operator}) ${ofChild(child)}`;
}

export function ofChild(column: string): string {
  return `c.${quoteIdent(column)}`;
}
