/**
 * What an operator does about parked rows: discards them, or gives them other values.
 *
 * Both are published (`operator-message.ts`) and take effect in every region as the event arrives. A message is emitted by
 * the statement that finds the row parked still, as it was when it was decided about: one that came back meanwhile, or
 * was written anew, is left alone. New values are read and printed by the column's own type first, so that a value that it
 * does not take fails here and not in every region.
 */
import type { Image } from '../change/change-event.ts';
import { SECRET_KEY } from '../change/table-transfer.ts';
import { fail } from '../platform/errors.ts';
import { arrayText } from '../platform/postgres.ts';
import type { Queryable } from '../platform/standing-connection.ts';
import { OPERATOR_PREFIX, type OperatorDecision } from './publish/operator-message.ts';

type Parked = Pick<OperatorDecision, 'schema' | 'table' | 'pk' | 'before'> & {
  readonly id: string;
  readonly hlc: string;
  readonly origin: string;
};

/** Deletes these rows everywhere; returns how many of them were parked. */
export async function discardParked(database: Queryable, parkedIds: readonly string[]): Promise<number> {
  let discarded = 0;
  for (const parked of await find(database, parkedIds)) if (await emit(database, parked, null)) discarded += 1;
  return discarded;
}

/** SYN-A020 where the row is not parked, SYN-A021 for a column that cannot be set or a value that it does not take. */
export async function editParked(database: Queryable, parkedId: string, values: Image): Promise<void> {
  const [parked] = await find(database, [parkedId]);
  if (parked === undefined) throw notParked(parkedId);
  const printed: { [column: string]: string | null } = {};
  for (const [column, value] of Object.entries(values)) {
    printed[column] = await asPrinted(database, parked, column, value);
  }
  if (!(await emit(database, parked, { ...parked.before, ...printed }))) throw notParked(parkedId);
}

function notParked(parkedId: string): Error {
  return fail('SYN-A020', parkedId, { context: { parked_id: parkedId } });
}

async function find(database: Queryable, parkedIds: readonly string[]): Promise<Parked[]> {
  const { rows } = await database.query(
    `select parked_id, schema_name, table_name, row_pk, image, hlc, origin from syncline.parked
      where parked_id = any ($1::uuid[]) order by parked_id`,
    [arrayText(parkedIds)],
  );
  return rows.map((row) => ({
    id: String(row.parked_id),
    schema: String(row.schema_name),
    table: String(row.table_name),
    pk: JSON.parse(String(row.row_pk)) as Image,
    before: JSON.parse(String(row.image)) as Image,
    hlc: String(row.hlc),
    origin: String(row.origin),
  }));
}

/** False where the row is not parked any more, or is another version. */
async function emit(database: Queryable, parked: Parked, after: Image | null): Promise<boolean> {
  const { id, hlc, origin, ...row } = parked;
  const decision: Omit<OperatorDecision, 'secret'> = { ...row, after };
  const { rows } = await database.query(
    `select pg_logical_emit_message(true, $1::text,
              ($2::jsonb || jsonb_build_object('secret', (select value from syncline.meta where key = '${SECRET_KEY}')))::text)
       from syncline.parked
      where parked_id = $3::uuid and hlc = $4::bigint and origin = $5::text`,
    [OPERATOR_PREFIX, JSON.stringify(decision), id, hlc, origin],
  );
  return rows.length > 0;
}

async function asPrinted(
  database: Queryable,
  { schema, table, pk }: Parked,
  column: string,
  value: string | null,
): Promise<string | null> {
  const { rows } = await database.query(
    `with recursive found as (
       select format_type(a.atttypid, a.atttypmod) as type, a.atttypid as base
         from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = $1 and c.relname = $2 and a.attname = $3 and a.attnum > 0 and a.attgenerated = ''
       union all
       select found.type, t.typbasetype from found join pg_type t on t.oid = found.base and t.typbasetype <> 0
     ) select type, bool_or(base in ('json'::regtype, 'jsonb'::regtype)) as is_json from found group by type`,
    [schema, table, column],
  );
  const type = rows[0]?.type;
  const context = { schema, table, column };
  if (type == null) throw fail('SYN-A021', `${schema}.${table} has no column ${column} that can be set`, { context });
  if (Object.hasOwn(pk, column)) throw fail('SYN-A021', `${column} is of the key of ${schema}.${table}`, { context });
  if (value === null) return null;
  try {
    // A cast would cut what is too long for the type; a record's column does not. Only a JSON value would be taken for a text there.
    const sql =
      rows[0]?.is_json === 't'
        ? `select ($1::text)::${type}::text as value`
        : `select value::text from jsonb_to_record(jsonb_build_object('value', $1::text)) as read (value ${type})`;
    const read = await database.query(sql, [value]);
    return read.rows[0]?.value ?? null;
  } catch (cause) {
    throw fail('SYN-A021', `${column}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause, context });
  }
}
