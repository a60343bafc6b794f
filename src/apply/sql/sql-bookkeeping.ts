/**
 * The statements on our own tables (sql/001_syncline.sql). Lists of records travel as one JSON parameter; 64-bit
 * integers in it are strings, which PostgreSQL reads without loss.
 */

import type { Image } from '../../change/change-event.ts';
import { hlcFromText } from '../../change/hlc.ts';
import { parsePosition } from '../../change/position.ts';
import { invariant } from '../../platform/assert.ts';
import type { TextValue } from '../../platform/postgres.ts';
import type { ConflictEntry, ParkedRow } from '../apply-port.ts';
import type { Redaction } from '../redaction.ts';
import type { ValueRow } from './sql-pipeline.ts';

export const LOAD_MARKS = 'select origin, position, event_id, log_offset from syncline.applied order by origin';

export const ADVANCE_MARK = 'select syncline.advance_mark($1::text, $2::text, $3::text, $4::uuid, $5::bigint)';

/** Reads the WAL position when it runs, so it is sent last, under all locks of the batch. */
export const NOTE = `
insert into syncline.applied_at (xid, lsn, origin, seen, max_hlc)
values (pg_current_xact_id(), pg_current_wal_insert_lsn(), $1::text, $2::jsonb, $3::bigint)
returning xid, lsn`;

/** $3 keys come one per line: a row key holds no line break. */
export const RECORD_VERSIONS = `
insert into syncline.row_version (xid, rel, stamp, origin, epoch, keys, hlcs, lsns, event_ids)
values (pg_current_xact_id(), $1::text, $2::bigint, $4::text, $5::text,
  string_to_array($3::text, e'\\n'), $6::bigint[], $7::bigint[], $8::uuid[])`;

/** $2 xids, $3 keys: pairs. */
export const EXACT_VERSIONS = `
select w.key, r.epoch, r.lsns[p], r.hlcs[p], r.event_ids[p]
from unnest($2::xid8[], $3::text[]) as w(xid, key)
join syncline.row_version r on r.xid = w.xid and r.rel = $1::text
cross join lateral array_position(r.keys, w.key) as p
where p is not null`;

/** The tombstones of these keys, and the table's own. */
export const TOMBSTONES = `
select key, hlc, origin, position, event_id from syncline.tombstone
where rel = $1::text and key = any ($2::text[])`;

export const PUT_TOMBSTONES = `
insert into syncline.tombstone as d (rel, key, hlc, origin, position, event_id)
select $1::text, i.key, i.hlc, $2::text, i.position, i.event_id
from unnest($3::text[], $4::bigint[], $5::text[], $6::uuid[]) as i(key, hlc, position, event_id)
on conflict (rel, key) do update
set hlc = excluded.hlc, origin = excluded.origin, position = excluded.position, event_id = excluded.event_id
where (excluded.hlc, excluded.origin) >= (d.hlc, d.origin)`;

/**
 * The WAL's end is read behind the statement's snapshot. That names no transaction in progress which is younger than all that
 * have ended, so these are counted by the sessions that have one.
 */
export const MOMENT = `
select (extract(epoch from clock_timestamp()) * 1000000)::bigint as micros, pg_current_snapshot() as snapshot,
  (select count(*) from pg_stat_activity where datname = current_database()
      and backend_xid is not null and pid <> pg_backend_pid())
    + (select count(*) from pg_prepared_xacts where database = current_database()) as open, pg_current_wal_insert_lsn() as lsn`;

export const KEPT = `
select (select count(*) from syncline.parked) as parked, (select count(*) from syncline.quarantine) as quarantined,
  (select count(*) from syncline.look_again) as looks, (select count(*) from syncline.row_version) as versions,
  (select count(*) from syncline.tombstone) as tombstones,
  (select count(*) from syncline.merge_state) + (select count(*) from syncline.history) as merges,
  (select count(*) from syncline.transfer_hold) as transfers`;

/**
 * Aborted transactions have no commit timestamp, so the first of some that has one tells the time. Ids below 3 are no
 * transactions: to ask for their time is an error.
 */
export const FORGOTTEN_TO = `
select c.oldest, (extract(epoch from (
    select known.time from generate_series(0, 99) as i,
      lateral (select (c.oldest + i) & 4294967295 as xid) as next,
      lateral (select case when next.xid >= 3 then pg_xact_commit_timestamp(next.xid::text::xid) end as time) as known
     where c.oldest >= 3 and known.time is not null order by i limit 1)) * 1000000)::bigint as micros
from (select oldest_commit_ts_xid::text::bigint as oldest from pg_control_checkpoint()) as c`;

export const PUT_LOOKS = `
with h as materialized (select syncline.next_horizon() as horizon)
insert into syncline.look_again (schema_name, table_name, rel, key, pk, restores, hlc, origin, horizon)
select i.schema_name, i.table_name, i.rel, i.key, i.pk, i.restores, i.hlc, i.origin, h.horizon
from h, json_to_recordset($1::json)
  as i(schema_name text, table_name text, rel text, key text, pk json, restores json, hlc bigint,
    origin text)`;

export const RIPE_LOOKS = `
select look_id, schema_name, table_name, key, pk, restores, hlc, origin,
  pg_snapshot_xmin(pg_current_snapshot()) as xmin, pg_snapshot_xmax(pg_current_snapshot()) as xmax
from syncline.look_again
where horizon <= pg_snapshot_xmin(pg_current_snapshot()) order by look_id limit $1::bigint`;

export const REMOVE_LOOKS = 'delete from syncline.look_again where look_id = any ($1::bigint[])';

const CONFLICT_COLUMNS = `conflict_id, event_id_a, event_id_b, schema_name, table_name, row_pk, resolution_strategy,
  winner_event_id, loser_hlc, loser_origin, winner_hlc, winner_origin, image_a, image_b, base_image, result_image,
  provisional, provisional_reason, merge_version, redacted`;

const CONFLICT_RECORDS = `json_to_recordset($1::json) as i(conflict_id uuid, event_id_a uuid, event_id_b uuid,
  schema_name text, table_name text, row_pk jsonb, resolution_strategy text, winner_event_id uuid, loser_hlc bigint,
  loser_origin text, winner_hlc bigint, winner_origin text, image_a jsonb, image_b jsonb, base_image jsonb,
  result_image jsonb, provisional boolean, provisional_reason text, merge_version text, redacted text[])`;

/** As the log keeps them: without the values that it is not to have. */
export function conflictRecords(entries: readonly ConflictEntry[], redaction: Redaction): string {
  return JSON.stringify(
    entries.map((whole) => {
      const { loser, winner, ...entry } = redaction.entry(whole);
      return {
        ...entry,
        loser_hlc: String(loser.hlc),
        loser_origin: loser.origin,
        winner_hlc: String(winner.hlc),
        winner_origin: winner.origin,
      };
    }),
  );
}

/** When a record was resolved stays as it was: lists are ordered by it, and nobody who pages may miss one. */
export const RECORD_CONFLICTS = `
insert into syncline.conflict_log as c (${CONFLICT_COLUMNS})
select ${CONFLICT_COLUMNS} from ${CONFLICT_RECORDS}
on conflict (conflict_id) do update
set event_id_a = coalesce(excluded.event_id_a, c.event_id_a), event_id_b = excluded.event_id_b,
  resolution_strategy = excluded.resolution_strategy, winner_event_id = excluded.winner_event_id,
  winner_hlc = excluded.winner_hlc, winner_origin = excluded.winner_origin,
  image_a = case when excluded.event_id_a is null then c.image_a else excluded.image_a end,
  image_b = excluded.image_b,
  base_image = case when excluded.event_id_a is null then c.base_image else excluded.base_image end,
  result_image = excluded.result_image, provisional_reason = excluded.provisional_reason,
  merge_version = excluded.merge_version,
  redacted = case when excluded.event_id_a is null
    then array(select distinct unnest(c.redacted || excluded.redacted) as name order by name)
    else excluded.redacted end
where c.provisional and (excluded.winner_hlc, excluded.winner_origin) > (c.winner_hlc, c.winner_origin)`;

export const PUT_CONFLICTS = `
insert into syncline.conflict_log as c (${CONFLICT_COLUMNS})
select ${CONFLICT_COLUMNS} from ${CONFLICT_RECORDS}
on conflict (conflict_id) do update
set event_id_a = excluded.event_id_a, event_id_b = excluded.event_id_b, row_pk = excluded.row_pk,
  resolution_strategy = excluded.resolution_strategy, winner_event_id = excluded.winner_event_id,
  winner_hlc = excluded.winner_hlc, winner_origin = excluded.winner_origin, image_a = excluded.image_a,
  image_b = excluded.image_b, base_image = excluded.base_image, result_image = excluded.result_image,
  provisional = excluded.provisional, provisional_reason = excluded.provisional_reason,
  merge_version = excluded.merge_version, redacted = excluded.redacted
where c.provisional`;

/** $1 ids, $2 losing and $3 winning events: triples. Those that are final already count as such, whatever they name. */
export const FINALISE_CONFLICTS = `
with wanted as (
  select * from unnest($1::uuid[], $2::uuid[], $3::uuid[]) as w(conflict_id, event_id_a, event_id_b)
), done as (
  update syncline.conflict_log c set provisional = false from wanted w
  where c.conflict_id = w.conflict_id and c.provisional and c.provisional_reason is null
    and c.event_id_a = w.event_id_a and c.event_id_b = w.event_id_b
  returning c.conflict_id
)
select conflict_id from wanted w
where not exists (select from done d where d.conflict_id = w.conflict_id)
  and not exists (select from syncline.conflict_log c where c.conflict_id = w.conflict_id and not c.provisional)`;

/** $1 from where on losses are undecided, $2 below what they may be lost, $3 where streams are read back from. */
export const SETTLE_CONFLICTS = `
with horizon as (
  insert into syncline.conflict_horizon (undecided_from, lost_below, offsets) values ($1::bigint, $2::bigint, $3::jsonb)
  on conflict (only_row) do update
  set undecided_from = excluded.undecided_from, lost_below = excluded.lost_below, offsets = excluded.offsets
), lost as (
  update syncline.conflict_log set provisional_reason = 'forgotten'
  where provisional and loser_hlc < $2::bigint and coalesce(provisional_reason, '') <> 'forgotten'
)
delete from syncline.conflict_log
where provisional and loser_hlc >= $2::bigint and loser_hlc < $1::bigint
  and coalesce(provisional_reason, '') <> 'forgotten'`;

export const CONFLICT_HORIZON = 'select undecided_from, lost_below, offsets from syncline.conflict_horizon';

export const RECORD_QUARANTINE = `
insert into syncline.quarantine as q
  (event_id, origin, schema_name, table_name, key, row_pk, hlc, position, event, sqlstate, error)
select i.event_id, i.origin, i.schema_name, i.table_name, i.key, i.row_pk, i.hlc, i.position, i.event::json,
  i.sqlstate, i.error
from json_to_recordset($1::json) as i(event_id uuid, origin text, schema_name text, table_name text, key text,
  row_pk json, hlc bigint, position text, event text, sqlstate text, error text)
on conflict (event_id) do update
set sqlstate = excluded.sqlstate, error = excluded.error, quarantined_at = clock_timestamp(), attempts = q.attempts + 1`;

export const QUARANTINED = `
select event_id, origin, schema_name, table_name, key, row_pk, hlc, position, event, sqlstate, error
from syncline.quarantine where event_id = any ($1::uuid[])`;

export const QUARANTINED_KEYS = 'select distinct key from syncline.quarantine where rel = $1::text';

/**
 * $3 and $4 the rows and their versions, $5 the columns of each as JSON, null for a removal: an event that has a column more, of which
 * nothing else here holds the value, stays. $6: only what stands for the result of many events, and not for one.
 */
export const SUPERSEDE_QUARANTINE = `
delete from syncline.quarantine q using unnest($3::text[], $4::bigint[], $5::text[]) as i(key, hlc, columns)
where q.rel = $1::text and q.key = i.key and (q.hlc, q.origin) < (i.hlc, $2::text)
  and (i.columns is null or not exists (
    select from json_object_keys(
      case json_typeof(q.event->'after_image') when 'object' then q.event->'after_image' else '{}' end) as c(name)
    where not i.columns::jsonb ? c.name))
  and (not $6::boolean or q.event->>'event_id' <> q.event_id::text)`;

export const REMOVE_QUARANTINE = 'delete from syncline.quarantine where event_id = any ($1::uuid[])';

export const WAL_ENDS = 'select pg_current_wal_insert_lsn() as inserted, pg_current_wal_flush_lsn() as flushed';

export const CLOCK = 'select (extract(epoch from clock_timestamp()) * 1000000)::bigint as micros';

const PARKED_COLUMNS = 'key, row_pk, image, hlc, origin, position, event_id, blocker';

export const PARKED_KEYS = 'select schema_name, table_name, key from syncline.parked';

export const PARKED = `select ${PARKED_COLUMNS} from syncline.parked where rel = $1::text and key = any ($2::text[])`;

/**
 * $2 hlc, $3 origin, $4 key: those of the row that the list begins behind; $5 how many. Three ranges of the index that has
 * that order, so that no row before them is read.
 */
export const PARKED_BELOW = `
select ${PARKED_COLUMNS} from (
  (select ${PARKED_COLUMNS} from syncline.parked
    where rel = $1::text and hlc = $2::bigint and origin = $3::text and key > $4::text order by key limit $5::bigint)
  union all
  (select ${PARKED_COLUMNS} from syncline.parked
    where rel = $1::text and hlc = $2::bigint and origin < $3::text order by origin desc, key limit $5::bigint)
  union all
  (select ${PARKED_COLUMNS} from syncline.parked
    where rel = $1::text and hlc < $2::bigint order by hlc desc, origin desc, key limit $5::bigint)) as p
order by hlc desc, origin desc, key limit $5::bigint`;

export const PUT_PARKED = `
insert into syncline.parked as p (parked_id, schema_name, table_name, key, row_pk, image, hlc, origin, position,
  event_id, blocker)
select i.parked_id, $1::text, $2::text, i.key, i.row_pk, i.image, i.hlc, i.origin, i.position, i.event_id, i.blocker
from json_to_recordset($3::json) as i(parked_id uuid, key text, row_pk json, image json, hlc bigint, origin text,
  position text, event_id uuid, blocker text)
on conflict (rel, key) do update
set row_pk = excluded.row_pk, image = excluded.image, hlc = excluded.hlc, origin = excluded.origin,
  position = excluded.position, event_id = excluded.event_id, blocker = excluded.blocker,
  parked_at = case when (p.hlc, p.origin) = (excluded.hlc, excluded.origin) then p.parked_at else excluded.parked_at end
where (excluded.hlc, excluded.origin) >= (p.hlc, p.origin)`;

export const DROP_PARKED = 'delete from syncline.parked where rel = $1::text and key = any ($2::text[])';

/** $2 hlc, $3 origin, $4 whether those of that very version go as well. */
export const DROP_PARKED_BELOW = `
delete from syncline.parked
where rel = $1::text and ((hlc, origin) < ($2::bigint, $3::text)
  or ($4::boolean and (hlc, origin) = ($2::bigint, $3::text)))
returning ${PARKED_COLUMNS}`;

/**
 * $1 the highest stable commit timestamp in µs, $2 how many. Versions of quarantined rows stay, and those that a look still needs: what it decides was put off, so it is not decided by anything that is stable by now. So do those of a batch between
 * whose rows and whose stamp the version of a row lies that is parked, in the quarantine, or to be put back: without them the rows would count as above it. And while the
 * rows of a table are told to others, old versions are compared with what was written meanwhile.
 */
export const PRUNE_VERSIONS = `
delete from syncline.row_version where ctid = any (array(
  select r.ctid from syncline.row_version r
  where r.stamp <= $1::bigint
    and not exists (select from syncline.quarantine q where q.rel = r.rel and q.key = any (r.keys))
    and not exists (select from syncline.look_again l where l.rel = r.rel and l.key = any (r.keys))
    and not exists (select from syncline.look_again l where l.rel = r.rel and l.key = '')
  and not exists (select from syncline.transfer_hold h where h.rel = r.rel and r.stamp > h.above >> 10)
  and not exists (
    select from syncline.parked p where p.rel = r.rel and p.hlc <= (r.stamp << 10) and p.hlc >= any (r.hlcs))
  and not exists (
    select from syncline.quarantine q where q.rel = r.rel and q.hlc <= (r.stamp << 10) and q.hlc >= any (r.hlcs))
  and not exists (
    select from syncline.look_again l where l.rel = r.rel and l.restores is not null
      and l.hlc <= (r.stamp << 10) and l.hlc >= any (r.hlcs))
  order by r.stamp limit $2::bigint))`;

/**
 * $1 the stable HLC, $2 how many. Tombstones of quarantined rows, and those a look still needs, stay: a table's own for any row, and
 * all where it is not known what rows a quarantined event concerns.
 * Each look is found by its row: one condition for both kinds would go through all looks of the table for each tombstone.
 */
export const PRUNE_TOMBSTONES = `
delete from syncline.tombstone where ctid = any (array(
  select d.ctid from syncline.tombstone d
  where d.hlc <= $1::bigint
    and not exists (select from syncline.look_again l where l.rel = d.rel and l.key = d.key)
    and not (d.key = '' and exists (select from syncline.look_again l where l.rel = d.rel))
    and not exists (select from syncline.quarantine q where q.rel = d.rel and q.key = d.key)
    and not exists (select from syncline.quarantine q where q.rel = d.rel and q.key = '' and q.hlc <= d.hlc)
    and not (d.key = '' and exists (select from syncline.quarantine q where q.rel = d.rel and q.hlc <= d.hlc))
  order by d.hlc limit $2::bigint))`;

/**
 * $1 the WAL position up to which transactions are published, $2 how many, $3 the slot of capture. The newest note below it stays: a
 * transaction that commits there has seen no later one. After a failover $1 may still be told of the server before; the slot
 * is this one's own, and while it is being made nothing is known to be published.
 */
export const PRUNE_NOTES = `
delete from syncline.applied_at where ctid = any (array(
  select ctid from syncline.applied_at
  where lsn < (select max(lsn) from syncline.applied_at where lsn < least($1::pg_lsn, case when $3::text is not null then
    coalesce((select confirmed_flush_lsn from pg_replication_slots where slot_name = $3), '0/0') end))
  order by lsn limit $2::bigint))`;

/**
 * $1 the highest stable commit timestamp in µs, $2 the WAL position up to which the own stream has come back, $3 how many. A tuple
 * whose signature is gone counts as a local write of its commit time. So that nothing is decided otherwise by that:
 * - its stamp and its commit time are stable, so that whatever still comes is above both;
 * - all that was committed here before it is echoed: an echo never touches what is local. (A later transaction of the lane is below that place.)
 * - no exact version of it is kept, for whatever reason, since none is looked for of what is local;
 * - nothing that waits, parked, to be put back or in the quarantine, has a version that it was above and then is not, or the other way round;
 * - no rows of a table are being told to others, who are told of local ones only.
 */
export const PRUNE_AUTHORS = `
delete from syncline.author where xid = any (array(
  select w.xid from syncline.author w
    cross join lateral (select pg_xact_commit_timestamp(w.tuple_xid) as committed) as c
    cross join lateral (select (extract(epoch from w.stamp) * 1000000)::bigint << 10 as stamp,
      (extract(epoch from c.committed) * 1000000)::bigint << 10 as committed) as h
    cross join lateral (select least(h.stamp, coalesce(h.committed, 0)) as low,
      greatest(h.stamp, coalesce(h.committed, 0)) + 1023 as high) as r
  where w.stamp <= timestamptz 'epoch' + $1::bigint * interval '1 microsecond'
    and coalesce(c.committed <= timestamptz 'epoch' + $1::bigint * interval '1 microsecond', true)
    and w.xid < greatest((select xid from syncline.author where lsn <= $2::pg_lsn order by lsn desc limit 1),
      (select xid from syncline.applied_at where lsn <= $2::pg_lsn order by lsn desc limit 1))
    and not exists (select from syncline.transfer_hold)
    and not exists (select from syncline.row_version v where v.xid = w.xid)
    and not exists (select from syncline.parked p where p.hlc between r.low and r.high)
    and not exists (select from syncline.look_again l where l.restores is not null and l.hlc between r.low and r.high)
    and not exists (select from syncline.quarantine q where q.hlc between r.low and r.high)
  order by w.stamp limit $3::bigint))`;

/** Capture goes by it for good: what it would resend of a time with signatures is refused. */
export const SAY_SIGNED = "insert into syncline.meta (key, value) values ('signed', 'true') on conflict do nothing";

export const HAS_AUTHORS = 'select exists (select from syncline.author) as found';

/** From the columns of `PARKED_COLUMNS`. */
export function toParked([key, pk, image, hlc, origin, position, event_id, blocker]: ValueRow): ParkedRow {
  return {
    key: text(key),
    pk: JSON.parse(text(pk)) as Image,
    image: JSON.parse(text(image)) as Image,
    hlc: hlcFromText(text(hlc)),
    origin: text(origin),
    position: position == null ? null : parsePosition(position),
    event_id: event_id ?? null,
    blocker: text(blocker),
  };
}

/** A column of our own tables that is not null. */
export function text(value: TextValue | undefined): string {
  invariant(typeof value === 'string', 'the columns of our own tables that are read here are not null');
  return value;
}
