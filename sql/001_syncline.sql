-- The tables of Syncline. They are the only thing that it puts into a user's database; nothing here
-- hangs on a user's table, and `drop schema syncline cascade` removes all of it.
--
-- Positions are `epoch:lsn` and compare as text, so they are collated "C". A `rel` is a table's
-- schema-qualified, quoted name; a `key` is the canonical text of a row's key, '' for a whole table.
-- Tables through which traffic passes are small and churn, so autovacuum looks at them by count.

-- Single values: the schema's version, the token that tells one history of the database from another.
create table syncline.meta (
  key   text primary key,
  value text not null
);

-- Who serves this region. The holder renews its row; while it is young, another agent stands back.
create table syncline.lease (
  name         text primary key,
  holder       text not null,
  run          bigint not null,
  -- Backends of the holder, which may keep slot and origins after it died.
  backend_pids integer[] not null default '{}',
  taken_at     timestamptz not null default clock_timestamp(),
  renewed_at   timestamptz not null default clock_timestamp()
) with (fillfactor = 50);

-- One mark per origin: how far its stream is applied. Whatever is not above it was applied already.
create table syncline.applied (
  origin     text collate "C" primary key,
  position   text collate "C" not null,
  event_id   uuid not null,
  log_offset bigint not null,
  updated_at timestamptz not null default clock_timestamp()
) with (
  -- Every batch updates its row; with room on the page the update touches no index.
  fillfactor = 10,
  autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000
);

-- Notes of applied batches: at this WAL position, under the batch's locks, these were the marks.
create table syncline.applied_at (
  xid      xid8 not null,
  lsn      pg_lsn not null,
  origin   text collate "C" not null,
  seen     jsonb not null,
  max_hlc  bigint not null,
  noted_at timestamptz not null default clock_timestamp()
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
create index on syncline.applied_at (lsn);

-- Exact versions of the rows that a batch wrote, one row per batch and table: entry n of each array
-- belongs to one row. An entry holds while the tuple's xmin is the batch's xid.
create table syncline.row_version (
  xid       xid8 not null,
  rel       text collate "C" not null,
  -- The commit timestamp that the batch's tuples carry, in Unix microseconds.
  stamp     bigint not null,
  origin    text collate "C" not null,
  epoch     text collate "C" not null,
  keys      text[] collate "C" not null,
  hlcs      bigint[] not null,
  lsns      bigint[] not null,
  event_ids uuid[] not null
) with (
  autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
  toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 20000
);
-- Compressing costs more than the bytes are worth: the rows live for seconds.
alter table syncline.row_version
  alter column keys set storage external,
  alter column hlcs set storage external,
  alter column lsns set storage external,
  alter column event_ids set storage external;
create index on syncline.row_version (xid);
create index on syncline.row_version (stamp);

-- Deleted rows, and emptied tables (key ''): what an older write that comes late is held against.
create table syncline.tombstone (
  rel      text collate "C" not null,
  key      text collate "C" not null,
  hlc      bigint not null,
  origin   text collate "C" not null,
  position text collate "C" not null,
  event_id uuid not null,
  primary key (rel, key)
) with (
  fillfactor = 80,
  autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 2000
);
create index on syncline.tombstone (hlc);

-- Rows to look at again once every transaction below the horizon has ended: a removal found none, or a local write is
-- gone that may not be.
create table syncline.look_again (
  look_id     bigint generated always as identity primary key,
  schema_name text not null,
  table_name  text not null,
  rel         text collate "C" not null,
  key         text collate "C" not null,
  pk          json not null,
  -- The event to put back; null for a removal.
  restores    json,
  hlc         bigint not null,
  origin      text collate "C" not null,
  horizon     xid8 not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
create index on syncline.look_again (rel, key);

create table syncline.conflict_log (
  conflict_id         uuid primary key,
  event_id_a          uuid,
  event_id_b          uuid,
  schema_name         text not null,
  table_name          text not null,
  row_pk              jsonb not null,
  resolution_strategy text not null,
  winner_event_id     uuid,
  loser_hlc           bigint not null,
  loser_origin        text collate "C" not null,
  winner_hlc          bigint not null,
  winner_origin       text collate "C" not null,
  image_a             jsonb,
  image_b             jsonb,
  base_image          jsonb,
  result_image        jsonb,
  -- Until the winner is stable, a higher one may still come.
  provisional         boolean not null default true,
  resolved_at         timestamptz not null default clock_timestamp(),
  first_seen          timestamptz not null default clock_timestamp()
);
create index on syncline.conflict_log (resolved_at, conflict_id);
create index on syncline.conflict_log (schema_name, table_name, resolved_at, conflict_id);
create index on syncline.conflict_log (winner_hlc) where provisional;

-- Events that could not be applied, whole, with the reason.
create table syncline.quarantine (
  event_id       uuid primary key,
  origin         text collate "C" not null,
  schema_name    text not null,
  table_name     text not null,
  rel            text collate "C" not null generated always as
    ('"' || replace(schema_name, '"', '""') || '"."' || replace(table_name, '"', '""') || '"') stored,
  key            text collate "C" not null,
  row_pk         json not null,
  hlc            bigint not null,
  position       text collate "C" not null,
  event          json not null,
  sqlstate       text not null,
  error          text not null,
  quarantined_at timestamptz not null default clock_timestamp(),
  attempts       integer not null default 1
);
create index on syncline.quarantine (rel, key);

-- The links that end in this region, with their policy.
create table syncline.link (
  link_id                       text collate "C" primary key,
  source_region                 text collate "C" not null,
  target_region                 text collate "C" not null,
  status                        text not null default 'active'
    check (status in ('active', 'paused', 'degraded', 'decommissioned')),
  last_acked_event_id           uuid,
  updated_at                    timestamptz not null default clock_timestamp(),
  mode                          text not null default 'async' check (mode in ('async', 'sync')),
  lag_slo_ms                    bigint,
  bandwidth_limit_bytes_per_s   bigint,
  failover_priority             integer not null default 0,
  tables                        jsonb
) with (fillfactor = 50);

-- Moves a mark on from where the caller believes it to be. An error of its own, rather than a count of
-- rows, because the statements behind it are on their way already and must not be committed.
create function syncline.advance_mark(
  of_origin text, expected text, new_position text, new_event_id uuid, new_log_offset bigint
) returns void language plpgsql as $$
begin
  update syncline.applied
     set position = new_position, event_id = new_event_id, log_offset = new_log_offset, updated_at = clock_timestamp()
   where origin = of_origin and position = expected;
  if found then
    return;
  end if;
  if expected is null then
    insert into syncline.applied (origin, position, event_id, log_offset)
    values (of_origin, new_position, new_event_id, new_log_offset)
    on conflict do nothing;
    if found then
      return;
    end if;
  end if;
  raise exception 'the mark of % is not at %', of_origin, coalesce(expected, 'its start') using errcode = 'SYA07';
end
$$;

-- A transaction id above that of every transaction that has written anything so far. A snapshot alone
-- does not tell: its xmax is one past the newest id that has *ended*, and younger ones may be at work.
-- So an id is drawn in a subtransaction and given up at once, which makes it the newest that has ended.
create function syncline.next_horizon() returns xid8 language plpgsql as $$
begin
  begin
    perform from syncline.meta where key = 'schema_version' for update;
    raise exception using errcode = 'SYX01';
  exception when sqlstate 'SYX01' then
    null;
  end;
  return pg_snapshot_xmax(pg_current_snapshot());
end
$$;
