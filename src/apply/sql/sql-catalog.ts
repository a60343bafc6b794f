/**
 * Tables as the target's catalog has them: what a statement on one needs to know.
 *
 * The key is the primary key, else the index that is the table's replica identity. A table without one, with a
 * constraint whose check is deferrable (it never fires in replica role: silent duplicates), with one that a partition has by
 * itself (what rows claim by it is unknown), or with a key whose equality has no canonical text is refused here, so that no row
 * of it is ever written by guess.
 *
 * A definition can change at any moment before a statement has taken its lock on the table, and statements are made for
 * the definition that was read. `DEFINITION_SQL` tells, asked behind the first statement of a transaction and therefore
 * under that lock, whether it is still the same: a stale cast would write a wrong value without any error.
 */
import { type KeyBaseType, keyNature } from '../../change/key-nature.ts';
import { fail } from '../../platform/errors.ts';
import { partitionConstraintsSql } from '../../platform/partition-constraints.ts';
import { type PostgresClient, quoteIdent } from '../../platform/postgres.ts';
import { type CatalogClaim, CLAIMING_INDEXES_SQL, CLAIMS_SQL, toClaim } from './sql-claims.ts';
import type { SqlKeyColumn, SqlTableShape } from './sql-table-shape.ts';

type CatalogColumn = {
  readonly name: string;
  readonly type: string;
  readonly unnests: boolean;
  readonly identity: string;
  readonly generated: string;
  readonly expression: string | null;
};
type CatalogKey = {
  readonly name: string;
  readonly operator: string;
  readonly operator_schema: string;
  readonly type: KeyBaseType;
};
type CatalogTable = {
  readonly oid: string;
  readonly kind: string;
  readonly deferrable: string | null;
  /** A constraint that one of its partitions has by itself. */
  readonly of_partition: string | null;
  readonly key_index: string | null;
  readonly key_excludes: boolean | null;
  readonly columns: readonly CatalogColumn[];
  readonly key: readonly CatalogKey[] | null;
  readonly claims: readonly CatalogClaim[] | null;
  readonly definition: string;
};

/** The columns, types, key and claiming indexes of a table by its oid ($1) and its key index ($2), as one text. */
export const DEFINITION_SQL = `
select concat(
  (select string_agg(concat_ws(' ', attnum, attname, atttypid, attidentity, attgenerated), ',' order by attnum)
     from pg_attribute where attrelid = $1::oid and attnum > 0 and not attisdropped),
  ' key ', (select indkey from pg_index where indexrelid = $2::oid and indisvalid and indimmediate),
  ' claims ', (${CLAIMING_INDEXES_SQL}))`;

/**
 * The same for a partitioned table, with what would let duplicates into a partition silently. Partitions are not walked for each batch:
 * a partition of any table that gets such a constraint has shapes read anew. Another constraint that a partition alone has tells of
 * itself, by the first row that it refuses; all that came before was let in by it.
 */
export const PARTITIONED_DEFINITION_SQL = `
select concat((${DEFINITION_SQL}), ' deferrable ', (
  select string_agg(x.indexrelid::text, ' ' order by x.indexrelid)
    from pg_index x join pg_class c on c.oid = x.indrelid
   where not x.indimmediate and x.indislive and c.relispartition))`;

/** That of the table `tab` with the key index `idx`. */
const ofTab = (sql: string): string => sql.replaceAll('$1', 'tab.oid').replace('$2', '(select indexrelid from idx)');

const TABLE_SQL = `
with recursive tab as (
  select c.oid, c.relkind
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
   where n.nspname = $1 and c.relname = $2 and c.relkind in ('r', 'p') and c.relpersistence <> 't'
), idx as (
  select i.* from pg_index i join tab on tab.oid = i.indrelid
   where i.indisvalid and (i.indisprimary or i.indisreplident)
   order by i.indisprimary desc limit 1
), part as (
  select place, idx.indkey[place - 1] as attnum, idx.indclass[place - 1] as opclass,
         idx.indcollation[place - 1] as collation_oid
    from idx, generate_series(1, idx.indnkeyatts) as place
), base(place, typ) as (
  select p.place, a.atttypid from part p join tab on true join pg_attribute a on a.attrelid = tab.oid and a.attnum = p.attnum
  union all
  select b.place, t.typbasetype from base b join pg_type t on t.oid = b.typ where t.typtype = 'd'
)
select json_build_object(
  'oid', tab.oid::text,
  'kind', tab.relkind,
  'deferrable', (select min(conname) from pg_constraint
                  where conrelid = tab.oid and condeferrable and contype in ('p', 'u', 'x')),
  'of_partition', case when tab.relkind = 'p' then (
    select min(concat_ws(' of ', name, partition_oid::regclass)) from (${partitionConstraintsSql('tab.oid')}) as own) end,
  'key_index', (select indexrelid::text from idx),
  'key_excludes', (select indisexclusion from idx),
  'columns', (select json_agg(json_build_object(
      'name', a.attname,
      'type', format_type(a.atttypid, -1),
      'unnests', t.typtype in ('b', 'e', 'r', 'm') and t.typarray <> 0 and t.typdelim = ',',
      'identity', a.attidentity,
      'generated', a.attgenerated,
      'expression', (select pg_get_expr(d.adbin, d.adrelid, true) from pg_attrdef d
                      where a.attgenerated = 's' and d.adrelid = a.attrelid and d.adnum = a.attnum)) order by a.attnum)
    from pg_attribute a join pg_type t on t.oid = a.atttypid
   where a.attrelid = tab.oid and a.attnum > 0 and not a.attisdropped),
  'key', (select json_agg(json_build_object(
      'name', a.attname,
      'operator', o.oprname,
      'operator_schema', o.oprnamespace::regnamespace::text,
      'type', json_build_object(
        'schema', t.typnamespace::regnamespace::text,
        'name', t.typname,
        'kind', t.typtype,
        'extension', (select e.extname from pg_depend d join pg_extension e on e.oid = d.refobjid
                       where d.classid = 'pg_type'::regclass and d.objid = t.oid
                         and d.refclassid = 'pg_extension'::regclass and d.deptype = 'e'),
        'isDeterministic', coalesce((select l.collisdeterministic from pg_collation l where l.oid = p.collation_oid), true)))
      order by p.place)
    from part p
    join pg_attribute a on a.attrelid = tab.oid and a.attnum = p.attnum
    join base b on b.place = p.place
    join pg_type t on t.oid = b.typ and t.typtype <> 'd'
    join pg_opclass c on c.oid = p.opclass
    left join pg_amop m on m.amopfamily = c.opcfamily and m.amoplefttype = c.opcintype
                       and m.amoprighttype = c.opcintype and m.amopstrategy = 3
    left join pg_operator o on o.oid = m.amopopr),
  'claims', (${CLAIMS_SQL}),
  'definition', case when tab.relkind = 'p' then (${ofTab(PARTITIONED_DEFINITION_SQL)}) else (${ofTab(DEFINITION_SQL)}) end
)
from tab`;

/** Reads a table's shape; null where there is no such table. Throws SYN-P012, P013, P017 and P058. */
export async function loadShape(client: PostgresClient, schema: string, table: string): Promise<SqlTableShape | null> {
  const { rows } = await client.queryArrays(TABLE_SQL, [schema, table]);
  const text = rows[0]?.[0];
  return typeof text === 'string' ? toShape(schema, table, JSON.parse(text) as CatalogTable) : null;
}

function toShape(schema: string, table: string, found: CatalogTable): SqlTableShape {
  const id = `${quoteIdent(schema)}.${quoteIdent(table)}`;
  const context = { schema, table };
  if (found.key === null || found.key_index === null) throw fail('SYN-P012', id, { context });
  if (found.deferrable !== null) throw fail('SYN-P013', `${id}: ${found.deferrable}`, { context });
  if (found.of_partition !== null) throw fail('SYN-P058', `${id}: ${found.of_partition}`, { context });
  const keyColumns = found.key.map(({ name, operator, operator_schema, type }): SqlKeyColumn => {
    const nature = found.key_excludes === true || operator === null ? null : keyNature(type);
    if (nature === null) throw fail('SYN-P017', `${id}: ${name} has type ${type.schema}.${type.name}`, { context });
    return { name, equals: `operator(${operator_schema}.${operator})`, nature };
  });
  const claims = (found.claims ?? []).flatMap((claim) => toClaim(claim) ?? []);
  const writable = found.columns.filter((column) => column.generated === '');
  return {
    id,
    schema,
    table,
    key: keyColumns.map((column) => column.name),
    columns: writable.map((column) => column.name),
    keyNeedsDatabase: keyColumns.some((column) => column.nature !== 'text'),
    hasClaims: claims.length > 0,
    claims,
    generatedColumns: found.columns.flatMap(({ name, type, expression }) =>
      expression === null ? [] : [{ name, type, expression }],
    ),
    oid: found.oid,
    keyIndex: found.key_index,
    isPartitioned: found.kind === 'p',
    columnOf: new Map(
      writable.map(({ name, type, unnests, identity }) => [
        name,
        { name, type, unnests, isIdentityAlways: identity === 'a' },
      ]),
    ),
    keyColumns,
    generated: new Set(found.columns.filter((column) => column.generated !== '').map((column) => column.name)),
    definition: found.definition,
  };
}
