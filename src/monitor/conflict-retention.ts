/**
 * Keeps the conflict log within its bounds: the oldest final records go, some at a time, so that no lock is long and the
 * lane never waits. Records that may still change stay: dropped, they would come back as new ones. Those that can never
 * be final go as well.
 */
import type { Queryable } from '../platform/standing-connection.ts';

export type ConflictBounds = { readonly max_age_days: number; readonly max_records: number };

/** Records in one statement, and statements in one call. */
const CHUNK = 2_000;
const CHUNKS_MAX = 100;

const MAY_GO = `(not provisional or provisional_reason = 'forgotten')`;

/** Drops the oldest of those made before a time; $1 the time. */
const DROP = `
delete from syncline.conflict_log where ctid = any (array(
  select ctid from syncline.conflict_log
  where resolved_at < $1::timestamptz and ${MAY_GO}
  order by resolved_at, conflict_id limit ${CHUNK}))`;

/** When the oldest of the newest records was made that are not too many. */
const LAST_TO_STAY = `
select resolved_at from syncline.conflict_log order by resolved_at desc, conflict_id desc offset $1::bigint - 1 limit 1`;

/** Returns how many records it dropped; what is left over goes with the next call. */
export async function dropOldConflicts(database: Queryable, bounds: ConflictBounds): Promise<number> {
  const age = await database.query('select clock_timestamp() - make_interval(days => $1::int) as before', [
    String(bounds.max_age_days),
  ]);
  const lastToStay = await database.query(LAST_TO_STAY, [String(bounds.max_records)]);
  let dropped = await drop(database, age.rows[0]?.before ?? null);
  dropped += await drop(database, lastToStay.rows[0]?.resolved_at ?? null);
  return dropped;
}

async function drop(database: Queryable, before: string | null): Promise<number> {
  if (before === null) return 0;
  let dropped = 0;
  for (let chunk = 0; chunk < CHUNKS_MAX; chunk += 1) {
    const { rowCount } = await database.query(DROP, [before]);
    dropped += rowCount;
    if (rowCount < CHUNK) break;
  }
  return dropped;
}
