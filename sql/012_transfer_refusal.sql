-- Why rows of a table cannot be told one by one; null where they can. Partitions are found without pg_partition_tree, which locks
-- each in passing: a user who has one of them to himself would hold up who asks, and could be the victim of the deadlock.
create or replace function syncline.transfer_refusal(table_oid oid) returns text language sql stable as $$
  with recursive part (oid) as (
    select table_oid union all
    select i.inhrelid from part join pg_inherits i on i.inhparent = part.oid
      join pg_class c on c.oid = i.inhrelid where c.relispartition and not i.inhdetachpending
  )
  select case
    when exists (
      select from pg_index i
       where i.indrelid in (select oid from part) and (i.indisunique or i.indisexclusion) and not i.indisprimary)
      then 'it has a unique index or an exclusion constraint beside its key'
    when exists (
      select from syncline.merge_version v join pg_class c on c.oid = table_oid
         join pg_namespace n on n.oid = c.relnamespace
       where v.schema_name = n.nspname and v.table_name = c.relname)
      then 'its rows merge'
  end
$$;
