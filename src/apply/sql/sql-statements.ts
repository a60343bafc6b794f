/**
 * The statements that apply runs on a user's table, as pure functions of its shape.
 *
 * The central one is `upsert`: one statement that updates the rows whose tuple the guard admits and inserts those that
 * are absent. Under READ COMMITTED, PostgreSQL evaluates the condition of an UPDATE again on the newest tuple, under its
 * lock, so it is race-free against the foreground; and the tuple's xmin leads to who wrote it and when
 * (`pg_xact_commit_timestamp_origin`) without a column of ours. INSERT … ON CONFLICT DO UPDATE looks simpler, but locks
 * a row as if its key changed wherever a column of any unique index is set, even to the same value: foreign keys' checks
 * and the lane would wait for each other all day. (And on a partitioned parent it cannot read xmin at all.)
 *
 * A statement tells by itself which rows it left: a second question would be answered after whatever was sent in
 * between. That is computed only where the counts differ.
 *
 * A guard comes as three parameters: $1, a timestamp that no rule is below (null where one is `never`); $2, the
 * writers it knows, the first standing for local writes, and $3, the highest stamp each admits. A tuple
 * without a stamp is below everything; one of this very transaction is always admitted. A writer is a replication origin; where the
 * lane has none, it signs its transactions instead, and `syncline.author` tells (`TupleFacts`).
 *
 * Rows come as one array per column. Columns whose type cannot be unnested as itself (arrays, composites, domains) come
 * as text and are cast one by one.
 *
 * Plans are made once, so they must suit a table of any size. Key equality is written `t.k = any (array[i.k])`: the same
 * operator on the same index, but no clause to hash or merge by, and nothing that makes a walk along an index look
 * useful. What is left, as the session switches sequential scans off, is one lookup per row, in the order of the rows;
 * locks are taken in that order too. (With a plain `=`, a table that was empty when its plan was made would later be read
 * from end to end, once per batch.)
 */
import { invariant } from '../../platform/assert.ts';
import { quoteIdent, quoteLiteral } from '../../platform/postgres.ts';
import { canonicalSql } from './sql-key-types.ts';
import type { SqlColumn, SqlTableShape } from './sql-table-shape.ts';
import { admitted, FACTS_OF_ORIGINS, IS_OWN, NO_ORIGIN, type TupleFacts } from './sql-tuple-facts.ts';

/** A row source `i` of arrays from parameters, beginning at `$first`. */
export type Source = { readonly from: string; readonly value: ReadonlyMap<string, string> };

/**
 * $4 count, $5 keys (one per line), $6 hlcs, $7 origin, then the columns. Returns the places, from 1, of the rows left:
 * held off by a tombstone, not admitted, or appeared while the statement ran. Whether it first updates or first inserts makes
 * no difference but in time: what comes second is spared where the first has done with all rows.
 */
export function upsertSql(
  shape: SqlTableShape,
  names: readonly string[],
  first: 'update' | 'insert',
  facts: TupleFacts = FACTS_OF_ORIGINS,
): string {
  const columns = 8;
  const rows = source(shape, names, columns, ["string_to_array($5::text, e'\\n')", '$6::bigint[]']);
  const keys = source(shape, shape.key, columns, [], names);
  const value = (name: string): string => sourceValue(rows, name);
  const set = assignments(shape, names, value);
  const rel = quoteLiteral(shape.id);
  const free = `not (exists (select from syncline.tombstone d where d.rel = ${rel})
    and exists (select from syncline.tombstone d where d.rel = ${rel}
      and d.key in (i.x1, '') and (d.hlc, d.origin) > (i.x2, $7::text)))`;
  const notUpdated =
    first === 'update' ? '(select count(*) from u) < $4::int and i.n not in (select n from u)\n  and ' : '';
  const notInserted =
    first === 'insert'
      ? `(select count(*) from w) < $4::int and (${keyValues(shape, rows)}) not in (select * from w)\n  and `
      : '';
  // A table in which nothing can be set has no rows to update: they are left to `overwrite`.
  const update =
    set === null
      ? `select 0::bigint as n where false and ($1::timestamptz, $2::${facts.writerType}[], $3::timestamptz[]) is null`
      : `update ${target(shape)} as t set ${set}
  from ${rows.from}
  where ${notInserted}${keyMatch(shape, rows)}
  and ${admitted(facts)}${sameIdentity(shape, names, value)}
  and ${free}
  returning i.n`;
  const insert = `insert into ${shape.id} as t (${names.map(quoteIdent).join(', ')}) overriding system value
  select ${names.map(value).join(', ')} from ${rows.from}
  where ${notUpdated}${free}
  on conflict (${shape.key.map(quoteIdent).join(', ')}) do nothing
  returning ${shape.key.map((name) => `t.${quoteIdent(name)}`).join(', ')}`;
  const [before, behind] =
    first === 'update'
      ? [`u as (\n  ${update}`, `w as (\n  ${insert}`]
      : [`w as (\n  ${insert}`, `u as (\n  ${update}`];
  return `with ${before}
), ${behind}
)
select i.n from ${keys.from}
where (select count(*) from u) + (select count(*) from w) < $4::int
  and i.n not in (select n from u) and (${keyValues(shape, keys)}) not in (select * from w)`;
}

/**
 * $4 count, then the key columns. Returns the places, from 1, of the rows not removed, and whether a tuple is there:
 * looked up anew under a lock, because one that the statement began with may have gone while it waited.
 */
export function removeSql(shape: SqlTableShape, facts: TupleFacts = FACTS_OF_ORIGINS): string {
  const keys = source(shape, shape.key, 5);
  return `with d as (
  delete from ${target(shape)} as t using ${keys.from}
  where ${keyMatch(shape, keys)} and ${admitted(facts)}
  returning i.n
), k as (
  select i.n from (
    select i.* from ${keys.from}
    where (select count(*) from d) < $4::int and i.n not in (select n from d) offset 0
  ) as i join ${target(shape)} as t on ${keyMatch(shape, keys)}
  for key share of t
)
select i.n, i.n in (select n from k) from ${keys.from}
where (select count(*) from d) < $4::int and i.n not in (select n from d)`;
}

/** The guard alone. */
export function removeAllSql(shape: SqlTableShape, facts: TupleFacts = FACTS_OF_ORIGINS): string {
  return `delete from ${target(shape)} as t where ${admitted(facts)}`;
}

/** A tuple that a statement sees is older than the statement's snapshot, so the upper half of its id follows. */
const IS_FROM_BEFORE = `coalesce(pg_visible_in_snapshot(
    (n.newest - ((n.newest - t.xmin::text::bigint) & 4294967295))::text::xid8, $2::pg_snapshot), false)`;

/**
 * $1 is the event's stamp, $2 the snapshot in which the region's stream began (or null). Returns key columns of all rows
 * but local ones above the stamp; those of another tool, and from before the stream, do not count.
 */
export function remainingSql(shape: SqlTableShape, facts: TupleFacts = FACTS_OF_ORIGINS): string {
  const noOrigin = facts.writerType === 'oid' ? NO_ORIGIN : quoteLiteral(NO_ORIGIN);
  return `select ${keyTexts(shape, (name) => `t.${quoteIdent(name)}`)}
from ${target(shape)} as t
  cross join (select pg_snapshot_xmax(pg_current_snapshot())::text::bigint as newest) as n
where not coalesce(${facts.writer} = ${noOrigin} and ${facts.stamp} > $1::timestamptz, false) or ${IS_FROM_BEFORE}`;
}

/** $1 the snapshot in which the region's stream began (or null). Whether a row is from after it, and has no time any more. */
export function hasForgottenSql(shape: SqlTableShape, facts: TupleFacts = FACTS_OF_ORIGINS): string {
  return `select exists (select from ${target(shape)} as t
  cross join (select pg_snapshot_xmax(pg_current_snapshot())::text::bigint as newest) as n
where ${facts.stamp} is null and not ${IS_OWN} and not ${IS_FROM_BEFORE.replaceAll('$2', '$1')})`;
}

/** The key columns. Returns place, xmin, stamp in µs, origin, whether it is this transaction's, then all columns. */
export function inspectSql(shape: SqlTableShape, facts: TupleFacts = FACTS_OF_ORIGINS): string {
  const keys = source(shape, shape.key, 1);
  const columns = shape.columns.map((name) => `t.${quoteIdent(name)}`).join(', ');
  // Another tool may have stamped a tuple with any time, also with one that no number of ours can hold.
  const stamp = `case when ${facts.stamp} between '1970-01-01' and '9999-01-01'
    then (extract(epoch from ${facts.stamp}) * 1000000)::bigint end`;
  return `select i.n, t.xmin, ${stamp}, ${facts.writer}, ${IS_OWN},
  ${columns}
from ${keys.from} join ${target(shape)} as t on ${keyMatch(shape, keys)}
for no key update of t`;
}

/** The key columns, then those of `overwrittenColumns`, as single values. */
export function overwriteSql(shape: SqlTableShape, names: readonly string[]): string {
  const where = keyEquals(shape);
  const place = new Map(overwrittenColumns(shape, names).map((name, index) => [name, shape.key.length + index + 1]));
  const value = (name: string): string => `$${place.get(name)}::${columnOf(shape, name).type}`;
  if (canUpdate(shape, names)) {
    return `update ${target(shape)} as t set ${assignments(shape, names, value)}
where ${where}`;
  }
  // An identity column that is GENERATED ALWAYS takes a value on insert only, so the row is written anew.
  const all = shape.columns.map((name) => (place.has(name) ? value(name) : `d.${quoteIdent(name)}`));
  return `with d as (delete from ${target(shape)} as t where ${where} returning t.*)
insert into ${shape.id} (${shape.columns.map(quoteIdent).join(', ')}) overriding system value
select ${all.join(', ')} from d`;
}

/** Of several rows at once, the columns; null where an UPDATE cannot give them all of these. */
export function overwriteAllSql(shape: SqlTableShape, names: readonly string[]): string | null {
  if (!canUpdate(shape, names)) return null;
  const rows = source(shape, names, 1);
  return `update ${target(shape)} as t set ${assignments(shape, names, (name) => sourceValue(rows, name))}
from ${rows.from}
where ${keyMatch(shape, rows)}`;
}

/** Of the columns of an image, those that overwriting the row needs. */
export function overwrittenColumns(shape: SqlTableShape, names: readonly string[]): readonly string[] {
  return canUpdate(shape, names) ? setColumns(shape, names) : names;
}

/** The given columns as single values. */
export function insertSql(shape: SqlTableShape, names: readonly string[]): string {
  const values = names.map((name, index) => `$${index + 1}::${columnOf(shape, name).type}`);
  return `insert into ${shape.id} (${names.map(quoteIdent).join(', ')}) overriding system value
values (${values.join(', ')})
on conflict (${shape.key.map(quoteIdent).join(', ')}) do nothing`;
}

/** The key columns as single values. */
export function eraseSql(shape: SqlTableShape): string {
  return `delete from ${target(shape)} as t where ${keyEquals(shape)}`;
}

/** The key columns. Returns them in canonical form, in order. */
export function canonicalKeysSql(shape: SqlTableShape): string {
  const keys = source(shape, shape.key, 1);
  const canonical = shape.keyColumns.map(({ name, nature }) => canonicalSql(nature, sourceValue(keys, name)));
  return `select ${canonical.join(', ')} from ${keys.from} order by i.n`;
}

/** Without ONLY a statement on a table would reach into tables that inherit from it; partitions it must reach. */
export function target(shape: SqlTableShape): string {
  return shape.isPartitioned ? shape.id : `only ${shape.id}`;
}

/** `names` of `all`, whose arrays begin at `$first`; `extra` arrays follow as x1, x2 …, and n counts from 1. */
export function source(
  shape: SqlTableShape,
  names: readonly string[],
  first: number,
  extra: readonly string[] = [],
  all: readonly string[] = names,
): Source {
  const columns = names.map((name) => ({ ...columnOf(shape, name), place: all.indexOf(name) }));
  const arrays = columns.map(({ unnests, type, place }) => `$${first + place}::${unnests ? type : 'text'}[]`);
  const aliases = [...columns.map(({ place }) => `c${place + 1}`), ...extra.map((_, place) => `x${place + 1}`), 'n'];
  return {
    from: `unnest(${[...arrays, ...extra].join(', ')}) with ordinality as i(${aliases.join(', ')})`,
    value: new Map(
      columns.map(({ name, unnests, type, place }) => [name, unnests ? `i.c${place + 1}` : `i.c${place + 1}::${type}`]),
    ),
  };
}

export function sourceValue({ value }: Source, name: string): string {
  const sql = value.get(name);
  invariant(sql !== undefined, `the column ${name} is in the source`);
  return sql;
}

function columnOf(shape: SqlTableShape, name: string): SqlColumn {
  const column = shape.columnOf.get(name);
  invariant(column !== undefined, `the column ${name} is in the table`);
  return column;
}

function keyValues(shape: SqlTableShape, rows: Source): string {
  return shape.key.map((name) => sourceValue(rows, name)).join(', ');
}

function keyMatch(shape: SqlTableShape, rows: Source): string {
  return shape.keyColumns
    .map(({ name, equals }) => `t.${quoteIdent(name)} ${equals} any (array[${sourceValue(rows, name)}])`)
    .join(' and ');
}

function keyEquals(shape: SqlTableShape): string {
  return shape.keyColumns
    .map(({ name, equals }, index) => `t.${quoteIdent(name)} ${equals} $${index + 1}::${columnOf(shape, name).type}`)
    .join(' and ');
}

/** Key columns as they are, then those in canonical form whose text alone does not tell. */
export function keyTexts(shape: SqlTableShape, value: (name: string) => string): string {
  const canonical = shape.keyNeedsDatabase
    ? shape.keyColumns.map(({ name, nature }) => canonicalSql(nature, value(name)))
    : [];
  return [...shape.key.map(value), ...canonical].join(', ');
}

/** Identity columns outside of the key, of those given, that take no value in an update. */
function identities(shape: SqlTableShape, names: readonly string[]): string[] {
  return names.filter((name) => !shape.key.includes(name) && columnOf(shape, name).isIdentityAlways);
}

/** A row whose identity column would have to change is left to `overwrite`. */
function sameIdentity(shape: SqlTableShape, names: readonly string[], value: (name: string) => string): string {
  return identities(shape, names)
    .map((name) => `\n  and t.${quoteIdent(name)} is not distinct from ${value(name)}`)
    .join('');
}

/** Whether an UPDATE can give the row all of these. */
function canUpdate(shape: SqlTableShape, names: readonly string[]): boolean {
  return identities(shape, names).length === 0 && assignments(shape, names, (name) => name) !== null;
}

/** What to set: of the key, only columns in which equal keys can have different texts. */
function setColumns(shape: SqlTableShape, names: readonly string[]): string[] {
  const varying = new Set(shape.keyColumns.filter(({ nature }) => nature !== 'text').map(({ name }) => name));
  return names.filter((name) =>
    shape.key.includes(name) ? varying.has(name) : !columnOf(shape, name).isIdentityAlways,
  );
}

/** A table that is nothing but its key has a column set to what it is, to stamp the tuple; null where none can be. */
function assignments(shape: SqlTableShape, names: readonly string[], value: (name: string) => string): string | null {
  const set = setColumns(shape, names);
  if (set.length > 0) return set.map((name) => `${quoteIdent(name)} = ${value(name)}`).join(', ');
  const settable = shape.key.find((name) => !columnOf(shape, name).isIdentityAlways);
  return settable === undefined ? null : `${quoteIdent(settable)} = t.${quoteIdent(settable)}`;
}
