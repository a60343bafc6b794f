/** A hot standby of a region's server, and its taking the region's place. */
import { appendFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { EmbeddedPostgres } from '../../src/platform/servers/embedded-postgres.ts';
import type { ClusterRegion } from './cluster.ts';
import { placeData } from './older-copy.ts';

/** Streams from the region on from that copy of its disk, which is used up. */
export async function standbyFrom(
  region: ClusterRegion,
  copy: string,
  settings: Readonly<Record<string, string>> = {},
): Promise<EmbeddedPostgres> {
  const standby = await EmbeddedPostgres.start({ version: region.server.version });
  await standby.stop();
  const { dataDirectory } = standby;
  await rm(dataDirectory, { recursive: true });
  await rename(copy, dataDirectory);
  const url = new URL(region.server.url(region.database));
  const password = decodeURIComponent(url.password);
  const conninfo = `host=127.0.0.1 port=${url.port} user=postgres password=${password} dbname=${region.database}`;
  const lines = Object.entries({ primary_conninfo: conninfo, ...settings }).map(
    ([name, value]) => `${name} = '${value}'\n`,
  );
  await appendFile(join(dataDirectory, 'postgresql.conf'), lines.join(''));
  await writeFile(join(dataDirectory, 'standby.signal'), '');
  await standby.restart();
  return standby;
}

/** Promotes the standby, which is up; the region's own server is down. */
export async function takesPlace(region: ClusterRegion, standby: EmbeddedPostgres): Promise<void> {
  const client = await region.session(standby.url(region.database));
  await client.query('select pg_promote()');
  await client.end();
  await standby.stop();
  await placeData(standby.dataDirectory, region);
  await region.server.restart();
}
