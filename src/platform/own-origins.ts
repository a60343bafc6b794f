/**
 * Names of the replication origins under which Syncline applies: they are known in the whole cluster of databases, so the name
 * begins with the database that it is of.
 */
import type { PostgresClient } from './postgres.ts';

/** What the names of a database's own origins begin with; a region's name follows. */
export const originPrefix = (databaseOid: string): string => `syncline_${databaseOid}_`;

/** The same as an expression of SQL, of the database that is connected to. */
export const OWN_ORIGIN_PREFIX =
  "'syncline_' || (select d.oid from pg_database d where d.datname = current_database()) || '_'";

/** The same, of the database that the client is connected to. */
export async function ownOriginPrefix(client: PostgresClient): Promise<string> {
  const { rows } = await client.query(`select ${OWN_ORIGIN_PREFIX} as prefix`);
  return rows[0]?.prefix ?? '';
}
