-- The history of rows that merge: their events that are not stable yet, and how each row stands to them.
create table syncline.history (
  rel          text collate "C" not null,
  -- Empty for an event on every row.
  key          text collate "C" not null,
  hlc          bigint not null,
  origin       text collate "C" not null,
  event_index  int not null,
  event        json not null,
  primary key (rel, key, hlc, origin, event_index)
) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000);
create index on syncline.history (hlc);

-- One row for each with a history: the base below it, and what its own region has not captured yet.
create table syncline.merge_state (
  schema_name  text not null,
  table_name   text not null,
  rel          text collate "C" not null generated always as
    ('"' || replace(schema_name, '"', '""') || '"."' || replace(table_name, '"', '""') || '"') stored,
  key          text collate "C" not null,
  row_pk       json not null,
  -- The highest stamp of its events.
  hlc          bigint not null,
  state        json not null,
  -- Up to where the own stream must have come back before the row is looked at again.
  visit_at     pg_lsn,
  primary key (rel, key)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000);
create index on syncline.merge_state (visit_at) where visit_at is not null;

-- Whether a row could be in a table: each value is read by its column's type, with its length and range, domains and their
-- checks included; the constraints are those that are given. It asks nothing of the table itself.
create function syncline.is_valid_row(rel regclass, image jsonb, not_null text[], checks text[]) returns boolean
language plpgsql stable set search_path = pg_catalog as $$
declare
  is_valid boolean;
begin
  if exists (select from unnest(not_null) c where image -> c is null or image -> c = 'null') then
    return false;
  end if;
  execute format('select %s from jsonb_populate_record(null::%s, $1) r',
    coalesce((select string_agg(format('((%s) is not false)', c), ' and ') from unnest(checks) c),
      'r is not distinct from r'), rel)
    into is_valid using image;
  return is_valid;
exception
  -- Data that a type does not take, whatever it says; anything else is a fault of the world.
  when data_exception or integrity_constraint_violation or invalid_text_representation then
    return false;
end $$;

-- By which version of a merge rule a conflict ended; null for last writer wins.
alter table syncline.conflict_log add column merge_version text;
