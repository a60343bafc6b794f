/**
 * Names of the replication origins under which Syncline applies: they are known in the whole cluster of databases, so the name
 * begins with the database that it is of.
 */
import type { PostgresClient } from './postgres.ts';

/** What the names of a database's own origins begin with; a region's name follows. */
export const originPrefix = (databaseOid: string): string => `syncline_${databaseOid}_`;

/** The same, of the database that the client is connected to. */
export async function ownOriginPrefix(client: PostgresClient): Promise<string> {
  const { rows } = await client.query('select oid from pg_database where datname = current_database()');
  return originPrefix(rows[0]?.oid ?? '');
}
