/**
 * How many rows the next batch of a link may have.
 *
 * Batches are kept short in time: a lane that holds locks for less than the server's deadlock_timeout is never the reason for a
 * user's transaction to be chosen as a victim. So one that took long makes the next one smaller, and others make it larger.
 *
 * A batch of few rows that takes long does not take it for its rows: the database is far, or the machine has no time for it. Smaller
 * ones would take as long each, and a link that is behind would fall behind for ever, by a row at a time. So time makes a batch
 * no smaller than `ROWS_OF_TIME_MIN`. A lock that a user holds does, down to a single row, since that may be the one that is free.
 */

/** Half of PostgreSQL's default deadlock_timeout. */
const BATCH_MS_MAX = 500;
/** Rows that take longer than `BATCH_MS_MAX` together only where each takes 2 ms. */
export const ROWS_OF_TIME_MIN = 250;

/** After a batch that was applied in so many milliseconds. */
export function rowsAfter(rowsMax: number, durationMs: number, batchRowsMax: number): number {
  const larger = Math.min(batchRowsMax, rowsMax * 2);
  if (durationMs <= BATCH_MS_MAX) return larger;
  return rowsMax <= ROWS_OF_TIME_MIN ? Math.min(larger, ROWS_OF_TIME_MIN) : Math.max(ROWS_OF_TIME_MIN, rowsMax >> 1);
}

/** After a batch that met a lock. */
export const rowsAfterLock = (rowsMax: number): number => Math.max(1, rowsMax >> 1);
