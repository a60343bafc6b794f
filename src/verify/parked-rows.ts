// What a region has parked of a table: rows that lost a unique value, whole, beside the table (`sql/003_parked.sql`).
//
// Regions are equal only if these rows are, too: one that is parked here and nowhere there comes back here alone once the
// value is free. They are read like the rows of any table, by ranges of their key, so the same comparison serves both. Compared
// are the key, the version and the row. Not compared is what each region has for itself: when it parked the row, which row it
// last saw in the way, and where in its stream the write was, which it may not know of a write of its own.
//
// The image is read as a list of columns in the order of their names: its own order is that of the region's columns. A
// database without Syncline has parked nothing, and is asked all the same, so that there is one way to compare.

import { fail } from '../platform/errors.ts';
import { type PostgresClient, quoteIdent, quoteLiteral, type TextValue } from '../platform/postgres.ts';
import type { RowSet } from './range-statements.ts';
import type { KeyColumn, TableDefinition } from './table-definition.ts';

/** A parked row as the comparison reads it. */
export interface ParkedRow {
  readonly hlc: string;
  readonly origin: string;
  readonly columns: ReadonlyMap<string, TextValue>;
}

/** Told by the catalog, because a name in a schema that the role may not use is an error and not an absence. */
const ACCESS = `
select has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select') as may_read
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = 'syncline' and c.relname = 'parked'`;

const COLUMNS = ['key', 'hlc', 'origin', 'image'];
const NOTHING =
  '(select null::text as key, null::bigint as hlc, null::text as origin, null::json as image limit 0) as t';

const KEY: KeyColumn = {
  name: 'key',
  type: 'text',
  collation: 'pg_catalog."C"',
  isOrderLocal: false,
  operators: {
    equal: 'pg_catalog.=',
    above: 'pg_catalog.>',
    aboveOrEqual: 'pg_catalog.>=',
    below: 'pg_catalog.<',
    belowOrEqual: 'pg_catalog.<=',
  },
};

export async function parkedOf(client: PostgresClient, region: string, table: TableDefinition): Promise<RowSet> {
  const { rows } = await client.query(ACCESS);
  const access = rows[0]?.may_read;
  if (access === 'f') throw fail('SYN-V005', `the role may not read syncline.parked in ${region}`);
  return { from: access === 't' ? parkedFrom(table) : NOTHING, key: [KEY], columns: COLUMNS, bytes: 0 };
}

/** Flat enough for the planner to see through: the index on (rel, key) serves the order. */
function parkedFrom({ schema, table }: TableDefinition): string {
  const rel = quoteLiteral(`${quoteIdent(schema)}.${quoteIdent(table)}`);
  return `(select p.key, p.hlc, p.origin,
    (select json_agg(json_build_array(e.key, e.value) order by e.key collate "C") from json_each_text(p.image) as e) as image
    from syncline.parked as p where p.rel = ${rel}) as t`;
}

export function toParkedRow(columns: ReadonlyMap<string, TextValue>): ParkedRow {
  const image = JSON.parse(columns.get('image') ?? '[]') as [string, TextValue][];
  return { hlc: columns.get('hlc') ?? '', origin: columns.get('origin') ?? '', columns: new Map(image) };
}
