/**
 * Regions that hold rows before replication begins: joined where those are equal, and only there.
 */
import assert from 'node:assert/strict';
import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import type { ReplicationLink } from '../../src/monitor/agent-status.ts';
import { agentStatus, linkFrom, setLink } from '../support/agent-client.ts';
import { Cluster, type ClusterRegion } from '../support/cluster.ts';
import { waitFor } from '../support/wait-for.ts';

const SCHEMA = 'create table item (id int primary key, v text, n numeric)';
const FILL = (rows: number): string =>
  `insert into item select g, 'v ' || g, g / 3.0 from generate_series(1, ${rows}) g`;
const ALL = 'select id, v, n from item order by id';

/** Agents take long to start where many tests run at once. */
const limitMs = 120_000;

async function refused(source: string, target: ClusterRegion): Promise<ReplicationLink> {
  return await waitFor(
    async () => {
      const link = await linkFrom(source, target);
      return link.baseline.state === 'refused' && link;
    },
    { what: `${target.name} to refuse ${source}; its agent printed:\n${target.output.slice(-2_000)}`, limitMs },
  );
}

async function joined(source: string, target: ClusterRegion): Promise<ReplicationLink['baseline']> {
  return await waitFor(
    async () => {
      const { baseline } = await linkFrom(source, target);
      return !['waiting', 'refused'].includes(baseline.state) && baseline;
    },
    { what: `${target.name} to join ${source}; its agent printed:\n${target.output.slice(-2_000)}`, limitMs },
  );
}

/** Writes to rows from before and to new ones until it is told to stop; returns how many statements went through. */
async function writeUntil(region: ClusterRegion, rows: number, signal: AbortSignal): Promise<number> {
  const session = await region.session();
  let turn = 0;
  for (; !signal.aborted; turn += 1) {
    const id = ((turn * 7_919) % rows) + 1;
    await session.query(`update item set v = '${region.name} ${turn}' where id = ${id}`);
    if (turn % 3 === 0) await session.query(`delete from item where id = ${(id + 11) % rows}`);
    if (turn % 2 === 0) {
      const key = { eu: 1_000_000, us: 2_000_000, ap: 3_000_000 }[region.name] ?? 0;
      await session.query(`insert into item (id, v, n) values (${key + turn}, 'new', ${turn})`);
    }
  }
  await session.end();
  return turn;
}

test('equal rows, in PostgreSQL 15 and 18 and in another order of rows and columns, are joined under writes', async () => {
  await using cluster = await Cluster.start({ schema: '', agents: false, versions: { us: 15 } });
  const rows = 30_000;
  const [eu, us, ap] = cluster.regions;
  assert.ok(eu && us && ap);
  await eu.sql(SCHEMA);
  await eu.sql(FILL(rows));
  await us.sql('create table item (n numeric, v text, id int primary key)');
  await us.sql(`insert into item select g / 3.0, 'v ' || g, g from generate_series(${rows}, 1, -1) g`);
  await ap.sql(SCHEMA);
  await ap.sql(FILL(rows));
  await ap.sql('update item set v = v');
  const stop = new AbortController();
  for (const region of cluster.regions) region.startAgent();
  // Writers begin in each region as soon as its stream does, while the others may still read their rows.
  const writers = cluster.regions.map(async (region) => {
    await region.agentReady();
    return await writeUntil(region, rows, stop.signal);
  });
  for (const target of cluster.regions) {
    for (const { name } of cluster.regions) {
      if (name !== target.name) assert.equal((await joined(name, target)).state, 'equal');
    }
  }
  stop.abort();
  for (const writes of await Promise.all(writers)) assert.ok(writes > 0);
  await cluster.settle();
  await cluster.equal(ALL);
  const { baseline } = await agentStatus(us);
  assert.deepEqual([baseline.state, baseline.rows, baseline.percent], ['known', rows, 100]);
  // What is joined stays so, without a new comparison.
  await us.killAgent();
  us.startAgent();
  await us.agentReady();
  assert.equal((await joined('eu', us)).state, 'joined');
  await eu.sql(`update item set v = 'last' where id = 5`);
  await cluster.settle();
  await cluster.equal(ALL);
});

test('a region that starts weeks later finds what the others held, whatever they wrote meanwhile', async () => {
  await using cluster = await Cluster.start({ schema: SCHEMA, agents: false });
  const [eu, us, ap] = cluster.regions;
  assert.ok(eu && us && ap);
  for (const region of cluster.regions) await region.sql(FILL(300));
  for (const region of [eu, us]) region.startAgent();
  for (const region of [eu, us]) await region.agentReady();
  await joined('us', eu);
  await joined('eu', us);
  const waiting = await linkFrom('ap', eu);
  assert.equal(waiting.baseline.state, 'waiting');
  assert.deepEqual([waiting.status, waiting.reason], ['active', null]);
  await eu.sql(`update item set v = 'eu' where id <= 100`);
  await us.sql(`delete from item where id between 101 and 150`);
  await eu.sql(`insert into item values (999, 'eu', 1)`);
  await eu.killAgent();
  eu.startAgent();
  await eu.agentReady();
  ap.startAgent();
  await ap.agentReady();
  await cluster.settle();
  const rows = await cluster.equal(ALL);
  assert.equal(rows.length, 251);
  assert.equal((await joined('eu', ap)).state, 'equal');
});

test('different rows stop their links, on both sides, and no others; trust joins them once they are mended', async () => {
  await using cluster = await Cluster.start({ schema: SCHEMA, agents: false });
  const [eu, us, ap] = cluster.regions;
  assert.ok(eu && us && ap);
  for (const region of cluster.regions) await region.sql(FILL(1_000));
  await ap.sql(`update item set v = 'other' where id = 7`);
  await ap.sql('delete from item where id = 8');
  await cluster.startAgents();
  for (const [source, target] of [
    ['ap', eu],
    ['eu', ap],
    ['us', ap],
  ] as const) {
    const { status, reason, events_applied } = await refused(source, target);
    assert.equal(status, 'degraded');
    assert.equal(reason?.code, 'SYN-B001');
    assert.match(
      reason?.detail ?? '',
      /public\.item \(\d+ rows in \w+, \d+ in \w+; [12] of 64 parts of the keys differ\)/,
    );
    assert.equal(events_applied, 0);
  }
  assert.match((await refused('ap', eu)).reason?.detail ?? '', /1000 rows in eu, 999 in ap/);
  // The other links go on.
  await eu.sql(`update item set v = 'eu' where id = 1`);
  await us.sql(`update item set v = 'us' where id = 2`);
  await waitFor(async () => (await eu.one('select v from item where id = 2')) === 'us', { what: 'eu to follow us' });
  await waitFor(async () => (await us.one('select v from item where id = 1')) === 'eu', { what: 'us to follow eu' });
  assert.equal(await ap.one('select v from item where id = 1'), 'v 1');
  await setLink('ap', eu, 'paused');
  assert.equal((await linkFrom('ap', eu)).status, 'paused');
  await setLink('ap', eu, 'active');

  // A row that is written once more, if only as it is, is sent as a whole.
  await eu.sql('update item set v = v where id in (7, 8)');
  for (const region of cluster.regions) await region.stopAgent();
  for (const region of [eu, us]) {
    const config = await readFile(region.configPath, 'utf8');
    await writeFile(region.configPath, config.replace('region: ap,', 'region: ap, baseline: trust,'));
  }
  await appendFile(ap.configPath, 'baseline: trust\n');
  await cluster.startAgents();
  assert.equal((await joined('ap', eu)).state, 'trusted');
  assert.equal((await joined('us', ap)).state, 'trusted');
  assert.match(ap.output, /baseline: trust: rows from before replication began/);
  await cluster.settle();
  const rows = await cluster.equal(ALL);
  assert.equal(rows[6]?.[1], 'v 7');
  assert.equal(rows.length, 1_000);
});

test('trust reads nothing and says so; who does not trust is told that there is nothing to compare', async () => {
  await using cluster = await Cluster.start({ regions: ['eu', 'us'], schema: SCHEMA, agents: false });
  const [eu, us] = cluster.regions;
  assert.ok(eu && us);
  await eu.sql(FILL(10));
  await appendFile(eu.configPath, 'baseline: trust\n');
  await cluster.startAgents();
  assert.equal((await refused('eu', us)).reason?.code, 'SYN-B003');
  await joined('us', eu);
  const { baseline } = await agentStatus(eu);
  assert.deepEqual([baseline.state, baseline.rows], ['trusted', 0]);
});

test('killed amid the reading, an agent reads the same rows again, whatever was written meanwhile', async () => {
  await using cluster = await Cluster.start({ regions: ['eu', 'us'], schema: SCHEMA, agents: false });
  const [eu, us] = cluster.regions;
  assert.ok(eu && us);
  const rows = 400_000;
  for (const region of cluster.regions) await region.sql(FILL(rows));
  us.startAgent();
  for (let kills = 0; kills < 3; kills += 1) {
    eu.startAgent();
    // Its reading takes seconds from the beginning of the stream on, or from the start of the agent.
    const readers = `from pg_stat_activity where application_name like 'syncline/eu/%/baseline'`;
    await waitFor(async () => (await eu.sql(`select pid ${readers}`)).length > 0, {
      what: 'eu to read its rows',
      limitMs,
    });
    await eu.killAgent();
    await eu.sql(`select pg_terminate_backend(pid) ${readers}`);
    assert.equal(await eu.one(`select count(*) from syncline.meta where key = 'baseline'`), '0');
    await eu.sql(`update item set v = 'after ${kills}' where id between ${kills * 1_000} and ${kills * 1_000 + 1_500}`);
    await eu.sql(`delete from item where id between ${kills + 10_000} and ${kills + 10_100}`);
    await eu.sql(`insert into item values (${-1 - kills}, 'new', null)`);
  }
  eu.startAgent();
  await eu.agentReady();
  assert.equal((await joined('eu', us)).state, 'equal');
  assert.equal((await joined('us', eu)).state, 'equal');
  await cluster.settle();
  await cluster.equal('select count(*), md5(string_agg(item::text, chr(10) order by id)) from item');
});
