/**
 * Constraints that a partition has by itself, and the table that it is a part of has not.
 *
 * Rows of a partitioned table are captured, compared and applied as rows of that table, by the constraints that it has. What excludes
 * rows in one partition alone is unknown there: of two rows that two regions write at once, each region would refuse the one of the
 * other and keep its own; and a check that can be deferred would never fire, and let both in.
 *
 * An index that a partition has from its parent is a partition of the parent's index. ATTACH takes one for that whose check can be
 * deferred, though the parent's cannot: such an index counts as well. An index with the rule of an inherited one does not count, since it
 * excludes nothing more: REINDEX CONCURRENTLY has such a copy for as long as it works. Nor does one with the rule of an index of the
 * table itself, to which it is yet to be attached: that rule is known.
 *
 * Read from the catalog alone: nothing here opens a partition, and so nothing waits for whoever has one to himself.
 */
import { partitionsSql } from './partitions.ts';

/** Where an expression stood in its statement is no part of it, and copies of an index have lost it. */
const expressionSql = (expression: string): string =>
  `regexp_replace(${expression}::text, ':location -?[0-9]+', '', 'g')`;

/** What an index compares, and how: the same for two that exclude the same rows. */
const ruleSql = (index: string): string => `(
  select jsonb_build_array(
           jsonb_agg(jsonb_build_array(a.attname, ${index}.indclass[place - 1], ${index}.indcollation[place - 1]) order by place),
           ${expressionSql(`${index}.indexprs`)}, ${expressionSql(`${index}.indpred`)},
           to_jsonb(${index}) -> 'indnullsnotdistinct')
    from generate_series(1, ${index}.indnkeyatts) as place
    left join pg_attribute a on a.attrelid = ${index}.indrelid and a.attnum = ${index}.indkey[place - 1])`;

/**
 * Such constraints of all partitions of the partitioned table with that oid, an expression: `partition_oid`, `index_oid`, `name`;
 * `constraint_oid`, null where it is an index alone; `is_deferrable`; and `is_inherited`, where its index is, and it counts for
 * the time of its check.
 */
export const partitionConstraintsSql = (root: string): string => `
  select own.partition_oid, own.index_oid, own.name, own.constraint_oid, own.is_deferrable, own.is_inherited
    from (
      select x.indrelid as partition_oid, x.indexrelid as index_oid, coalesce(k.conname, i.relname) as name,
             k.oid as constraint_oid, not x.indimmediate as is_deferrable, h.inhrelid is not null as is_inherited
        from (${partitionsSql(root)}) as p
        join pg_index x on x.indrelid = p.oid and (x.indisunique or x.indisexclusion) and x.indislive
        join pg_class i on i.oid = x.indexrelid
        left join pg_constraint k on k.conindid = x.indexrelid and k.conrelid = x.indrelid and k.contype in ('p', 'u', 'x')
        left join pg_inherits h on h.inhrelid = x.indexrelid
        left join pg_index up on up.indexrelid = h.inhparent
       where p.oid <> ${root}
         and case when x.indimmediate then h.inhrelid is null else coalesce(up.indimmediate, true) end
      -- Rules are told of these few alone.
      offset 0) as own
    join pg_index mine on mine.indexrelid = own.index_oid
   where own.is_deferrable or mine.indisexclusion or not exists (
     select from pg_index known
      where known.indrelid in (${root}, own.partition_oid) and known.indisunique and known.indislive and known.indisready
        and not known.indisexclusion
        and (known.indrelid <> own.partition_oid or exists (select from pg_inherits where inhrelid = known.indexrelid))
        and ${ruleSql('known')} = ${ruleSql('mine')})`;
