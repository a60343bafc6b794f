/** Makes a server forget when its transactions were committed. */

import { connect } from '../../src/platform/postgres.ts';
import type { EmbeddedPostgres } from '../../src/platform/servers/embedded-postgres.ts';

/** As autovacuum does at the latest after 200 million transactions. */
export async function freezeEverything(server: Pick<EmbeddedPostgres, 'url'>): Promise<void> {
  await using client = await connect(server.url('postgres'), { applicationName: 'test' });
  await client.query('alter database template0 allow_connections true');
  for (const [name] of (await client.queryArrays('select datname from pg_database')).rows) {
    await using session = await connect(server.url(name ?? ''), { applicationName: 'test', statementTimeoutMs: 0 });
    await session.query('vacuum (freeze)');
  }
  await client.query('checkpoint');
}
