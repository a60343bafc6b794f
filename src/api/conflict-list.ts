// The conflict log, newest first. Images are sent as they are stored; rows beyond the bound of a page
// are read by their keys only.
//
// The order is that of when a record was made, which does not change when a higher winner replaces the first one or the
// record turns final. So a page never skips or repeats a record, whatever happens meanwhile. Each filter has an index in
// that order; records in which a region lost and those in which it won are two, taken together.

import { fail } from '../platform/errors.ts';
import type { TextRow, TextValue } from '../platform/postgres.ts';
import type { Queryable } from '../platform/standing-connection.ts';
import {
  addTable,
  Conditions,
  decodeCursor,
  PAGE_BYTES_MAX,
  type Page,
  TIME,
  timeValue,
  toPage,
  UUID,
} from './paging.ts';
import type { Conflict, ConflictQuery } from './schemas.ts';

const ISO = `'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'`;
const IMAGES = ['row_pk', 'image_a', 'image_b', 'base_image', 'result_image'];
const CURSOR = [TIME, UUID];

export async function listConflicts(database: Queryable, query: ConflictQuery): Promise<Page<Conflict>> {
  const { text, values } = conflictStatement(query);
  const { rows } = await database.query(text, values);
  return toPage(rows, query.limit, toConflict, (row) => [String(row.resolved_at), String(row.conflict_id)]);
}

export function conflictStatement(query: ConflictQuery): { readonly text: string; readonly values: TextValue[] } {
  const { table, from, to, strategy, region, pk, provisional, cursor, limit } = query;
  const conditions = new Conditions();
  if (table !== undefined) addTable(conditions, table);
  if (from !== undefined) conditions.add('resolved_at >= ?::timestamptz', timeValue('from', from));
  if (to !== undefined) conditions.add('resolved_at < ?::timestamptz', timeValue('to', to));
  if (strategy !== undefined) conditions.add('resolution_strategy = ?', strategy);
  if (pk !== undefined) conditions.add('row_pk = ?::jsonb', keyValue(pk));
  if (provisional !== undefined) conditions.add(provisional ? 'provisional' : 'not provisional');
  if (cursor !== undefined) {
    conditions.add('(resolved_at, conflict_id) < (?::timestamptz, ?::uuid)', ...decodeCursor(cursor, CURSOR));
  }
  const newestOf = (also: string): string =>
    `(select * from syncline.conflict_log where ${conditions.sql}${also}
       order by resolved_at desc, conflict_id desc limit ${limit + 1})`;
  const regionValue = region === undefined ? '' : conditions.value(region);
  const newest =
    region === undefined
      ? newestOf('')
      : `(select * from (${newestOf(` and loser_origin = ${regionValue}`)} union all
            ${newestOf(` and winner_origin = ${regionValue} and loser_origin <> winner_origin`)}) as either
           order by resolved_at desc, conflict_id desc limit ${limit + 1})`;
  const images = IMAGES.map((column) => `case when fits then ${column}::text end as ${column}`).join(', ');
  const size = IMAGES.map((column) => `coalesce(pg_column_size(${column}), 0)`).join(' + ');
  const text = `select conflict_id, event_id_a, event_id_b, schema_name, table_name, resolution_strategy, merge_version, winner_event_id,
            loser_origin, winner_origin, lpad(loser_hlc::text, 19, '0') as loser_hlc, lpad(winner_hlc::text, 19, '0') as winner_hlc,
            provisional, provisional_reason, constraint_name, parent_table, to_json(redacted)::text as redacted, to_char(resolved_at at time zone 'UTC', ${ISO}) as resolved_at, fits, ${images}
       from (select c.*, row_number() over newest = 1 or sum(${size}) over newest <= ${PAGE_BYTES_MAX} as fits
               from ${newest} as c
             window newest as (order by c.resolved_at desc, c.conflict_id desc)) as l
      order by l.resolved_at desc, conflict_id desc`;
  return { text, values: conditions.values };
}

/** The whole key of a row, as a record holds it: every value as text. */
function keyValue(text: string): string {
  let key: unknown;
  try {
    key = JSON.parse(text);
  } catch {
    key = undefined;
  }
  if (typeof key !== 'object' || key === null || Array.isArray(key)) {
    throw fail('SYN-T005', 'pk: is no JSON object of the key, such as {"id":"7"}');
  }
  return JSON.stringify(
    Object.fromEntries(Object.entries(key).map(([column, value]) => [column, value === null ? null : String(value)])),
  );
}

const image = (text: string | null | undefined): Conflict['image_a'] =>
  text == null ? null : (JSON.parse(text) as Conflict['image_a']);

function toConflict(row: TextRow): Conflict {
  return {
    conflict_id: String(row.conflict_id),
    event_id_a: row.event_id_a ?? null,
    event_id_b: row.event_id_b ?? null,
    schema_name: String(row.schema_name),
    table_name: String(row.table_name),
    row_pk: image(row.row_pk),
    resolution_strategy: String(row.resolution_strategy),
    merge_version: row.merge_version ?? null,
    winner_event_id: row.winner_event_id ?? null,
    resolved_at: String(row.resolved_at),
    image_a: image(row.image_a),
    image_b: image(row.image_b),
    base_image: image(row.base_image),
    result_image: image(row.result_image),
    provisional: row.provisional === 't',
    provisional_reason: row.provisional_reason ?? null,
    constraint_name: row.constraint_name ?? null,
    parent_table: row.parent_table ?? null,
    redacted: JSON.parse(row.redacted ?? '[]') as string[],
    loser_region: String(row.loser_origin),
    winner_region: String(row.winner_origin),
    loser_hlc: String(row.loser_hlc),
    winner_hlc: String(row.winner_hlc),
  };
}
