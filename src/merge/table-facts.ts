/**
 * What the catalog says of a table, as far as a merge rule depends on it.
 *
 * Types are those below all domains. What a value must hold to (a length, NOT NULL, CHECKs, those of domains too) is told in
 * PostgreSQL's own text, to be kept with a version: a row that a merge makes has to be one that the table takes.
 */
import { partitionsSql } from '../platform/partitions.ts';
import type { Queryable } from '../platform/standing-connection.ts';
import type { ColumnType } from '../resolve/merge-rule.ts';

export type TableColumn = {
  readonly name: string;
  /** With its modifiers, such as `character varying(20)`; of a domain, its name. */
  readonly type: string;
  readonly base: ColumnType;
  /** Neither a domain nor with modifiers: it takes every value of its type. */
  readonly is_plain: boolean;
  readonly not_null: boolean;
  readonly is_generated: boolean;
};

export type CheckRule = {
  readonly name: string;
  readonly definition: string;
  /** What it asks of a row; null where it belongs to a domain, whose values are asked when they are read. */
  readonly expression: string | null;
};

export type TableFacts = {
  readonly is_partition: boolean;
  readonly columns: readonly TableColumn[];
  /** The primary key's, in its order; empty where there is none. */
  readonly key: readonly string[];
  /** Names of indexes, besides the primary key, by which two rows can exclude each other. */
  readonly claims: readonly string[];
  readonly checks: readonly CheckRule[];
};

const SQL = `
select json_build_object(
  'is_partition', c.relispartition,
  'columns', (select coalesce(json_agg(json_build_object(
      'name', a.attname,
      'type', format_type(a.atttypid, a.atttypmod),
      'base', json_build_object('schema', t.typnamespace::regnamespace::text, 'name', t.typname, 'category', t.typcategory),
      'is_plain', t.oid = a.atttypid and a.atttypmod = -1,
      'not_null', a.attnotnull or exists (
         with recursive d (typ) as (
           select a.atttypid union all select u.typbasetype from d join pg_type u on u.oid = d.typ where u.typtype = 'd'
         ) select from d join pg_type u on u.oid = d.typ where u.typnotnull),
      'is_generated', a.attgenerated <> '') order by a.attnum), '[]')
    from pg_attribute a
    cross join lateral (
      with recursive d (typ) as (
        select a.atttypid union all select u.typbasetype from d join pg_type u on u.oid = d.typ where u.typtype = 'd'
      ) select u.* from d join pg_type u on u.oid = d.typ where u.typtype <> 'd') as t
   where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped),
  'key', (select coalesce(json_agg(a.attname order by k.place), '[]')
    from pg_index i cross join unnest(i.indkey::int2[]) with ordinality as k (attnum, place)
    join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
   where i.indrelid = c.oid and i.indisprimary and k.place <= i.indnkeyatts),
  'claims', (select coalesce(json_agg(distinct x.relname), '[]')
    from pg_index i join pg_class x on x.oid = i.indexrelid
   where (i.indisunique or i.indisexclusion) and not i.indisprimary
     and i.indrelid in (${partitionsSql('c.oid')})),
  'checks', (select coalesce(json_agg(json_build_object('name', conname, 'definition', pg_get_constraintdef(oid),
      'expression', case when conrelid <> 0 then pg_get_expr(conbin, conrelid) end) order by conname), '[]')
    from pg_constraint where contype = 'c' and (conrelid = c.oid or contypid in (
      with recursive d (typ) as (
        select atttypid from pg_attribute where attrelid = c.oid and attnum > 0 and not attisdropped
        union select u.typbasetype from d join pg_type u on u.oid = d.typ where u.typtype = 'd'
      ) select typ from d)))) as facts
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where n.nspname = $1 and c.relname = $2 and c.relkind in ('r', 'p') and c.relpersistence = 'p'`;

/** Null where there is no such table. */
export async function readTableFacts(database: Queryable, schema: string, table: string): Promise<TableFacts | null> {
  const { rows } = await database.query(SQL, [schema, table]);
  return rows[0]?.facts == null ? null : (JSON.parse(rows[0].facts) as TableFacts);
}
