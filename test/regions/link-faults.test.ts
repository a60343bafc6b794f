/** What is wrong with a link is shown for as long as it is wrong, and no longer, whatever else happens meanwhile. */
import assert from 'node:assert/strict';
import { mkdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { linkFrom } from '../support/agent-client.ts';
import { Cluster, type ClusterRegion } from '../support/cluster.ts';
import { waitFor } from '../support/wait-for.ts';

const SCHEMA = 'create table item (id int primary key, note text)';
const LIMIT_MS = 60_000;

let cluster: Cluster;
let eu: ClusterRegion;
let us: ClusterRegion;
before(async () => {
  cluster = await Cluster.start({ regions: ['eu', 'us'], schema: SCHEMA, config: 'apply: { on_error: stop }' });
  [eu, us] = [cluster.region('eu'), cluster.region('us')];
});
after(async () => await cluster?.[Symbol.asyncDispose]());

async function untilLink(status: 'active' | 'degraded'): Promise<void> {
  await waitFor(async () => (await linkFrom('eu', us)).status === status, {
    what: `the link to be ${status}`,
    limitMs: LIMIT_MS,
  });
}

describe('a link', () => {
  test('whose acknowledgements failed is active again with the next one that succeeds', async () => {
    await cluster.settle();
    const folder = /path: (\S+?),? /.exec(await cluster.configOf('eu'))?.[1] ?? '';
    const file = join(folder, 'eu/acks/us.ack');
    // Nothing is put in the place of a folder that holds something.
    await waitFor(async () => (await stat(file)).isFile(), { what: 'a first acknowledgement', limitMs: LIMIT_MS });
    const replace = async (): Promise<boolean> => {
      await rm(file, { force: true });
      // Fails where the agent has acknowledged in between.
      await mkdir(file);
      return true;
    };
    await waitFor(replace, { what: 'a folder in the place of the acknowledgement', limitMs: LIMIT_MS });
    await writeFile(join(file, 'something'), '');
    await eu.sql(`insert into item values (1, 'while nothing is acknowledged')`);
    await untilLink('degraded');
    await cluster.settle();
    await rm(file, { recursive: true });
    await untilLink('active');
  });

  test('that stood still when the database was lost, and is mended by then, is active again', async () => {
    await us.sql('alter table item drop column note');
    await eu.sql(`insert into item values (2, 'what cannot be applied')`);
    await untilLink('degraded');
    await us.sql(`alter table item add column note text;
      select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'syncline/us/%/apply'`);
    await untilLink('active');
    await cluster.settle();
    assert.equal(await us.one('select note from item where id = 2'), 'what cannot be applied');
  });
});
