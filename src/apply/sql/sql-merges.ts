/** The statements on what is kept of rows that merge (sql/007_history.sql), and the rows that they read and write. */
import { hlcFromText } from '../../change/hlc.ts';
import { lsnToText } from '../../change/position.ts';
import type { HistoryEntry, KeptMerge, MergeEntry, MergeKey, RowHistory, RowKey, ShadowEntry } from '../apply-port.ts';

export const WAL_POSITION = 'select pg_current_wal_insert_lsn()';

/** States first: a row of which nothing else is kept has one. */
export const MERGES = `
select m.key, m.state, null::json as event from syncline.merge_state m
where m.rel = $1::text and m.key = any ($2::text[])
union all
select h.key, null, h.event from syncline.history h
where h.rel = $1::text and h.key = any ($2::text[])`;

export const MERGE_KEYS = 'select key, row_pk from syncline.merge_state where rel = $1::text';

export const ADD_HISTORY = `
insert into syncline.history (rel, key, hlc, origin, event_index, event)
select $1::text, i.key, i.hlc, i.origin, i.event_index, i.event
from json_to_recordset($2::json) as i(key text, hlc bigint, origin text, event_index int, event json)
on conflict do nothing`;

export const PUT_MERGES = `
insert into syncline.merge_state (schema_name, table_name, key, row_pk, hlc, state, visit_at)
select $1::text, $2::text, i.key, i.row_pk, i.hlc, i.state, i.visit_at
from json_to_recordset($3::json) as i(key text, row_pk json, hlc bigint, state json, visit_at pg_lsn)
on conflict (rel, key) do update
set row_pk = excluded.row_pk, hlc = excluded.hlc, state = excluded.state, visit_at = excluded.visit_at`;

/** $2 keys, $3 stamps, $4 origins, $5 whether all that is kept goes: one of each for a row. */
export const DROP_HISTORY = `
with dropped as (
  select * from unnest($2::text[], $3::bigint[], $4::text[], $5::boolean[]) as d(key, hlc, origin, whole)
), states as (
  delete from syncline.merge_state m using dropped d where m.rel = $1::text and m.key = d.key and d.whole
)
delete from syncline.history h using dropped d
where h.rel = $1::text and h.key = d.key and (d.whole or (h.hlc, h.origin) <= (d.hlc, d.origin))`;

/** Conflicts for versions in shadow that wait at once: judging lags behind for a while, and then they are only counted. */
const SHADOWS_MAX = 20_000;

export const PUT_SHADOWS = `
with room as (
  select greatest(0, ${SHADOWS_MAX} - (select count(*) from syncline.merge_shadow_case)) as rows
), cases as (
  select i.*, row_number() over () <= room.rows as fits
  from json_to_recordset($3::json) as i(version_id text, row_pk json, state json, event json, result json), room
), kept as (
  insert into syncline.merge_shadow_case (version_id, schema_name, table_name, row_pk, state, event, result)
  select version_id, $1::text, $2::text, row_pk, state, event, result from cases where fits
)
insert into syncline.merge_shadow as s (version_id, kind, amount)
select version_id, 'skipped', count(*) from cases where not fits group by version_id
on conflict (version_id, kind) do update set amount = s.amount + excluded.amount, updated_at = clock_timestamp()`;

export const ARE_VALID = `
select syncline.is_valid_row($1::text::regclass, i.image, i.not_null, i.checks)
from rows from (jsonb_to_recordset($2::jsonb) as (image jsonb, not_null text[], checks text[]))
  with ordinality as i(image, not_null, checks, place)
order by place`;

export const MERGES_TO_VISIT = `
select schema_name, table_name, key, row_pk, hlc from syncline.merge_state
where visit_at <= $1::pg_lsn order by visit_at limit $2::bigint`;

/** Events on every row are kept with each row that they concern, so those that are stable are of use for retried events only. */
export const DROP_STABLE_TRUNCATES = `
delete from syncline.history h where key = '' and hlc <= $1::bigint
  and not exists (select from syncline.quarantine q where q.rel = h.rel)`;

/** Histories of quarantined rows stay: an event that is retried has its place in them. */
export const MERGES_TO_PRUNE = `
select m.schema_name, m.table_name, m.key, m.row_pk, m.hlc
from (
  select rel, key, min(hlc) as lowest from syncline.history h where hlc <= $1::bigint and key <> ''
    and not exists (select from syncline.quarantine q where q.rel = h.rel and q.key = h.key)
    and not exists (select from syncline.quarantine q where q.rel = h.rel and q.key = '')
  group by rel, key order by lowest limit $2::bigint
) h join syncline.merge_state m on m.rel = h.rel and m.key = h.key`;

type StoredEvent = Omit<HistoryEntry, 'version'> & { readonly hlc: string; readonly origin: string };

export function historyRecords(rows: readonly RowHistory[]): string {
  return JSON.stringify(
    rows.flatMap(({ key, entries }) =>
      entries.map(({ version: { hlc, origin }, ...entry }) => ({
        key,
        hlc: String(hlc),
        origin,
        event_index: entry.index,
        event: { ...entry, hlc: String(hlc), origin },
      })),
    ),
  );
}

export function shadowRecords(cases: readonly ShadowEntry[]): string {
  return JSON.stringify(
    cases.map(({ version_id, pk, state, event: { version, ...event }, result }) => ({
      version_id,
      row_pk: pk,
      state: JSON.parse(state),
      event: { ...event, hlc: String(version.hlc), origin: version.origin },
      result: { image: result },
    })),
  );
}

export function mergeRecords(rows: readonly MergeEntry[]): string {
  return JSON.stringify(
    rows.map(({ key, pk, hlc, state, visit_at }) => ({
      key,
      row_pk: pk,
      hlc: String(hlc),
      state: JSON.parse(state),
      visit_at: visit_at === null ? null : lsnToText(visit_at),
    })),
  );
}

/** From the rows of `MERGES`. */
export function toMerges(rows: readonly (readonly (string | null)[])[]): Map<RowKey, KeptMerge> {
  const kept = new Map<RowKey, { state: string | null; events: HistoryEntry[] }>();
  for (const [key, state, event] of rows) {
    if (key == null) continue;
    const known = kept.get(key) ?? { state: null, events: [] };
    kept.set(key, known);
    if (state != null) known.state = state;
    if (event != null) known.events.push(toEntry(event));
  }
  return kept;
}

function toEntry(text: string): HistoryEntry {
  const { hlc, origin, merge, ...entry } = JSON.parse(text) as StoredEvent;
  return { ...entry, merge, version: { hlc: hlcFromText(hlc.padStart(19, '0')), origin } };
}

export function toMergeKey(row: { readonly [column: string]: string | null }): MergeKey {
  return {
    schema: row.schema_name ?? '',
    table: row.table_name ?? '',
    key: row.key ?? '',
    pk: JSON.parse(row.row_pk ?? '{}'),
    hlc: BigInt(row.hlc ?? 0),
  };
}
