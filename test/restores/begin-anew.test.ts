// A log that is damaged for good: what the agents say, and the way on that docs/begin-anew.md describes.

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { streamPaths } from '../../src/log/embedded/stream-file.ts';
import { linkFrom } from '../support/agent-client.ts';
import { Cluster } from '../support/cluster.ts';
import { run } from '../support/command.ts';
import { waitFor } from '../support/wait-for.ts';

/** Agents are started meanwhile. */
const LIMIT_MS = 120_000;
const ALL = 'select * from item order by id';

test('after the log of one region was damaged, all regions begin anew', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'syncline-anew-'));
  await using cleanup = new AsyncDisposableStack();
  cleanup.defer(async () => await rm(directory, { recursive: true, force: true }));
  const schema = 'create table item (id int primary key, note text not null)';
  const cluster = cleanup.use(await Cluster.start({ schema, log: `{ type: embedded, path: ${directory} }` }));
  const [eu, us, ap] = [cluster.region('eu'), cluster.region('us'), cluster.region('ap')];
  await eu.sql("insert into item values (1, 'everywhere')");
  await cluster.settle();

  for (const region of cluster.regions) assert.equal(await region.stopAgent(), 0);
  await eu.sql("insert into item values (2, 'of eu alone')");
  await writeFile(streamPaths(directory, 'eu').database, 'no stream any more');
  const refused = await run(['agent', '-c', eu.configPath]);
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /SYN-L009/);
  for (const region of [us, ap]) region.startAgent();
  await waitFor(async () => (await linkFrom('eu', us)).reason?.code === 'SYN-L009', {
    what: 'us to say why the link from eu rests',
    limitMs: LIMIT_MS,
  });
  await us.sql("insert into item values (3, 'of us')");
  await waitFor(async () => (await ap.one('select note from item where id = 3')) === 'of us', {
    what: 'the other links to go on',
    limitMs: LIMIT_MS,
  });
  const files = cluster.regions.flatMap(({ configPath }) => ['-c', configPath]);
  const compared = await run(['verify', ...files]);
  assert.equal(compared.code, 1);

  for (const region of [us, ap]) assert.equal(await region.stopAgent(), 0);
  for (const { configPath } of cluster.regions) {
    const { code, stderr } = await run(['uninstall', '--yes', '--log', '-c', configPath]);
    assert.equal(code, 0, stderr);
  }
  await eu.sql("insert into item values (3, 'of us')");
  for (const region of [us, ap]) await region.sql("insert into item values (2, 'of eu alone')");

  await cluster.startAgents();
  for (const region of cluster.regions) {
    await region.sql(`insert into item values (10 + ascii('${region.name}'), 'begun anew in ${region.name}')`);
    await region.sql(`update item set note = note || ', and ${region.name}' where id = 1`);
    await cluster.settle();
  }
  const rows = await cluster.equal(ALL);
  assert.equal(rows.length, 6);
  assert.deepEqual(rows[0], ['1', 'everywhere, and eu, and us, and ap']);
});
