/**
 * Tables that are published after replication has begun, with rows that differ from region to region, some older than
 * replication: they end equal, while users write in all regions and agents are killed.
 */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { agentStatus } from '../support/agent-client.ts';
import { Cluster, type ClusterRegion } from '../support/cluster.ts';
import { waitFor } from '../support/wait-for.ts';

const limitMs = 300_000;
/** Without a key a table is not replicated. */
const TABLE = 'create table big (id int not null, v text not null, n numeric)';
const PUBLISH = 'alter table big add primary key (id)';
const ALL = 'select id, v, n from big order by id';

async function isPublished(region: ClusterRegion): Promise<void> {
  await waitFor(
    async () => (await region.one("select count(*) from pg_publication_tables where tablename = 'big'")) === '1',
    { what: `${region.name} to publish the table; it printed:\n${region.output.slice(-2_000)}`, limitMs },
  );
}

/** Until every region has been told all rows of the table, in that generation or a later one. */
async function transferred(cluster: Cluster, table: string): Promise<void> {
  for (const region of cluster.regions) {
    await waitFor(
      async () =>
        (await region.one(
          `select count(*) filter (where state = 'done') = ${cluster.regions.length}
                  and not exists (select from syncline.transfer_hold)
             from syncline.transfer where table_name = '${table}'`,
        )) === 't',
      { what: `${region.name} to have all of ${table}; it printed:\n${region.output.slice(-2_000)}`, limitMs },
    );
  }
}

/** Until these regions have told each other all rows of the table, in the same generation. */
async function toldBy(regions: readonly ClusterRegion[]): Promise<void> {
  const names = regions.map(({ name }) => `'${name}'`).join(', ');
  for (const region of regions) {
    await waitFor(
      async () =>
        (await region.one(
          `select count(*) = ${regions.length} and count(distinct generation) = 1 and not exists (select from syncline.transfer_hold)
             from syncline.transfer where table_name = 'big' and state = 'done' and region in (${names})`,
        )) === 't',
      { what: `${region.name} to have all of the table; it printed:\n${region.output.slice(-2_000)}`, limitMs },
    );
  }
}

async function writeUntil(region: ClusterRegion, rows: number, signal: AbortSignal): Promise<number> {
  const session = await region.session();
  let turn = 0;
  for (; !signal.aborted; turn += 1) {
    const id = ((turn * 7_919) % rows) + 1;
    // Users leave the machine something for the rest.
    await session.query('select pg_sleep(0.01)');
    await session.query(`update big set v = '${region.name} ${turn}' where id = ${id}`);
    if (turn % 5 === 0) await session.query(`delete from big where id = ${((id + 11) % rows) + 1}`);
    if (turn % 2 === 0) {
      await session.query(
        `insert into big values (${rows + 1 + ((turn * 31) % rows)}, '${region.name} new ${turn}', 1) on conflict do nothing`,
      );
    }
  }
  await session.end();
  return turn;
}

test('that differ in three regions end equal, with writers in all and an agent that is killed meanwhile', async () => {
  await using cluster = await Cluster.start({ schema: '', agents: false });
  const rows = 10_000;
  const [eu, us, ap] = cluster.regions;
  assert.ok(eu && us && ap);
  for (const [place, region] of cluster.regions.entries()) {
    await region.sql(TABLE);
    // A third of the rows is missing in each, and of the others every region has its own value.
    await region.sql(
      `insert into big select g, 'old ${region.name} ' || g, g from generate_series(1, ${rows / 2}) g where g % 3 <> ${place}`,
    );
    region.startAgent();
  }
  for (const region of cluster.regions) await region.agentReady();
  const stop = new AbortController();
  for (const [place, region] of cluster.regions.entries()) {
    await region.sql(
      `insert into big select g, 'young ${region.name} ' || g, g from generate_series(${rows / 2 + 1}, ${rows}) g where g % 3 <> ${place}`,
    );
  }
  await eu.sql(PUBLISH);
  const writers = [writeUntil(eu, rows, stop.signal)];
  await us.sql(PUBLISH);
  writers.push(writeUntil(us, rows, stop.signal));
  await ap.sql(PUBLISH);
  writers.push(writeUntil(ap, rows, stop.signal));
  await waitFor(
    async () =>
      Number(await us.one(`select rows_told from syncline.transfer where region = 'us' and table_name = 'big'`)) > 0,
    { what: () => `us to tell rows; it printed:\n${us.output.slice(-2_000)}`, limitMs },
  );
  await us.killAgent();
  us.startAgent();
  await us.agentReady();
  await transferred(cluster, 'big');
  stop.abort();
  for (const writes of await Promise.all(writers)) assert.ok(writes > 0);
  await cluster.settle();
  const found = await cluster.equal(ALL);
  assert.ok(found.length > rows * 0.9, `${found.length} rows`);
  for (const region of cluster.regions) {
    assert.deepEqual((await agentStatus(region)).transfers, []);
    assert.equal(await region.one('select count(*) from syncline.quarantine'), '0');
  }
});

test('of a table that is renamed while they are told end equal under its new name', async () => {
  await using cluster = await Cluster.start({ regions: ['eu', 'us'], schema: TABLE });
  const [eu, us] = cluster.regions;
  assert.ok(eu && us);
  const rows = 10_000;
  for (const [place, region] of cluster.regions.entries()) {
    await region.sql(
      `insert into big select g, '${region.name} ' || g, g from generate_series(1, ${rows}) g where g % 3 <> ${place}`,
    );
  }
  for (const region of cluster.regions) await region.sql(PUBLISH);
  for (const region of cluster.regions) await isPublished(region);
  // So it is not told to its end under the old name. Such a lock has no transaction id, which the seal would wait for.
  const user = await us.session();
  // Test servers look for deadlocks sooner than the lane gives way by its lock timeout, which is all that it has as a plain role.
  await user.query("set deadlock_timeout = '20s'");
  await user.query('begin');
  await user.query('lock table big in exclusive mode');
  await waitFor(
    async () => (await agentStatus(us)).transfers.some(({ region, state }) => region === 'us' && state === 'ready'),
    { what: `us to tell rows; it printed:\n${us.output.slice(-2_000)}`, limitMs },
  );
  await user.query('alter table big rename to great');
  await user.query('commit');
  await user.end();
  await eu.sql('alter table big rename to great');
  await transferred(cluster, 'great');
  await cluster.settle();
  assert.equal((await cluster.equal('select id, v, n from great order by id')).length, rows);
});

test('are compared by when they were really written, and what was removed since then stays away', async () => {
  await using cluster = await Cluster.start({ schema: TABLE });
  const [eu, us, ap] = cluster.regions;
  assert.ok(eu && us && ap);
  await us.sql("insert into big values (1, 'first', 1), (3, 'removed in eu before', 1), (4, 'only here', null)");
  await eu.sql(
    "insert into big values (1, 'later, though told under a higher key range', 2), (2, 'removed in us since', 1)",
  );
  await ap.sql("insert into big values (2, 'of ap', 1), (5, 'older than the write since', 1)");
  await us.sql(PUBLISH);
  await eu.sql(PUBLISH);
  for (const region of [us, eu]) await isPublished(region);
  // The third one publishes last, so nothing is told yet, and these are in the streams.
  await us.sql("insert into big values (5, 'since', 5)");
  await us.sql("insert into big values (2, 'to be removed', 1)");
  await us.sql('delete from big where id = 2');
  await ap.sql(PUBLISH);
  await transferred(cluster, 'big');
  await cluster.settle();
  assert.deepEqual(await cluster.equal('select id, v from big order by id'), [
    ['1', 'later, though told under a higher key range'],
    ['3', 'removed in eu before'],
    ['4', 'only here'],
    ['5', 'since'],
  ]);
  await eu.sql("update big set v = 'and on' where id = 4");
  await cluster.settle();
  assert.deepEqual(await cluster.equal('select id, v from big where id = 4'), [['4', 'and on']]);
});

test('are refused with a code where they cannot be told, and writes since are replicated all the same', async () => {
  await using cluster = await Cluster.start({ schema: TABLE });
  const [eu, us] = cluster.regions;
  assert.ok(eu && us);
  for (const region of cluster.regions) await region.sql(`insert into big values (1, '${region.name}', 1)`);
  await us.sql('create unique index on big (n)');
  for (const region of cluster.regions) await region.sql(PUBLISH);
  await waitFor(
    async () =>
      (await agentStatus(eu)).problems
        .find(({ code }) => code === 'SYN-K031')
        ?.detail.includes('us: it has a unique index'),
    { what: `eu to tell that us refuses; it printed:\n${eu.output.slice(-2_000)}`, limitMs },
  );
  await isPublished(us);
  await eu.sql("insert into big values (2, 'since', 2)");
  await cluster.settle();
  assert.deepEqual(await cluster.equal('select id, v from big where id = 2'), [['2', 'since']]);
});

test('of a table that is dropped and made again in one region leave it empty there, which is told', async () => {
  await using cluster = await Cluster.start({
    schema: 'create table big (id int primary key, v text not null, n numeric)',
  });
  const [eu, us] = cluster.regions;
  assert.ok(eu && us);
  await eu.sql("insert into big values (1, 'of eu', 1)");
  await us.sql("insert into big values (2, 'of us', 2)");
  await cluster.settle();
  await us.sql('drop table big');
  await us.sql('create table big (id int primary key, v text not null, n numeric)');
  await waitFor(
    async () =>
      (await agentStatus(us)).problems.some(({ code, table }) => code === 'SYN-K031' && table === 'public.big'),
    { what: `us to tell that the table is another; it printed:\n${us.output.slice(-2_000)}`, limitMs },
  );
  await eu.sql("update big set v = 'since' where id = 2");
  await us.sql("insert into big values (3, 'since', 3)");
  await cluster.settle();
  assert.deepEqual(await us.sql('select id, v from big order by id'), [
    ['2', 'since'],
    ['3', 'since'],
  ]);
  assert.deepEqual(await eu.sql('select id, v from big order by id'), [
    ['1', 'of eu'],
    ['2', 'since'],
    ['3', 'since'],
  ]);
  assert.deepEqual((await agentStatus(us)).transfers, []);
});

test('have what a region wrote that was taken out meanwhile, in a region that makes the table later', async () => {
  await using cluster = await Cluster.start({ schema: '' });
  const [eu, us, ap] = cluster.regions;
  assert.ok(eu && us && ap);
  for (const region of [us, ap]) await region.sql(`${TABLE}; ${PUBLISH}`);
  await toldBy([us, ap]);
  await us.sql("insert into big values (1, 'of us', 1)");
  await ap.sql("insert into big values (2, 'of ap', 2)");
  await cluster.settle();
  await ap.stopAgent();
  for (const region of [eu, us]) {
    await region.stopAgent();
    const config = (await readFile(region.configPath, 'utf8')).split('\n');
    await writeFile(region.configPath, config.filter((line) => !line.includes('- { region: ap')).join('\n'));
    region.startAgent();
    await region.agentReady();
  }
  await eu.sql(`${TABLE}; ${PUBLISH}`);
  // What came while there was no table: all of it is told anew.
  const setAside = await eu.sql('select event_id from syncline.quarantine');
  const answer = await fetch(`${eu.api}/quarantine/discard`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ event_ids: setAside.map(([id]) => id) }),
  });
  assert.equal(answer.status, 200, await answer.text());
  await toldBy([eu, us]);
  for (const region of [eu, us]) {
    assert.deepEqual(await region.sql('select id, v from big order by id'), [
      ['1', 'of us'],
      ['2', 'of ap'],
    ]);
  }
});
