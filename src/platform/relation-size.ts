/**
 * The size of a relation, of the one with that oid, an expression; null where somebody has it to himself, or waits for that.
 *
 * `pg_relation_size` takes a lock for a moment, and would wait for as long as that takes.
 */
export const relationSizeSql = (oid: string): string => `
  case when ${oid} not in (
    select l.relation from pg_locks l join pg_database d on d.oid = l.database
     where l.mode = 'AccessExclusiveLock' and l.relation is not null and d.datname = current_database())
  then pg_relation_size(${oid}) end`;
