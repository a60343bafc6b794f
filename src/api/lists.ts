/**
 * Pages of the conflict log and of the quarantine, newest first.
 *
 * A cursor is the place of the last item by (time, id), so new arrivals, which stand before it, shift nothing.
 */
import { fail } from '../platform/errors.ts';
import type { TextRow, TextValue } from '../platform/postgres.ts';
import type { Queryable } from '../platform/standing-connection.ts';
import type { Conflict, ConflictsQuery, QuarantineItem, QuarantineQuery } from './schemas.ts';

const LIMIT_DEFAULT = 100;
const ISO = `'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'`;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export type Page<T> = { readonly items: T[]; readonly next_cursor: string | null };

type Place = { readonly at: string; readonly id: string };

export async function listConflicts(database: Queryable, query: ConflictsQuery): Promise<Page<Conflict>> {
  const where: string[] = [];
  const values: TextValue[] = [];
  const add = (condition: (parameter: string) => string, value: string): void => {
    values.push(value);
    where.push(condition(`$${values.length}`));
  };
  if (query.table !== undefined) {
    const [schema, table] = query.table.includes('.') ? query.table.split(/\.(.*)/s) : [null, query.table];
    if (schema != null) add((p) => `schema_name = ${p}`, schema);
    add((p) => `table_name = ${p}`, table ?? '');
  }
  if (query.from !== undefined) add((p) => `resolved_at >= ${p}::timestamptz`, instant('from', query.from));
  if (query.to !== undefined) add((p) => `resolved_at < ${p}::timestamptz`, instant('to', query.to));
  if (query.strategy !== undefined) add((p) => `resolution_strategy = ${p}`, query.strategy);
  if (query.region !== undefined) add((p) => `${p} in (loser_origin, winner_origin)`, query.region);
  const limit = query.limit ?? LIMIT_DEFAULT;
  const after = startAfter(query.cursor, values, where, 'resolved_at', 'conflict_id');
  values.push(String(limit + 1));
  const { rows } = await database.query(
    `select conflict_id, event_id_a, event_id_b, schema_name, table_name, row_pk, resolution_strategy, winner_event_id,
            to_char(resolved_at at time zone 'UTC', ${ISO}) as resolved_at, provisional,
            loser_origin, winner_origin, image_a, image_b, base_image, result_image
       from syncline.conflict_log ${after}
      order by resolved_at desc, conflict_id desc limit $${values.length}::int`,
    values,
  );
  return page(rows, limit, toConflict, (row) => ({ at: row.resolved_at, id: row.conflict_id }));
}

export async function listQuarantine(database: Queryable, query: QuarantineQuery): Promise<Page<QuarantineItem>> {
  const values: TextValue[] = [];
  const limit = query.limit ?? LIMIT_DEFAULT;
  const after = startAfter(query.cursor, values, [], 'quarantined_at', 'event_id');
  values.push(String(limit + 1));
  const { rows } = await database.query(
    `select event_id, origin, schema_name, table_name, row_pk, event ->> 'operation' as operation, sqlstate, error,
            to_char(quarantined_at at time zone 'UTC', ${ISO}) as quarantined_at, attempts
       from syncline.quarantine ${after}
      order by quarantined_at desc, event_id desc limit $${values.length}::int`,
    values,
  );
  return page(rows, limit, toQuarantineItem, (row) => ({ at: row.quarantined_at, id: row.event_id }));
}

function startAfter(
  cursor: string | undefined,
  values: TextValue[],
  where: string[],
  time: string,
  id: string,
): string {
  if (cursor !== undefined) {
    const place = readCursor(cursor);
    values.push(place.at, place.id);
    where.push(`(${time}, ${id}) < ($${values.length - 1}::timestamptz, $${values.length}::uuid)`);
  }
  return where.length === 0 ? '' : `where ${where.join(' and ')}`;
}

function page<T>(
  rows: readonly TextRow[],
  limit: number,
  item: (row: TextRow) => T,
  place: (item: T) => Place,
): Page<T> {
  const items = rows.slice(0, limit).map(item);
  const last = items.at(-1);
  const isMore = rows.length > limit && last !== undefined;
  return { items, next_cursor: isMore ? writeCursor(place(last)) : null };
}

function writeCursor(place: Place): string {
  return Buffer.from(JSON.stringify([place.at, place.id])).toString('base64url');
}

function readCursor(cursor: string): Place {
  try {
    const [at, id] = JSON.parse(Buffer.from(cursor, 'base64url').toString()) as unknown[];
    if (typeof at === 'string' && typeof id === 'string' && UUID.test(id) && !Number.isNaN(Date.parse(at))) {
      return { at, id };
    }
  } catch (cause) {
    throw fail('SYN-T005', 'cursor is not one that this API gave', { cause });
  }
  throw fail('SYN-T005', 'cursor is not one that this API gave');
}

function instant(name: string, text: string): string {
  if (Number.isNaN(Date.parse(text))) throw fail('SYN-T005', `${name}: ${text} is not a time in ISO 8601`);
  return new Date(text).toISOString();
}

const json = (text: string | null | undefined): never => (text == null ? null : JSON.parse(text)) as never;

function toConflict(row: TextRow): Conflict {
  return {
    conflict_id: String(row.conflict_id),
    event_id_a: row.event_id_a ?? null,
    event_id_b: row.event_id_b ?? null,
    schema_name: String(row.schema_name),
    table_name: String(row.table_name),
    row_pk: json(row.row_pk),
    resolution_strategy: String(row.resolution_strategy),
    winner_event_id: row.winner_event_id ?? null,
    resolved_at: String(row.resolved_at),
    provisional: row.provisional === 't',
    region_a: String(row.loser_origin),
    region_b: String(row.winner_origin),
    image_a: json(row.image_a),
    image_b: json(row.image_b),
    base_image: json(row.base_image),
    result_image: json(row.result_image),
  };
}

function toQuarantineItem(row: TextRow): QuarantineItem {
  return {
    event_id: String(row.event_id),
    region_id: String(row.origin),
    schema_name: String(row.schema_name),
    table_name: String(row.table_name),
    row_pk: json(row.row_pk),
    operation: String(row.operation),
    sqlstate: String(row.sqlstate),
    error: String(row.error),
    quarantined_at: String(row.quarantined_at),
    attempts: Number(row.attempts),
  };
}
