/**
 * The tables below a partitioned one, without a lock on any of them.
 *
 * `pg_partition_tree` locks every partition in passing. A user who has one of them to himself, for an hour perhaps, would hold up
 * whoever only asks for names, and who holds up others besides: two locks in turn are a deadlock, and the user may be its victim.
 */

/** The oids of the table with that oid, an expression, and of its partitions at any depth; heirs of a table are none. */
export const partitionsSql = (oid: string): string => `
  with recursive partition (oid) as (
    select ${oid} union all
    select i.inhrelid from partition join pg_inherits i on i.inhparent = partition.oid
      join pg_class c on c.oid = i.inhrelid where c.relispartition and not i.inhdetachpending
  ) select oid from partition`;
