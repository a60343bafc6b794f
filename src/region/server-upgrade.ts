/**
 * An upgrade of a region's server by pg_upgrade.
 *
 * The new cluster has the rows, the transaction ids and the WAL positions of the old one, and neither its commit timestamps nor
 * its replication origins, nor slots of a server before 17. So the region is brought to rest first (`rest-watch.ts`), and notes
 * what was committed by then. In the new cluster, all of that counts as from before the stream began, below every event, and
 * the slot is made anew, with a new epoch.
 *
 * The note holds only for the next start, and only in another cluster: an agent that starts in the old one applies again.
 */
import type { Rest, Unrest } from '../apply/rest-watch.ts';
import type { Lease } from '../capture/lease.ts';
import { clusterOf, otherCluster } from '../capture/own-database.ts';
import { rowsOf } from '../capture/publish/unpublished-rows.ts';
import { noteBeginsAnew } from '../capture/slot/slot.ts';
import { captureName } from '../capture/tables/publication.ts';
import type { Config } from '../platform/config.ts';
import { fail } from '../platform/errors.ts';
import type { Logger } from '../platform/logger.ts';
import { connect, type PostgresClient, quoteIdent } from '../platform/postgres.ts';
import type { Queryable } from '../platform/standing-connection.ts';

const REST_KEY = 'at_rest';

/** Whether a region is ready for an upgrade of its server, and else what is waited for. */
export type Readiness = Rest | { readonly kind: 'unrest'; readonly waits: readonly (Unrest | 'baseline')[] };

/**
 * Notes that all that the snapshot sees is published, and is older than whatever is still to come. With it goes the id of the
 * transaction that notes it: pg_upgrade keeps which transaction wrote a row, and a dump does not.
 */
export async function noteRest(database: Queryable, snapshot: string): Promise<void> {
  await database.query(
    `insert into syncline.meta (key, value) values ($1, pg_current_xact_id()::xid::text || ' ' || $2)
     on conflict (key) do update set value = excluded.value`,
    [REST_KEY, snapshot],
  );
}

/**
 * Gives the publication of a region that was at rest what a newer server wants of it, before anybody looks for faults: from
 * PostgreSQL 18 on it refuses updates of tables with generated columns that are not published.
 */
export async function adaptPublication(client: PostgresClient, region: string): Promise<void> {
  const name = captureName(region);
  const { rows } = await client.query(
    `select 1 from pg_publication p where pubname = $1 and to_jsonb(p) ->> 'pubgencols' = 'n'`,
    [name],
  );
  if (rows.length === 0 || !(await isUpgraded(client))) return;
  await client.query(`alter publication ${quoteIdent(name)} set (publish_generated_columns = stored)`);
}

async function isUpgraded(client: PostgresClient): Promise<boolean> {
  const { rows } = await client.query(`select to_regclass('syncline.meta') is not null as known`);
  if (rows[0]?.known !== 't') return false;
  const { was, here } = await clusterOf(client);
  return was !== null && was !== here && (await readNote(client)) !== null;
}

async function readNote(client: PostgresClient): Promise<string | null> {
  const { rows } = await client.query(
    `select split_part(value, ' ', 2) as snapshot from syncline.meta where key = $1 and split_part(value, ' ', 1) = xmin::text`,
    [REST_KEY],
  );
  return rows[0]?.snapshot ?? null;
}

/**
 * Goes on in the cluster that the database is in: in another one than before only where the region was at rest, SYN-K020, and
 * nothing was written since, SYN-K032.
 */
export async function enterCluster(config: Config, lease: Lease, logger: Logger, signal: AbortSignal): Promise<void> {
  // After an upgrade all published tables are read, however long that takes.
  const applicationName = lease.applicationName('upgrade');
  const client = await connect(config.database, { applicationName, statementTimeoutMs: 0, signal });
  try {
    await lease.assertHeld();
    const { was, here } = await clusterOf(client);
    const snapshot = await readNote(client);
    if (was === null || was === here) {
      await client.query('delete from syncline.meta where key = $1', [REST_KEY]);
      return;
    }
    if (snapshot === null) throw otherCluster(config.region, was, here);
    await checkNothingWritten(client, config.region, snapshot);
    await noteBeginsAnew(client, here, REST_KEY);
    logger.info(
      { was, here },
      'the server was upgraded: what it holds counts as from before, and the slot is made anew',
    );
  } finally {
    await client.end();
  }
}

/** What is committed now and was not at rest is in no stream. */
async function checkNothingWritten(client: PostgresClient, region: string, snapshot: string): Promise<void> {
  const { rows: tables } = await client.query(
    'select schemaname, tablename from pg_publication_tables where pubname = $1 order by 1, 2',
    [captureName(region)],
  );
  const written: string[] = [];
  for (const { schemaname, tablename } of tables) {
    if (schemaname == null || tablename == null) continue;
    const { rows } = await client.query(
      `select count(*) as rows from ${await rowsOf(client, { schema: schemaname, table: tablename })} as t
         cross join (select pg_snapshot_xmax(pg_current_snapshot())::text::bigint as newest) as n
       where not pg_visible_in_snapshot(
         (n.newest - ((n.newest - t.xmin::text::bigint) & 4294967295))::text::xid8, $1::pg_snapshot)`,
      [snapshot],
    );
    const count = Number(rows[0]?.rows ?? 0);
    if (count > 0) written.push(`${count} row(s) of ${schemaname}.${tablename}`);
  }
  if (written.length === 0) return;
  throw fail('SYN-K032', `after region ${region} was at rest were written: ${written.join(', ')}`, {
    context: { region },
  });
}
