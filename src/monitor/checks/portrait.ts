/**
 * What one region tells others of itself, so that they can see where they differ: its server, how its tables are
 * defined, and how its sequences count. The agent serves it; doctor reads it from the database or from an agent.
 *
 * Definitions are PostgreSQL's own text, compared as such. All tables are in it, since one that is there and not
 * replicated is another finding than one that is missing.
 */
import type { Config } from '../../platform/config.ts';
import type { Queryable } from '../../platform/standing-connection.ts';
import { isTableIncluded } from '../../platform/table-filter.ts';
import { type FillingSequence, readFillingSequences } from '../../sequences/filling-sequences.ts';
import type { Interleave } from '../../sequences/interleave.ts';

export type PortraitColumn = {
  readonly name: string;
  /** With its modifiers. */
  readonly type: string;
  /** Quoted, with its schema; null for the type's own. */
  readonly collation: string | null;
  readonly not_null: boolean;
  /** The expression of the default; null where there is none, or a sequence gives it. */
  readonly column_default: string | null;
  /** Whether a sequence fills it, other than an identity column's. */
  readonly is_serial: boolean;
  /** The expression of a generated column. */
  readonly generated: string | null;
  readonly identity: 'always' | 'by default' | null;
};

/** A constraint or a unique index: equal ones have equal definitions, whatever they are called. */
export type PortraitRule = { readonly definition: string; readonly statement: string; readonly name: string };

export type PortraitTable = {
  readonly schema: string;
  readonly table: string;
  /** Quoted, with its schema. */
  readonly name: string;
  readonly is_partitioned: boolean;
  readonly is_replicated: boolean;
  readonly columns: readonly PortraitColumn[];
  /** Columns of the primary key, in its order. */
  readonly key: readonly string[];
  readonly checks: readonly PortraitRule[];
  readonly uniques: readonly PortraitRule[];
};

/** An enum or a domain: what values it takes. */
export type PortraitType = {
  /** Quoted, with its schema. */
  readonly name: string;
  readonly labels: readonly string[];
  readonly checks: readonly PortraitRule[];
};

/** A collation in a unique index that somebody made, or that calls unequal texts equal, by rules that come with its version. */
export type PortraitCollation = {
  readonly name: string;
  /** Null where texts are equal only if they are the same. */
  readonly version: string | null;
  /** Absent where the agent of the region does not know of that. */
  readonly definition?: string;
};

export type PortraitServer = {
  readonly version: string;
  readonly major: number;
  readonly encoding: string;
  /** Provider, locale and character type of the database; null where they are unknown. */
  readonly collation: string;
  readonly collation_version: string | null;
  /** Of those that unique indexes use, all that can differ. */
  readonly collations: readonly PortraitCollation[];
};

export type Portrait = {
  readonly region: string;
  readonly server: PortraitServer;
  readonly interleave: Interleave | null;
  /** Which columns the conflict log withholds; absent where the agent of the region does not know of that. */
  readonly redact?: readonly string[];
  readonly tables: readonly PortraitTable[];
  readonly types: readonly PortraitType[];
  readonly sequences: readonly FillingSequence[];
};

const SERVER_SQL = `
select json_build_object(
  'version', current_setting('server_version'),
  'major', current_setting('server_version_num')::int / 10000,
  'encoding', pg_encoding_to_char(encoding),
  'collation', concat_ws(', ', case coalesce(to_jsonb(d)->>'datlocprovider', 'c')
      when 'i' then 'icu' when 'b' then 'builtin' else 'libc' end,
    coalesce(to_jsonb(d)->>'datlocale', to_jsonb(d)->>'daticulocale', datcollate), 'ctype ' || datctype),
  'collation_version', to_jsonb(d)->>'datcollversion',
  'collations', coalesce((
    select json_agg(json_build_object('name', c.oid::regcollation::text,
        'version', case when not c.collisdeterministic then pg_collation_actual_version(c.oid) end,
        'definition', concat_ws(', ', case c.collprovider when 'i' then 'icu' when 'b' then 'builtin' else 'libc' end,
          translate(coalesce(to_jsonb(c)->>'colllocale', to_jsonb(c)->>'colliculocale', c.collcollate::text), '_', '-'),
          to_jsonb(c)->>'collicurules', case when not c.collisdeterministic then 'nondeterministic' end))
        order by c.oid)
      from pg_collation c where (not c.collisdeterministic or c.oid >= 16384)
       and exists (select from pg_index i where i.indisunique and c.oid = any (i.indcollation))), '[]')) as portrait
  from pg_database d where datname = current_database()`;

// An index on a constraint is shown as the constraint; what is compared begins behind the names.
const TABLES_SQL = `
select json_build_object(
  'oid', c.oid::text, 'schema', n.nspname, 'table', c.relname, 'name', c.oid::regclass::text,
  'is_partitioned', c.relkind = 'p',
  'columns', (
    select json_agg(json_build_object(
        'name', a.attname, 'type', format_type(a.atttypid, a.atttypmod),
        'collation', case when a.attcollation <> t.typcollation then a.attcollation::regcollation::text end,
        'not_null', a.attnotnull,
        'column_default', case when a.attgenerated = '' and pg_get_expr(d.adbin, d.adrelid) !~ 'nextval\\('
                          then pg_get_expr(d.adbin, d.adrelid) end,
        'is_serial', coalesce(a.attgenerated = '' and pg_get_expr(d.adbin, d.adrelid) ~ '^nextval\\('
                              and a.atttypid in (20, 21, 23), false),
        'generated', case when a.attgenerated <> '' then pg_get_expr(d.adbin, d.adrelid) end,
        'identity', case a.attidentity when 'a' then 'always' when 'd' then 'by default' end) order by a.attnum)
      from pg_attribute a join pg_type t on t.oid = a.atttypid
      left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
     where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped),
  'key', (
    select json_agg(a.attname order by k.place)
      from pg_index i cross join unnest(i.indkey::int2[]) with ordinality as k (attnum, place)
      join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
     where i.indrelid = c.oid and i.indisprimary and k.place <= i.indnkeyatts),
  'checks', (
    select json_agg(json_build_object('name', quote_ident(k.conname),
        'definition', regexp_replace(pg_get_constraintdef(k.oid), ' NOT VALID$', ''),
        'statement', format('alter table %s add constraint %I %s;', c.oid::regclass, k.conname, pg_get_constraintdef(k.oid)))
        order by k.conname)
      from pg_constraint k where k.conrelid = c.oid and k.contype in ('c', 'x')),
  'uniques', (
    select json_agg(json_build_object('name', quote_ident(x.relname),
        'definition', substr(pg_get_indexdef(i.indexrelid), strpos(pg_get_indexdef(i.indexrelid), ' USING ') + 1),
        'statement', case when k.oid is null
           then regexp_replace(pg_get_indexdef(i.indexrelid), '^(CREATE UNIQUE INDEX .*) ON ONLY ', '\\1 ON ') || ';' else
           format('alter table %s add constraint %I %s;', c.oid::regclass, k.conname, pg_get_constraintdef(k.oid)) end)
        order by x.relname)
      from pg_index i join pg_class x on x.oid = i.indexrelid
      left join pg_constraint k on k.conindid = i.indexrelid and k.conrelid = c.oid and k.contype = 'u'
     where i.indrelid = c.oid and i.indisunique and not i.indisprimary and i.indisvalid)
) as portrait
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where c.relkind in ('r', 'p') and not c.relispartition and c.relpersistence = 'p' and c.oid >= 16384
   and n.nspname not in ('information_schema', 'syncline')
 order by n.nspname collate "C", c.relname collate "C"`;

const TYPES_SQL = `
select json_build_object(
  'name', format_type(t.oid, null),
  'labels', coalesce((select json_agg(enumlabel order by enumlabel collate "C") from pg_enum where enumtypid = t.oid), '[]'),
  'checks', coalesce((
    select json_agg(json_build_object('name', quote_ident(k.conname),
        'definition', regexp_replace(pg_get_constraintdef(k.oid), ' NOT VALID$', ''),
        'statement', format('alter domain %s add constraint %I %s;', format_type(t.oid, null), k.conname, pg_get_constraintdef(k.oid)))
        order by k.conname)
      from pg_constraint k where k.contypid = t.oid and k.contype = 'c'), '[]')) as portrait
  from pg_type t where t.typtype in ('e', 'd') and t.oid >= 16384
 order by t.oid`;

type RawTable = Omit<PortraitTable, 'key' | 'checks' | 'uniques' | 'columns' | 'is_replicated'> & {
  readonly oid: string;
  readonly columns: PortraitTable['columns'] | null;
  readonly key: PortraitTable['key'] | null;
  readonly checks: PortraitTable['checks'] | null;
  readonly uniques: PortraitTable['uniques'] | null;
};

export async function readPortrait(
  database: Queryable,
  { region, tables: filter, sequences, conflicts }: Pick<Config, 'region' | 'tables' | 'sequences' | 'conflicts'>,
): Promise<Portrait> {
  const server = await database.query(SERVER_SQL);
  const found = await database.query(TABLES_SQL);
  const types = await database.query(TYPES_SQL);
  const raw = found.rows.map(({ portrait }) => JSON.parse(portrait ?? '') as RawTable);
  const tables = raw.map(({ oid, columns, key, checks, uniques, ...table }) => ({
    oid: Number(oid),
    ...table,
    is_replicated: isTableIncluded(filter, table.schema, table.table),
    columns: columns ?? [],
    key: key ?? [],
    checks: checks ?? [],
    uniques: uniques ?? [],
  }));
  const replicated = tables.filter(({ is_replicated }) => is_replicated);
  return {
    region,
    server: JSON.parse(server.rows[0]?.portrait ?? '') as PortraitServer,
    interleave: sequences.interleave ?? null,
    redact: conflicts.redact,
    tables: tables.map(({ oid: _, ...table }) => table),
    types: types.rows.map(({ portrait }) => JSON.parse(portrait ?? '') as PortraitType),
    sequences: await readFillingSequences(
      database,
      replicated.map(({ oid }) => oid),
    ),
  };
}

/** As the API carries it: JSON has no numbers of 64 bits. */
export const portraitText = (portrait: Portrait): string =>
  JSON.stringify(portrait, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value));

const BIGINTS = ['increment', 'start', 'minimum', 'maximum', 'value'] as const;

export function parsePortrait(text: string): Portrait {
  const portrait = JSON.parse(text) as Portrait;
  const sequences = portrait.sequences.map((sequence) => {
    const numbers = BIGINTS.map((name) => [name, sequence[name] === null ? null : BigInt(sequence[name])] as const);
    return { ...sequence, ...Object.fromEntries(numbers) };
  });
  return { ...portrait, sequences };
}
