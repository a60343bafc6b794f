-- Tables that are published after replication has begun: what each region says of one. Replicated as the registry of merge
-- rules is; a region writes only rows that carry its name.
create table syncline.transfer (
  schema_name text collate "C" not null,
  table_name  text collate "C" not null,
  region      text collate "C" not null,
  -- Grows where a region publishes the table after others have been told of its rows.
  generation  bigint not null,
  state       text not null check (state in ('absent', 'refused', 'published', 'sealed', 'ready', 'done')),
  -- Nothing that was written before the seal is stamped above it.
  sealed_at   bigint,
  reason      text,
  -- Whether the region published the table once and does so no more.
  is_former   boolean not null default false,
  rows_total  bigint,
  rows_told   bigint not null default 0,
  updated_at  timestamptz not null default clock_timestamp(),
  primary key (schema_name, table_name, region)
) with (fillfactor = 50);
alter table syncline.transfer replica identity full;

-- What this region keeps while it tells of a table's rows, and no other region is told.
create table syncline.transfer_hold (
  rel        text collate "C" primary key,
  generation bigint not null,
  -- Exact versions of tuples that are stamped above it are kept; 0 while it is not known.
  above      bigint not null default 0,
  -- What was committed when the table was sealed.
  sealed     text not null,
  -- The key of the last row that was told.
  told       json
) with (fillfactor = 50);

-- Why rows of a table cannot be told one by one; null where they can.
create function syncline.transfer_refusal(table_oid oid) returns text language sql stable as $$
  select case
    when exists (
      select from pg_index i
       where i.indrelid in (select table_oid union select relid from pg_partition_tree(table_oid))
         and (i.indisunique or i.indisexclusion) and not i.indisprimary)
      then 'it has a unique index or an exclusion constraint beside its key'
    when exists (
      select from syncline.merge_version v join pg_class c on c.oid = table_oid
         join pg_namespace n on n.oid = c.relnamespace
       where v.schema_name = n.nspname and v.table_name = c.relname)
      then 'its rows merge'
  end
$$;
