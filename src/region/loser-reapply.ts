/**
 * Writes what lost a conflict again, at an operator's request. Over a connection of its own: it may wait for a lock, and
 * nothing of the agent may wait behind it.
 */
import { type Reapplied, writeLoser } from '../apply/sql/loser-write.ts';
import type { Lease } from '../capture/lease.ts';
import type { Config } from '../platform/config.ts';
import type { Logger } from '../platform/logger.ts';
import { connect } from '../platform/postgres.ts';
import { isTableIncluded } from '../platform/table-filter.ts';

/** A request has ten seconds. */
const REAPPLY_MS_MAX = 8_000;
const REAPPLY_LOCK_MS_MAX = 3_000;

export async function reapplyLoser(
  { database, tables }: Pick<Config, 'database' | 'tables'>,
  lease: Lease,
  logger: Logger,
  conflictId: string,
): Promise<Reapplied> {
  await using client = await connect(database, {
    applicationName: lease.applicationName('reapply'),
    statementTimeoutMs: REAPPLY_MS_MAX,
    lockTimeoutMs: REAPPLY_LOCK_MS_MAX,
  });
  const done = await writeLoser(client, conflictId, (schema, table) => isTableIncluded(tables, schema, table));
  const { schema_name, table_name, operation, rows } = done;
  const table = `${schema_name}.${table_name}`;
  logger.info({ conflict_id: conflictId, table, operation, rows }, 'what lost was written again');
  return done;
}
