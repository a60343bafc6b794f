// The quarantine, newest first: event ids begin with the time of the event. An event that is too large
// to be listed is left out of its entry, whose size tells that it exists.

import type { TextRow } from '../platform/postgres.ts';
import type { Queryable } from '../platform/standing-connection.ts';
import { addTable, Conditions, decodeCursor, PAGE_BYTES_MAX, type Page, toPage } from './paging.ts';
import type { Quarantined, QuarantineQuery } from './schemas.ts';

const ISO = `'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'`;
const EVENT_BYTES_MAX = 256 * 1024;
const CURSOR = [/^[0-9a-f-]{36}$/];

export async function listQuarantine(database: Queryable, query: QuarantineQuery): Promise<Page<Quarantined>> {
  const { table, region, cursor, limit } = query;
  const conditions = new Conditions();
  if (table !== undefined) addTable(conditions, table);
  if (region !== undefined) conditions.add('origin = ?', region);
  if (cursor !== undefined) conditions.add('event_id < ?::uuid', ...decodeCursor(cursor, CURSOR));
  const { rows } = await database.query(
    `select event_id, origin, schema_name, table_name, row_pk::text as row_pk, sqlstate, left(error, 10000) as error,
            attempts, to_char(quarantined_at at time zone 'UTC', ${ISO}) as quarantined_at, event_bytes, fits,
            event->>'operation' as operation, case when listed then event::text end as event
       from (select q.*, row_number() over newest = 1
                      or sum(case when listed then event_bytes else 0 end) over newest <= ${PAGE_BYTES_MAX} as fits
               from (select *, octet_length(event::text) as event_bytes,
                            octet_length(event::text) <= ${EVENT_BYTES_MAX} as listed
                       from syncline.quarantine where ${conditions.sql}
                      order by event_id desc limit ${limit + 1}) as q
             window newest as (order by q.event_id desc)) as l
      order by event_id desc`,
    conditions.values,
  );
  return toPage(rows, limit, toQuarantined, (row) => [String(row.event_id)]);
}

function toQuarantined(row: TextRow): Quarantined {
  return {
    event_id: String(row.event_id),
    region_id: String(row.origin),
    schema_name: String(row.schema_name),
    table_name: String(row.table_name),
    row_pk: JSON.parse(row.row_pk ?? 'null') as Quarantined['row_pk'],
    operation: String(row.operation),
    sqlstate: String(row.sqlstate),
    error: String(row.error),
    quarantined_at: String(row.quarantined_at),
    attempts: Number(row.attempts),
    event: row.event == null ? null : (JSON.parse(row.event) as unknown),
    event_bytes: Number(row.event_bytes),
  };
}
