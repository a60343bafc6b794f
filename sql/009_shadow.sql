-- Merge rules that run in the shadow of what is in effect: conflicts of which nothing can change any more, what became of them
-- and what the other version would have made of them. Each region keeps its own; they come out the same.

-- Conflicts that are still to be judged, as the row's history had them when it was forgotten.
create table syncline.merge_shadow_case (
  case_id      bigint generated always as identity primary key,
  version_id   text collate "C" not null,
  schema_name  text not null,
  table_name   text not null,
  row_pk       json not null,
  -- The row's fold before the event, the event, and the row behind it.
  state        json not null,
  event        json not null,
  result       json not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- By kind: conflicts, differences, skipped, and failure:… for each reason.
create table syncline.merge_shadow (
  version_id   text collate "C" not null,
  kind         text collate "C" not null,
  amount       bigint not null,
  updated_at   timestamptz not null default clock_timestamp(),
  primary key (version_id, kind)
) with (fillfactor = 50);

-- The newest of those that came out differently, or failed.
create table syncline.merge_shadow_sample (
  version_id    text collate "C" not null,
  event_id      uuid not null,
  row_pk        jsonb not null,
  hlc           bigint not null,
  origin        text collate "C" not null,
  -- The version in effect; null for last writer wins.
  merge_version text collate "C",
  failure       text,
  base_image    json,
  image_a       json,
  image_b       json,
  result_image  json,
  shadow_image  json,
  redacted      text[] not null default '{}',
  primary key (version_id, event_id, row_pk)
);
create index on syncline.merge_shadow_sample (version_id, hlc, origin, event_id);
