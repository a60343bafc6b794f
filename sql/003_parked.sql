-- Parked rows: two rows that claim one value of a secondary unique key (or exclude each other) cannot both be in their
-- table. The one of the lower version is here instead, whole, in every region, and comes back by itself. It is one row with
-- its table's: its version is compared with those of later events like a tuple's.
create table syncline.parked (
  -- Names the row alike in all regions.
  parked_id    uuid not null,
  schema_name  text not null,
  table_name   text not null,
  rel          text collate "C" not null generated always as
    ('"' || replace(schema_name, '"', '""') || '"."' || replace(table_name, '"', '""') || '"') stored,
  key          text collate "C" not null,
  row_pk       json not null,
  image        json not null,
  hlc          bigint not null,
  origin       text collate "C" not null,
  -- Null where only the row's commit timestamp told its version.
  position     text collate "C",
  event_id     uuid,
  -- The key of the row that it was last seen to be blocked by.
  blocker      text collate "C" not null,
  parked_at    timestamptz not null default clock_timestamp(),
  primary key (rel, key)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
create unique index on syncline.parked (parked_id);
create index on syncline.parked (rel, hlc, origin, key);

-- Told in every decision about a parked row: anybody may emit a message into the WAL, but only who may read this decides.
insert into syncline.meta (key, value) values ('decision_secret', gen_random_uuid()::text);
