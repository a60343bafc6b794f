// The conflict log, newest first. Images are sent as they are stored; rows beyond the bound of a page
// are read by their keys only.

import type { TextRow } from '../platform/postgres.ts';
import type { Queryable } from '../platform/standing-connection.ts';
import { addTable, Conditions, decodeCursor, PAGE_BYTES_MAX, type Page, timeValue, toPage } from './paging.ts';
import type { Conflict, ConflictQuery } from './schemas.ts';

const ISO = `'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'`;
const IMAGES = ['row_pk', 'image_a', 'image_b', 'base_image', 'result_image'];
const CURSOR = [/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/, /^[0-9a-f-]{36}$/];

export async function listConflicts(database: Queryable, query: ConflictQuery): Promise<Page<Conflict>> {
  const { table, from, to, strategy, region, cursor, limit } = query;
  const conditions = new Conditions();
  if (table !== undefined) addTable(conditions, table);
  if (from !== undefined) conditions.add('resolved_at >= ?::timestamptz', timeValue('from', from));
  if (to !== undefined) conditions.add('resolved_at < ?::timestamptz', timeValue('to', to));
  if (strategy !== undefined) conditions.add('resolution_strategy = ?', strategy);
  if (region !== undefined) conditions.add('(loser_origin = ? or winner_origin = ?)', region, region);
  if (cursor !== undefined) {
    conditions.add('(resolved_at, conflict_id) < (?::timestamptz, ?::uuid)', ...decodeCursor(cursor, CURSOR));
  }
  const images = IMAGES.map((column) => `case when fits then ${column}::text end as ${column}`).join(', ');
  const size = IMAGES.map((column) => `coalesce(pg_column_size(${column}), 0)`).join(' + ');
  const { rows } = await database.query(
    `select conflict_id, event_id_a, event_id_b, schema_name, table_name, resolution_strategy, winner_event_id,
            loser_origin, winner_origin, lpad(loser_hlc::text, 19, '0') as loser_hlc, lpad(winner_hlc::text, 19, '0') as winner_hlc,
            provisional, to_char(resolved_at at time zone 'UTC', ${ISO}) as resolved_at, fits, ${images}
       from (select c.*, row_number() over newest = 1 or sum(${size}) over newest <= ${PAGE_BYTES_MAX} as fits
               from (select * from syncline.conflict_log where ${conditions.sql}
                      order by resolved_at desc, conflict_id desc limit ${limit + 1}) as c
             window newest as (order by c.resolved_at desc, c.conflict_id desc)) as l
      order by l.resolved_at desc, conflict_id desc`,
    conditions.values,
  );
  return toPage(rows, limit, toConflict, (row) => [String(row.resolved_at), String(row.conflict_id)]);
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
    winner_event_id: row.winner_event_id ?? null,
    resolved_at: String(row.resolved_at),
    image_a: image(row.image_a),
    image_b: image(row.image_b),
    base_image: image(row.base_image),
    result_image: image(row.result_image),
    provisional: row.provisional === 't',
    loser_region: String(row.loser_origin),
    winner_region: String(row.winner_origin),
    loser_hlc: String(row.loser_hlc),
    winner_hlc: String(row.winner_hlc),
  };
}
