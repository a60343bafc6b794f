/**
 * An upgrade of a region's server by pg_upgrade, as far as it can be had without the tools of two versions: the system identifier
 * is another one, commit timestamps and replication origins of all rows are gone, and so is the slot. Rows, transaction ids and
 * WAL positions stay.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cluster, type ClusterRegion } from '../support/cluster.ts';
import { type Outcome, run } from '../support/command.ts';
import { freezeEverything } from '../support/forgotten.ts';
import { waitFor } from '../support/wait-for.ts';

const SCHEMA = `create table t (id int primary key, v text, u text unique);
  create table other (id int primary key, v text);`;
const ROWS = 'select id, v, u from t order by id';

test('a region that was at rest goes on behind an upgrade, while the others have written all the time', async () => {
  await using cluster = await Cluster.start({ schema: SCHEMA });
  const [eu, us, ap] = regionsOf(cluster);
  await eu.sql(`insert into t select i, 'eu', 'u' || i from generate_series(1, 40) as i`);
  await cluster.settle();
  await Promise.all([
    eu.sql(`update t set v = 'eu again' where id <= 20`),
    us.sql(`update t set v = 'us' where id between 10 and 30`),
    ap.sql(`delete from t where id > 35`),
  ]);
  await cluster.settle();

  await eu.stopAgent();
  const prepared = await prepare(eu);
  assert.equal(prepared.code, 0, prepared.stderr);
  assert.match(prepared.stdout, /eu is at rest/);
  await us.sql(`update t set v = 'while eu was away' where id in (1, 12, 25)`);
  await ap.sql(`insert into t values (50, 'new', 'u36')`);
  await ap.sql('delete from t where id = 5');
  // A value that a row of eu has, and that row wins nothing by what it was before.
  await us.sql(`update t set u = null where id = 7`);
  await us.sql(`update t set u = 'u7' where id = 8`);
  await becomesAnother(eu);
  eu.startAgent();
  await eu.agentReady();
  await Promise.all([
    eu.sql(`update t set v = 'eu on the new server' where id between 1 and 8`),
    us.sql(`update t set v = 'us meanwhile' where id between 4 and 12`),
    ap.sql(`update t set v = 'ap meanwhile' where id between 30 and 33`),
  ]);
  await cluster.settleConflicts();
  const rows = await cluster.equal(ROWS);
  assert.equal(rows.length, 35);
  assert.deepEqual(
    rows.filter(([id]) => id === '1' || id === '8' || id === '25' || id === '50').map(([id, , u]) => [id, u]),
    [
      ['1', 'u1'],
      ['8', 'u7'],
      ['25', 'u25'],
      ['50', 'u36'],
    ],
  );
  await cluster.equal('select conflict_id, winner_origin, provisional from syncline.conflict_log order by 1');
});

test('one that was not prepared is refused, and so is one that was written to after it', async () => {
  await using cluster = await Cluster.start({ schema: SCHEMA, regions: ['eu', 'us'] });
  const [eu] = regionsOf(cluster);
  await eu.sql(`insert into t values (1, 'before', null)`);
  await cluster.settle();
  await eu.stopAgent();
  const cluster1 = await eu.one(`select value from syncline.meta where key = 'system_id'`);
  await eu.sql(`update syncline.meta set value = '1' where key = 'system_id'`);
  await refused(eu, /SYN-K020.*served by cluster 1/s);

  // Back on the old server, and prepared; then somebody writes.
  await eu.sql(`update syncline.meta set value = '${cluster1}' where key = 'system_id'`);
  assert.equal((await prepare(eu)).code, 0);
  await eu.sql(`insert into other values (1, 'too late')`);
  await eu.sql(`update syncline.meta set value = '1' where key = 'system_id'`);
  await refused(eu, /SYN-K032.*1 row\(s\) of public\.other/s);

  // What is written is published by the old server's agent, which takes the note back.
  await eu.sql(`update syncline.meta set value = '${cluster1}' where key = 'system_id'`);
  eu.startAgent();
  await eu.agentReady();
  await cluster.settle();
  assert.deepEqual(await cluster.equal('select * from other'), [['1', 'too late']]);
  assert.equal(await eu.one(`select count(*) from syncline.meta where key = 'at_rest'`), '0');
});

test('a region does not come to rest while anything is open, parked or written', async () => {
  await using cluster = await Cluster.start({ schema: SCHEMA, regions: ['eu', 'us'] });
  const [eu, us] = regionsOf(cluster);
  await eu.sql(`insert into t values (1, 'one', 'a'), (2, 'two', 'b')`);
  await cluster.settle();
  await eu.stopAgent();
  const session = await eu.session();
  await session.query('begin');
  await session.query(`insert into other values (1, 'open')`);
  await unready(eu, /transactions are open/);
  await session.query('rollback');
  await session.end();

  await Promise.all([eu.sql(`update t set u = 'c' where id = 1`), us.sql(`update t set u = 'c' where id = 2`)]);
  await unready(eu, /rows are parked/);
  const parked = await eu.one('select key from syncline.parked');
  await us.sql(`update t set u = 'd' where u = 'c'`);
  assert.notEqual(parked, null);

  let isOver = false;
  const writing = (async () => {
    for (let v = 0; !isOver; v += 1) await us.sql(`update t set v = '${v}' where id = 2`);
  })();
  try {
    await unready(eu, /6 s are over/);
  } finally {
    isOver = true;
    await writing;
  }
  assert.equal((await prepare(eu)).code, 0);
});

function regionsOf({ regions }: Cluster): [ClusterRegion, ClusterRegion, ClusterRegion] {
  return regions as unknown as [ClusterRegion, ClusterRegion, ClusterRegion];
}

async function prepare(region: ClusterRegion, waitS = 50): Promise<Outcome> {
  return await run(['prepare-upgrade', '-c', region.configPath, '--wait', String(waitS)]);
}

async function unready(region: ClusterRegion, why: RegExp): Promise<void> {
  const { code, stderr } = await prepare(region, 6);
  assert.equal(code, 1);
  assert.match(stderr, /SYN-K033/);
  assert.match(stderr, why);
}

async function refused(region: ClusterRegion, why: RegExp): Promise<void> {
  const agent = region.startAgent();
  await waitFor(() => agent.exitCode !== null, { what: 'the agent to end' });
  assert.equal(agent.exitCode, 1);
  assert.match(region.output, why);
}

/** What pg_upgrade leaves of a cluster. */
async function becomesAnother(region: ClusterRegion): Promise<void> {
  await region.sql(`select pg_drop_replication_slot(slot_name) from pg_replication_slots`);
  await region.sql(`select pg_replication_origin_drop(roname) from pg_replication_origin`);
  await region.sql(`update syncline.meta set value = '1' where key = 'system_id'`);
  await waitFor(
    async () => {
      await freezeEverything(region.server);
      return (await region.one('select count(pg_xact_commit_timestamp(xmin)) from t')) === '0';
    },
    { what: 'the times of all rows to be forgotten' },
  );
}
