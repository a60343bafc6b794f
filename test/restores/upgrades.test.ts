// Agents of two versions beside each other: who may upgrade the schema of a region, who is refused by it, and what a link does
// whose source writes in a format that its target does not know yet.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, before, describe, test } from 'node:test';
import { streamPaths } from '../../src/log/embedded/stream-file.ts';
import { knownMigrations } from '../../src/platform/migrations.ts';
import { freePort } from '../../src/platform/servers/free-port.ts';
import { agentStatus, linkFrom } from '../support/agent-client.ts';
import { Cluster, type ClusterRegion } from '../support/cluster.ts';
import { run } from '../support/command.ts';
import { waitFor } from '../support/wait-for.ts';

/** Agents are started meanwhile. */
const LIMIT_MS = 120_000;
const SCHEMA = 'create table item (id int primary key, note text not null)';
const VERSION = "select value from syncline.meta where key = 'schema_version'";
const setVersion = (version: number): string =>
  `update syncline.meta set value = '${version}' where key = 'schema_version'`;

describe('the schema of a region', () => {
  let cluster: Cluster;
  let eu: ClusterRegion;
  let us: ClusterRegion;
  let newest: number;
  before(async () => {
    newest = (await knownMigrations()).length;
    cluster = await Cluster.start({ regions: ['eu', 'us'], schema: SCHEMA });
    eu = cluster.region('eu');
    us = cluster.region('us');
  });
  after(async () => await cluster?.[Symbol.asyncDispose]());

  test('is not upgraded under an agent that is at work', async () => {
    const other = (await cluster.configOf('eu')).replace(
      /127\.0\.0\.1:\d+" \}\npeers/,
      `127.0.0.1:${await freePort()}" }\npeers`,
    );
    const path = `${eu.configPath}.other.yaml`;
    await writeFile(path, other);
    await eu.sql(setVersion(newest - 1));
    const { code, stderr } = await run(['agent', '-c', path]);
    assert.equal(code, 1);
    assert.match(stderr, /SYN-K005/);
    assert.equal(await eu.one(VERSION), String(newest - 1));
    await eu.sql(setVersion(newest));
  });

  test('is never met by an agent that was stopped while another one upgraded it', async () => {
    const { agent } = eu;
    assert.ok(agent !== null);
    agent.kill('SIGSTOP');
    // What an agent of a newer version does once the lease is old.
    await eu.sql(
      `update syncline.lease set holder = 'newer', taken_at = now(), renewed_at = now() + interval '1 hour'`,
    );
    await eu.sql(`select pg_terminate_backend(pid) from pg_stat_activity
                   where datname = current_database() and application_name like 'syncline/%'`);
    await eu.sql(setVersion(newest + 1));
    const marks = await eu.sql('select * from syncline.applied order by origin');
    await us.sql(`insert into item values (1, 'while eu is upgraded')`);
    const ended = once(agent, 'exit');
    agent.kill('SIGCONT');
    assert.deepEqual(await ended, [1, null]);
    eu.agent = null;
    assert.match(eu.output, /SYN-L005/);
    assert.deepEqual(await eu.sql('select * from syncline.applied order by origin'), marks);
    assert.equal(await eu.one('select count(*) from item'), '0');
  });

  test('refuses an agent of an older version, which says how to go on and how to go back', async () => {
    const lease = await eu.sql('select * from syncline.lease');
    const { code, stderr } = await run(['agent', '-c', eu.configPath]);
    assert.equal(code, 1);
    assert.match(stderr, /SYN-P015/);
    assert.match(stderr, new RegExp(`version ${newest + 1}, and this version of Syncline knows ${newest}`));
    assert.match(stderr, /restore .* from before the upgrade, or run `syncline uninstall`/);
    assert.deepEqual(await eu.sql('select * from syncline.lease'), lease);

    await eu.sql(setVersion(newest));
    await eu.sql(`update syncline.lease set renewed_at = '-infinity'`);
    await cluster.startAgents();
    await cluster.settle();
    assert.deepEqual(await cluster.equal('select * from item'), [['1', 'while eu is upgraded']]);
  });
});

test('a link whose source goes on in a newer format stops there, and goes on once its region is upgraded', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'syncline-newer-'));
  await using cleanup = new AsyncDisposableStack();
  cleanup.defer(async () => await rm(directory, { recursive: true, force: true }));
  const cluster = cleanup.use(await Cluster.start({ schema: SCHEMA, log: `{ type: embedded, path: ${directory} }` }));
  const [eu, us, ap] = ['eu', 'us', 'ap'].map((name) => cluster.region(name)) as [
    ClusterRegion,
    ClusterRegion,
    ClusterRegion,
  ];
  await cluster.settle();
  await stopAgents(cluster);
  const change = (sql: string): void => {
    const database = new DatabaseSync(streamPaths(directory, 'us').database);
    database.exec(sql);
    database.close();
  };

  await us.sql(`insert into item values (1, 'of the old version')`);
  await publishAll(us);
  const last = lastOffset(directory, 'us');
  await us.sql(`insert into item values (2, 'of the new version')`);
  await us.sql(`update item set note = 'changed by the new version' where id = 1`);
  await publishAll(us);
  change(`UPDATE record SET kind = kind + 256 WHERE "offset" > ${last}`);

  for (const region of [eu, ap]) region.startAgent();
  for (const region of [eu, ap]) {
    await waitFor(async () => (await linkFrom('us', region)).reason?.code === 'SYN-L012', {
      what: 'the link to stop',
      limitMs: LIMIT_MS,
    });
    const { status, reason } = await linkFrom('us', region);
    assert.equal(status, 'degraded');
    assert.match(reason?.detail ?? '', /format 2; this version reads format 1/);
    assert.deepEqual(await region.sql('select * from item'), [['1', 'of the old version']]);
  }
  await ap.sql(`insert into item values (3, 'meanwhile')`);
  await waitFor(async () => (await eu.one('select note from item where id = 3')) === 'meanwhile', {
    what: 'the other links to go on',
    limitMs: LIMIT_MS,
  });
  assert.equal((await linkFrom('us', eu)).reason?.code, 'SYN-L012');
  // Nor does it go on after a restart of the same version.
  await eu.killAgent();
  eu.startAgent();
  await waitFor(async () => (await linkFrom('us', eu)).reason?.code === 'SYN-L012', {
    what: 'the link to stop again',
    limitMs: LIMIT_MS,
  });
  // The source itself, back with the older version, does not go on as if nothing were there: its capture stops, or its agent ends
  // where it had such a record back by its own stream.
  const agent = us.startAgent();
  const hasEnded = () => agent.exitCode !== null;
  await waitFor(async () => hasEnded() || (await agentStatus(us)).capture.problem?.code === 'SYN-L012', {
    what: () => `capture to stop; the agent printed:\n${us.output}`,
    limitMs: LIMIT_MS,
  });
  if (hasEnded()) {
    assert.equal(await us.stopAgent(), 1);
    assert.match(us.output, /SYN-L012/);
  }

  await stopAgents(cluster);
  // All three know it from here on.
  change('UPDATE record SET kind = kind - 256 WHERE kind >= 256');
  await cluster.startAgents();
  await cluster.settle();
  assert.deepEqual(await cluster.equal('select * from item order by id'), [
    ['1', 'changed by the new version'],
    ['2', 'of the new version'],
    ['3', 'meanwhile'],
  ]);
});

async function stopAgents(cluster: Cluster): Promise<void> {
  for (const region of cluster.regions) assert.equal((await region.stopAgent()) ?? 0, 0);
}

/** With its agent alone, which is stopped again. */
async function publishAll(region: ClusterRegion): Promise<void> {
  region.startAgent();
  await region.agentReady();
  const written = await region.one('select pg_current_wal_insert_lsn()');
  await waitFor(
    async () =>
      (await region.one(`select bool_and(confirmed_flush_lsn >= '${written}') from pg_replication_slots`)) === 't',
    { what: `${region.name} to publish everything`, limitMs: LIMIT_MS },
  );
  await region.stopAgent();
}

function lastOffset(directory: string, stream: string): number {
  const database = new DatabaseSync(streamPaths(directory, stream).database, { readOnly: true });
  const row = database.prepare('SELECT max("offset") AS last FROM record').get();
  database.close();
  return Number(row?.last);
}
