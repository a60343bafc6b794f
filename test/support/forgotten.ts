/** Makes a server forget when its transactions were committed. */
import type { ClusterRegion } from './cluster.ts';

/** As autovacuum does at the latest after 200 million transactions. */
export async function freezeEverything(region: ClusterRegion): Promise<void> {
  await region.sql('alter database template0 allow_connections true');
  for (const [name] of await region.sql('select datname from pg_database')) {
    const client = await region.session(region.server.url(name ?? ''));
    await client.query('vacuum (freeze)');
    await client.end();
  }
  await region.sql('checkpoint');
}
