// A region that is taken out for good: what it published reaches all that stay, and nothing waits for it any more.

import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { agentStatus, setLink } from '../support/agent-client.ts';
import { Cluster, type ClusterRegion } from '../support/cluster.ts';
import { run } from '../support/command.ts';
import { waitFor } from '../support/wait-for.ts';

/** Agents are started meanwhile. */
const LIMIT_MS = 120_000;

const provisional = (region: ClusterRegion) =>
  region.one('select count(*) from syncline.conflict_log where provisional');

test('a region that is lost for good is taken out once all have what it published, and the others go on as two', async () => {
  await using cluster = await Cluster.start({ schema: 'create table item (id int primary key, note text not null)' });
  const [eu, us, ap] = ['eu', 'us', 'ap'].map((name) => cluster.region(name)) as [
    ClusterRegion,
    ClusterRegion,
    ClusterRegion,
  ];
  const staying = [eu, us];
  const noteOf = (region: ClusterRegion, id: number) => region.one(`select note from item where id = ${id}`);
  const until = async (id: number, note: string): Promise<void> => {
    for (const region of staying) {
      await waitFor(async () => (await noteOf(region, id)) === note, {
        what: () => `${region.name} to have ${id}: ${region.output.slice(-2_000)}`,
        limitMs: LIMIT_MS,
      });
    }
  };
  await eu.sql("insert into item values (1, 'everywhere')");
  await cluster.settle();

  // What only eu has heard of when ap is gone.
  await setLink('ap', us, 'paused');
  await ap.sql("insert into item values (2, 'the last of ap')");
  await waitFor(async () => (await noteOf(eu, 2)) !== null, { what: 'eu to have it', limitMs: LIMIT_MS });
  await ap.killAgent();
  await ap.server.stop('immediate');
  await setLink('us', eu, 'paused');
  await setLink('eu', us, 'paused');
  await eu.sql("update item set note = 'of eu' where id = 1");
  await us.sql("update item set note = 'of us' where id = 1");
  await setLink('us', eu, 'active');
  await setLink('eu', us, 'active');
  await until(1, 'of us');
  assert.equal(await noteOf(us, 2), null);
  for (const region of staying) {
    await waitFor(async () => (await provisional(region)) === '1', {
      what: `${region.name} to log it`,
      limitMs: LIMIT_MS,
    });
  }

  await setLink('ap', us, 'active');
  await until(2, 'the last of ap');
  for (const region of staying) {
    assert.equal(await region.stopAgent(), 0);
    const config = await readFile(region.configPath, 'utf8');
    await writeFile(region.configPath, config.replace(/^ {2}- \{ region: ap,.*\n/m, ''));
    region.startAgent();
    await region.agentReady();
  }
  for (const region of staying) {
    const name = region === eu ? 'us' : 'eu';
    assert.deepEqual(
      (await agentStatus(region)).links.map(({ source_region }) => source_region),
      [name],
    );
    await waitFor(async () => (await provisional(region)) === '0', {
      what: () => `the conflict to be final in ${region.name}: ${region.output.slice(-2_000)}`,
      limitMs: LIMIT_MS,
    });
    await region.sql(`insert into item values (${region === eu ? 10 : 11}, 'as two')`);
  }
  for (const id of [10, 11]) await until(id, 'as two');
  const compared = await run(['verify', '-c', eu.configPath, '-c', us.configPath]);
  assert.equal(compared.code, 0, compared.stdout);
});
