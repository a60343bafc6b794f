// What a region's catalog says about a table, as far as comparing its rows needs it: columns by name,
// the primary key, and the operator by which the key's index calls two values equal.
//
// That operator and not the text decides which rows of two regions are one row: numeric 1.0 and 1.00,
// or two spellings in a case-insensitive type, are one key. Columns are paired by name, since a column
// that was added in another order stands elsewhere. Tables that are no partition of another count;
// a partitioned one is read through its root, because regions may cut it differently.

import { partitionsSql } from '../platform/partitions.ts';
import type { PostgresClient, TextValue } from '../platform/postgres.ts';
import { relationSizeSql } from '../platform/relation-size.ts';

export interface TableName {
  readonly schema: string;
  readonly table: string;
}

export interface KeyColumn {
  readonly name: string;
  /** The bare type, to cast a text into. */
  readonly type: string;
  /** Quoted and with its schema; null where the type has none. */
  readonly collation: string | null;
  /** Whether servers may sort the same values differently: texts by collation, enums by their labels' history. */
  readonly isOrderLocal: boolean;
  readonly operators: KeyOperators;
}

/** Of the key's index, with their schemas, for OPERATOR(): the search path of these sessions is pg_catalog alone. */
export interface KeyOperators {
  readonly equal: string;
  readonly above: string;
  readonly aboveOrEqual: string;
  readonly below: string;
  readonly belowOrEqual: string;
}

export interface TableDefinition extends TableName {
  readonly isPartitioned: boolean;
  /** Name → type with its modifiers. */
  readonly columns: ReadonlyMap<string, string>;
  /** The primary key in the order of its index; empty without one, and then the table is not replicated either. */
  readonly key: readonly KeyColumn[];
  /** Size on disk, to know the fullest region. */
  readonly bytes: number;
}

export const tableText = ({ schema, table }: TableName): string => `${schema}.${table}`;

// Unlogged and temporary tables never reach the write-ahead log. -1 for a modifier gives the name of
// the type that casts without cutting: bpchar, where no modifier at all would give character(1).
const DEFINITIONS = `
select n.nspname as schema, c.relname as "table", (c.relkind = 'p')::int::text as is_partitioned,
  (select coalesce(sum(${relationSizeSql('p.oid')}), 0) from (${partitionsSql('c.oid')}) as p)::text as bytes,
  (select coalesce(json_agg(json_build_array(a.attname, format_type(a.atttypid, a.atttypmod)) order by a.attname), '[]')
     from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped)::text as columns,
  (select coalesce(json_agg(json_build_object(
       'name', a.attname,
       'type', format_type(a.atttypid, -1),
       'collation', (select quote_ident(cn.nspname) || '.' || quote_ident(co.collname)
          from pg_collation co join pg_namespace cn on cn.oid = co.collnamespace
          where co.oid = i.indcollation[k.place - 1]),
       'isOrderLocal', i.indcollation[k.place - 1] <> 0 or exists (select from pg_opclass oc
          where oc.oid = i.indclass[k.place - 1] and oc.opcintype = 'anyenum'::regtype),
       'operators', (select json_object_agg(o.amopstrategy, quote_ident(opn.nspname) || '.' || op.oprname)
          from pg_opclass oc
          join pg_amop o on o.amopfamily = oc.opcfamily
            and o.amoplefttype = oc.opcintype and o.amoprighttype = oc.opcintype
          join pg_operator op on op.oid = o.amopopr
          join pg_namespace opn on opn.oid = op.oprnamespace
          where oc.oid = i.indclass[k.place - 1])
     ) order by k.place), '[]')
     from pg_index i
     cross join unnest(i.indkey::int2[]) with ordinality as k(attnum, place)
     join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
     where i.indrelid = c.oid and i.indisprimary and k.place <= i.indnkeyatts)::text as key
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and not c.relispartition and c.relpersistence = 'p'
  and n.nspname not in ('pg_catalog', 'information_schema', 'syncline') and n.nspname !~ '^pg_'
order by n.nspname collate "C", c.relname collate "C"`;

interface KeyJson {
  readonly name: string;
  readonly type: string;
  readonly collation: string | null;
  readonly isOrderLocal: boolean;
  /** By strategy of the btree operator class. */
  readonly operators: Readonly<Record<'1' | '2' | '3' | '4' | '5', string>>;
}

/** All tables of the database that could be replicated. */
export async function readDefinitions(client: PostgresClient): Promise<TableDefinition[]> {
  const { rows } = await client.query(DEFINITIONS);
  return rows.map(definitionOf);
}

function definitionOf(row: Record<string, TextValue>): TableDefinition {
  const key = JSON.parse(row.key ?? '[]') as KeyJson[];
  return {
    schema: row.schema ?? '',
    table: row.table ?? '',
    isPartitioned: row.is_partitioned === '1',
    columns: new Map(JSON.parse(row.columns ?? '[]') as [string, string][]),
    key: key.map(({ operators: { 1: below, 2: belowOrEqual, 3: equal, 4: aboveOrEqual, 5: above }, ...column }) => ({
      ...column,
      operators: { equal, above, aboveOrEqual, below, belowOrEqual },
    })),
    bytes: Number(row.bytes),
  };
}

/** In what two definitions differ so that their rows cannot be compared, in words; null if in nothing. */
export function definitionDifference(
  [here, one]: readonly [string, TableDefinition],
  [there, other]: readonly [string, TableDefinition],
): string | null {
  const complaints: string[] = [];
  for (const [name, type] of one.columns) {
    const otherType = other.columns.get(name);
    if (otherType === undefined) complaints.push(`column ${name} exists in ${here} and not in ${there}`);
    else if (otherType !== type) complaints.push(`column ${name} is ${type} in ${here} and ${otherType} in ${there}`);
  }
  for (const name of other.columns.keys()) {
    if (!one.columns.has(name)) complaints.push(`column ${name} exists in ${there} and not in ${here}`);
  }
  const keys = [one, other].map(({ key }) => key.map(({ name }) => name).join(', ') || 'none');
  if (keys[0] !== keys[1]) complaints.push(`the primary key is (${keys[0]}) in ${here} and (${keys[1]}) in ${there}`);
  return complaints.length === 0 ? null : complaints.join('; ');
}
