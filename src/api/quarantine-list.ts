// The quarantine, newest first: event ids begin with the time of the event. An event that is too large
// to be listed is left out of its entry, whose size tells that it exists.
//
// Parked rows are listed with it, since an operator can end their waiting. They have ids of their own, by
// which all regions name them alike, and follow or precede the events as those ids do.

import type { TextRow } from '../platform/postgres.ts';
import type { Queryable } from '../platform/standing-connection.ts';
import { addTable, Conditions, decodeCursor, PAGE_BYTES_MAX, type Page, toPage, UUID } from './paging.ts';
import type { Quarantined, QuarantineQuery } from './schemas.ts';

const ISO = `'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'`;
const EVENT_BYTES_MAX = 256 * 1024;
const ENTRIES = `(
  select event_id, origin, schema_name, table_name, row_pk, sqlstate, error, attempts, quarantined_at,
         event->>'operation' as operation, event as body, 'failed' as kind, null as blocker
    from syncline.quarantine
  union all
  select parked_id, origin, schema_name, table_name, row_pk, '23505',
         'a row of a higher version has a value that this one claims', 1, parked_at, 'UPDATE', image, 'parked', blocker
    from syncline.parked) as entries`;
const CURSOR = [UUID];

export async function listQuarantine(database: Queryable, query: QuarantineQuery): Promise<Page<Quarantined>> {
  const { table, region, cursor, limit } = query;
  const conditions = new Conditions();
  if (table !== undefined) addTable(conditions, table);
  if (region !== undefined) conditions.add('origin = ?', region);
  if (cursor !== undefined) conditions.add('event_id < ?::uuid', ...decodeCursor(cursor, CURSOR));
  const { rows } = await database.query(
    `select event_id, origin, schema_name, table_name, row_pk::text as row_pk, sqlstate, left(error, 10000) as error,
            attempts, to_char(quarantined_at at time zone 'UTC', ${ISO}) as quarantined_at, event_bytes, fits,
            operation, kind, blocker, case when listed then body::text end as body
       from (select q.*, row_number() over newest = 1
                      or sum(case when listed then event_bytes else 0 end) over newest <= ${PAGE_BYTES_MAX} as fits
               from (select *, octet_length(body::text) as event_bytes,
                            octet_length(body::text) <= ${EVENT_BYTES_MAX} as listed
                       from ${ENTRIES} where ${conditions.sql}
                      order by event_id desc limit ${limit + 1}) as q
             window newest as (order by q.event_id desc)) as l
      order by event_id desc`,
    conditions.values,
  );
  return toPage(rows, limit, toQuarantined, (row) => [String(row.event_id)]);
}

function toQuarantined(row: TextRow): Quarantined {
  const isParked = row.kind === 'parked';
  const body = row.body == null ? null : (JSON.parse(row.body) as unknown);
  return {
    kind: isParked ? 'parked' : 'failed',
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
    event: isParked ? null : body,
    image: isParked ? (body as Quarantined['image']) : null,
    blocker: row.blocker == null ? null : (JSON.parse(row.blocker) as string[]),
    event_bytes: Number(row.event_bytes),
  };
}
