/**
 * Tables as the catalog has them now: what capture has to know of them before it publishes their rows.
 *
 * The key is the primary key, else the index that is the table's replica identity. It is exact where equal values
 * always have equal text: then rows can be told apart without the database.
 *
 * A table stands for its partitions, which publish through it. `leaves` are the tables that hold the rows: the table
 * itself, or the partitions below it.
 */
import { type KeyBaseType, type KeyNature, keyNature } from '../../change/key-nature.ts';
import { REGISTRY_SCHEMA, REGISTRY_TABLES } from '../../change/merge-registry.ts';
import { partitionConstraintsSql } from '../../platform/partition-constraints.ts';
import { partitionsSql } from '../../platform/partitions.ts';
import type { PostgresClient } from '../../platform/postgres.ts';

export type Leaf = {
  readonly schema: string;
  readonly table: string;
  /** pg_class.relkind; `f` is a foreign table. */
  readonly kind: string;
  /** pg_class.relpersistence: permanent, unlogged or temporary. */
  readonly persistence: 'p' | 'u' | 't';
  /** pg_class.relreplident. */
  readonly identity: 'd' | 'n' | 'f' | 'i';
};

export type KeyColumn = {
  readonly name: string;
  /** The base type's name, for messages. */
  readonly type: string;
  /** Null for a type whose values have no canonical text. */
  readonly nature: KeyNature | null;
  readonly isGenerated: boolean;
};

export type CatalogTable = Leaf & {
  readonly oid: number;
  /** The tables that it is a partition of, the nearest first. */
  readonly ancestors: readonly { readonly schema: string; readonly table: string }[];
  /** In index order; null where it has neither a primary key nor a replica identity index. */
  readonly key: readonly KeyColumn[] | null;
  readonly hasPrimaryKey: boolean;
  /** A constraint whose check can be deferred. */
  readonly deferrable: string | null;
  /** A constraint that one of its partitions has by itself. */
  readonly ofPartition: { readonly partition: string; readonly name: string } | null;
  /** A generated column that is not stored. */
  readonly virtual: string | null;
  /** All tables below it, itself included, that are no indexes. */
  readonly leaves: readonly Leaf[];
};

type RawKeyColumn = { name: string; type: KeyBaseType; isGenerated: boolean };
type RawTable = Omit<CatalogTable, 'oid' | 'key' | 'leaves' | 'ancestors'> & {
  oid: string;
  key: RawKeyColumn[] | null;
  leaves: Leaf[] | null;
  ancestors: CatalogTable['ancestors'] | null;
};

const leafSql = (alias: string): string => `
  'schema', (select nspname from pg_namespace where oid = ${alias}.relnamespace),
  'table', ${alias}.relname, 'kind', ${alias}.relkind,
  'persistence', ${alias}.relpersistence, 'identity', ${alias}.relreplident`;

const REGISTRY = REGISTRY_TABLES.map(({ table }) => `'${table}'`).join(', ');

/** Every table of users that is not of a session alone, and those of the registry; or the one with the oid $1. */
const SQL = `
select json_build_object(
  'oid', c.oid::text, ${leafSql('c')},
  'ancestors', case when c.relispartition then (
    select json_agg(json_build_object('schema', n.nspname, 'table', a.relname) order by t.place)
      from pg_partition_ancestors(c.oid) with ordinality as t (oid, place)
      join pg_class a on a.oid = t.oid join pg_namespace n on n.oid = a.relnamespace
     where a.oid <> c.oid) end,
  'hasPrimaryKey', coalesce(i.indisprimary, false),
  'deferrable', (select min(conname) from pg_constraint
                  where conrelid = c.oid and condeferrable and contype in ('p', 'u', 'x')),
  'ofPartition', case when c.relkind = 'p' then (
    select json_build_object('partition', partition_oid::regclass::text, 'name', name)
      from (${partitionConstraintsSql('c.oid')}) as own order by partition_oid, index_oid limit 1) end,
  'virtual', (select min(attname) from pg_attribute where attrelid = c.oid and attgenerated = 'v' and not attisdropped),
  'key', (select json_agg(json_build_object(
      'name', a.attname,
      'isGenerated', a.attgenerated <> '',
      'type', json_build_object(
        'schema', t.typnamespace::regnamespace::text, 'name', t.typname, 'kind', t.typtype,
        'extension', (select e.extname from pg_depend d join pg_extension e on e.oid = d.refobjid
                       where d.classid = 'pg_type'::regclass and d.objid = t.oid
                         and d.refclassid = 'pg_extension'::regclass and d.deptype = 'e'),
        'isDeterministic', coalesce((select l.collisdeterministic from pg_collation l
                                      where l.oid = i.indcollation[place - 1]), true))) order by place)
    from generate_series(1, i.indnkeyatts) as place
    join pg_attribute a on a.attrelid = c.oid and a.attnum = i.indkey[place - 1]
    cross join lateral (
      with recursive base (typ) as (
        select a.atttypid union all
        select b.typbasetype from base join pg_type b on b.oid = base.typ where b.typtype = 'd'
      ) select t.* from base join pg_type t on t.oid = base.typ where t.typtype <> 'd') as t),
  'leaves', case when c.relkind = 'p' then (
    select json_agg(json_build_object(${leafSql('l')}) order by l.oid)
      from pg_class l where l.oid in (${partitionsSql('c.oid')})) end
)
  from pg_class c
  left join lateral (
    select * from pg_index i
     where i.indrelid = c.oid and i.indisvalid and (i.indisprimary or i.indisreplident)
     order by i.indisprimary desc limit 1) i on true
 where c.relkind in ('r', 'p', 'f') and c.relpersistence <> 't' and c.oid >= 16384
   and c.relnamespace <> 'information_schema'::regnamespace
   and (c.relnamespace is distinct from to_regnamespace('${REGISTRY_SCHEMA}') or c.relname in (${REGISTRY}))`;

export async function readTables(client: PostgresClient): Promise<CatalogTable[]> {
  const { rows } = await client.queryArrays(`${SQL} order by c.oid`);
  return rows.map(([text]) => toTable(text ?? ''));
}

/** The table with that oid; null where there is none any more. */
export async function readTable(client: PostgresClient, oid: number): Promise<CatalogTable | null> {
  const { rows } = await client.queryArrays(`${SQL} and c.oid = $1::oid`, [String(oid)], { prepare: true });
  const text = rows[0]?.[0];
  return typeof text === 'string' ? toTable(text) : null;
}

function toTable(text: string): CatalogTable {
  const raw = JSON.parse(text) as RawTable;
  const { schema, table, kind, persistence, identity } = raw;
  const key = raw.key?.map(({ name, type, isGenerated }) => ({
    name,
    type: `${type.schema}.${type.name}`,
    nature: keyNature(type),
    isGenerated,
  }));
  return {
    ...raw,
    oid: Number(raw.oid),
    key: key ?? null,
    ancestors: raw.ancestors ?? [],
    leaves: raw.leaves ?? [{ schema, table, kind, persistence, identity }],
  };
}
