-- The registry of merge rules: which versions there are, which region can run which, what is wanted and what is in
-- effect where. It has no channel of its own: these rows are replicated like those of users. A region writes only rows
-- that carry its name, so no two regions ever write the same one, and none of them can conflict.

-- What a rule says, under the hash of its content. A region that takes a version writes a copy of its own before it names
-- that version, so the version precedes its first use in every stream. Never changed once it is written.
create table syncline.merge_version (
  version_id    text collate "C" not null,
  region        text collate "C" not null,
  schema_name   text not null,
  table_name    text not null,
  definition    jsonb not null,
  registered_by text collate "C" not null,
  registered_at timestamptz not null default clock_timestamp(),
  primary key (version_id, region)
);

-- Whether a region can run a version; why not, where it cannot. It is ready once its histories of the table hold whatever may be
-- concurrent with an event to come: what it had applied before it kept them is stable by then.
create table syncline.merge_ack (
  version_id text collate "C" not null,
  region     text collate "C" not null,
  verdict    text not null check (verdict in ('ok', 'refused')),
  reason     text,
  is_ready   boolean not null default false,
  acked_at   timestamptz not null default clock_timestamp(),
  primary key (version_id, region)
);

-- What operators want, by the region where they said so. Of a table the row of the highest generation counts, and of
-- equal ones that of the higher region. A version that is null is last writer wins. `base_version_id` is for the rows that
-- a rollout spares, and where a rollback leads.
create table syncline.merge_intent (
  schema_name     text collate "C" not null,
  table_name      text collate "C" not null,
  region          text collate "C" not null,
  version_id      text collate "C",
  base_version_id text collate "C",
  mode            text not null check (mode in ('immediate', 'shadow', 'percent')),
  percent         integer not null check (percent between 0 and 100),
  generation      bigint not null,
  wanted_at       timestamptz not null default clock_timestamp(),
  primary key (schema_name, table_name, region)
);

-- What a region's events name: the intent (its generation, and the region where it was said) that it follows. Capture
-- reads changes of the own row from the WAL, where they stand between the changes that they are about.
create table syncline.merge_activation (
  schema_name     text collate "C" not null,
  table_name      text collate "C" not null,
  region          text collate "C" not null,
  version_id      text collate "C",
  base_version_id text collate "C",
  mode            text not null check (mode in ('immediate', 'shadow', 'percent')),
  percent         integer not null check (percent between 0 and 100),
  generation      bigint not null,
  decided_by      text collate "C" not null,
  activated_at    timestamptz not null default clock_timestamp(),
  primary key (schema_name, table_name, region)
);

alter table syncline.merge_version replica identity full;
alter table syncline.merge_ack replica identity full;
alter table syncline.merge_intent replica identity full;
alter table syncline.merge_activation replica identity full;
