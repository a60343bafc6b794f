/** The sequences that fill columns of replicated tables, identity columns included, partitions' too. */
import { partitionsSql } from '../platform/partitions.ts';
import { arrayText } from '../platform/postgres.ts';
import type { Queryable } from '../platform/standing-connection.ts';
import type { SequenceState } from './interleave.ts';

export type FilledColumn = {
  /** Schema-qualified and quoted. */
  readonly table: string;
  /** Quoted. */
  readonly column: string;
  /** Whether its values are numbers, so that there is a highest one. */
  readonly is_number: boolean;
};

export type FillingSequence = SequenceState & {
  readonly oid: number;
  readonly columns: readonly FilledColumn[];
};

type Raw = { readonly [name in 'increment' | 'start' | 'minimum' | 'maximum']: string } & {
  readonly oid: string;
  readonly name: string;
  readonly cycles: boolean;
  readonly value: string | null;
  readonly columns: readonly FilledColumn[];
};

// Until its first number is drawn, a sequence has no last value, and stands at its start.
const SQL = `
with tab as (
  select distinct t.oid from unnest($1::oid[]) as r (oid) cross join lateral (${partitionsSql('r.oid')}) as t
), fills as (
  select d.objid as seq, d.refobjid as tab, d.refobjsubid as attnum
    from tab join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = tab.oid
   where d.classid = 'pg_class'::regclass and d.refobjsubid > 0 and d.deptype in ('a', 'i')
  union
  select d.refobjid, a.adrelid, a.adnum
    from tab join pg_attrdef a on a.adrelid = tab.oid
    join pg_depend d on d.classid = 'pg_attrdef'::regclass and d.objid = a.oid
   where d.refclassid = 'pg_class'::regclass
)
select json_build_object(
  'oid', s.seqrelid::text, 'name', s.seqrelid::regclass::text,
  'increment', s.seqincrement::text, 'start', s.seqstart::text,
  'minimum', s.seqmin::text, 'maximum', s.seqmax::text, 'cycles', s.seqcycle,
  'value', case when has_sequence_privilege(s.seqrelid, 'USAGE, SELECT')
                then coalesce(pg_sequence_last_value(s.seqrelid), s.seqstart)::text end,
  'columns', json_agg(json_build_object(
    'table', f.tab::regclass::text, 'column', quote_ident(a.attname),
    'is_number', a.atttypid in (20, 21, 23, 1700)) order by f.tab::regclass::text, a.attname)) as sequence
  from fills f
  join pg_sequence s on s.seqrelid = f.seq
  join pg_attribute a on a.attrelid = f.tab and a.attnum = f.attnum and not a.attisdropped
 group by s.seqrelid, s.seqincrement, s.seqstart, s.seqmin, s.seqmax, s.seqcycle
 order by s.seqrelid`;

export async function readFillingSequences(database: Queryable, tables: readonly number[]): Promise<FillingSequence[]> {
  const { rows } = await database.query(SQL, [arrayText(tables.map(String))]);
  return rows.map(({ sequence: text }) => {
    const { oid, name, cycles, columns, ...numbers } = JSON.parse(text ?? '') as Raw;
    const { increment, start, minimum, maximum, value } = numbers;
    return {
      oid: Number(oid),
      name,
      cycles,
      columns,
      increment: BigInt(increment),
      start: BigInt(start),
      minimum: BigInt(minimum),
      maximum: BigInt(maximum),
      value: value === null ? null : BigInt(value),
    };
  });
}

/** SQL expressions for the highest number in each column that the sequence fills; NULL where there is none. */
export function highestOf({ columns }: FillingSequence): string[] {
  return columns
    .filter(({ is_number }) => is_number)
    .map(({ table, column }) => `(select max(${column})::bigint from ${table})`);
}
