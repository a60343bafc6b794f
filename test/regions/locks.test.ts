/**
 * Apply beside a busy foreground: users' locks hold up nothing but what they lock, and users never pay for apply.
 *
 * The lane waits for a lock only for a moment and then gives way: to other links, and to whoever would be in a deadlock
 * with it. The server's deadlock_timeout is left at its default, so a user would be the victim of a deadlock after a
 * second of waiting, and the first error of any user's session fails these tests.
 */
import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import type { PostgresClient } from '../../src/platform/postgres.ts';
import { agentStatus } from '../support/agent-client.ts';
import { Cluster, type ClusterRegion } from '../support/cluster.ts';
import { endsWell, twoTables } from '../support/two-tables.ts';
import { waitFor } from '../support/wait-for.ts';

const WRITES_BESIDE_A_LOCK = 20;
const OPPOSITE_TURNS = 25;
const OPPOSITE_TRANSACTIONS = 60;
const ALTERS = 10;
/** A user's DDL that waits for longer fails, and takes the test with it. */
const DDL_PATIENCE_MS = 15_000;
const ROWS = 40;

let cluster: Cluster;
let eu: ClusterRegion;
let us: ClusterRegion;
let ap: ClusterRegion;
before(async () => {
  cluster = await Cluster.start({
    schema: twoTables(ROWS),
  });
  [eu, us, ap] = cluster.regions as [ClusterRegion, ClusterRegion, ClusterRegion];
});
after(async () => await cluster?.[Symbol.asyncDispose]());

afterEach(async () => await endsWell(cluster));

async function arrives(region: ClusterRegion, table: string, id: number, value: string): Promise<void> {
  const sql = `select v from ${table} where id = ${id}`;
  await waitFor(async () => (await region.one(sql)) === value, { what: `${value} at ${region.name}` });
}

/** Waits until the lane of the region waits for a lock. */
async function laneWaits(region: ClusterRegion): Promise<void> {
  const sql = `select count(*) from pg_stat_activity
    where application_name like 'syncline/%/apply' and wait_event_type = 'Lock'`;
  await waitFor(async () => (await region.one(sql)) !== '0', { what: `the lane of ${region.name} to wait for a lock` });
}

test('a row that a user keeps locked holds up its own link alone, and is written once it is free', async (t) => {
  await using user = await us.session();
  await user.query('begin');
  await user.query('select from item where id = 1 for update');
  await eu.sql("update item set v = 'from eu' where id = 1");
  await laneWaits(us);
  const startedMs = performance.now();
  for (let write = 1; write <= WRITES_BESIDE_A_LOCK; write += 1) {
    await ap.sql(`update item set v = 'from ap ${write}' where id = 2`);
    await arrives(us, 'item', 2, `from ap ${write}`);
  }
  const tookMs = Math.round((performance.now() - startedMs) / WRITES_BESIDE_A_LOCK);
  t.diagnostic(`a write of another link took ${tookMs} ms beside the lock`);
  assert.equal(await us.one('select v from item where id = 1'), 'start');
  assert.equal((await agentStatus(us)).ready, true);
  await user.query('commit');
  await arrives(us, 'item', 1, 'from eu');
});

test('a row that a user locks and writes goes to the user, who was last', async () => {
  await using user = await us.session();
  await user.query('begin');
  await user.query("update item set v = 'by the user' where id = 3");
  await eu.sql("update item set v = 'from eu' where id = 3");
  await eu.sql("update item set v = 'behind it' where id = 4");
  await laneWaits(us);
  await arrives(ap, 'item', 4, 'behind it');
  await user.query('commit');
  await arrives(us, 'item', 4, 'behind it');
  await cluster.settle();
  assert.deepEqual(await cluster.equal('select v from item where id = 3'), [['by the user']]);
});

test('a user who locks rows in the opposite order is never the victim, met in the middle', async () => {
  await using user = await us.session();
  for (let turn = 1; turn <= OPPOSITE_TURNS; turn += 1) {
    await user.query('begin');
    await user.query(`update item set v = 'user ${turn}' where id = 6`);
    await eu.sql(`begin; update item set v = 'eu ${turn}' where id = 5; update item set v = 'eu ${turn}' where id = 6;
      commit`);
    // By now the lane has row 5 and waits for row 6.
    await laneWaits(us);
    await user.query(`update item set v = 'user ${turn}' where id = 5`);
    await user.commit();
  }
});

test('users who lock rows in the opposite order, again and again, are never the victims', async (t) => {
  const before = await deadlocks(us);
  const write = async (session: PostgresClient, first: number, second: number, value: string): Promise<void> => {
    await session.transaction(async () => {
      await session.query('update item set v = $1 where id = $2', [value, String(first)]);
      await session.query('update other set v = $1 where id = $2', [value, String(second)]);
      await session.query('update item set v = $1 where id = $2', [value, String(second)]);
    });
  };
  const writer = async (region: ClusterRegion, first: number, second: number): Promise<void> => {
    await using session = await region.session();
    for (let number = 1; number <= OPPOSITE_TRANSACTIONS; number += 1) {
      await write(session, first, second, `${region.name} ${number}`);
    }
  };
  await Promise.all([writer(eu, 10, 11), writer(eu, 10, 11), writer(us, 11, 10), writer(us, 11, 10)]);
  await cluster.settle();
  t.diagnostic(`${(await deadlocks(us)) - before} deadlocks, of which the lane was the victim`);
});

async function deadlocks(region: ClusterRegion): Promise<number> {
  return Number(await region.one('select deadlocks from pg_stat_database where datname = current_database()'));
}

test('DDL that waits for a user does not hold up other tables, nor does the lane wait in its way', async () => {
  await using reader = await us.session();
  await using owner = await us.session();
  await reader.query('begin');
  await reader.query('select from item');
  const altering = owner.query("alter table item alter column v set default 'waited'");
  await waitFor(
    async () =>
      (await us.one(
        "select count(*) from pg_stat_activity where query like 'alter table item%' and wait_event_type = 'Lock'",
      )) === '1',
    { what: 'the DDL to wait' },
  );
  await eu.sql("update item set v = 'behind the DDL' where id = 20");
  await laneWaits(us);
  for (let write = 1; write <= WRITES_BESIDE_A_LOCK; write += 1) {
    await ap.sql(`update other set v = 'from ap ${write}' where id = 20`);
    await arrives(us, 'other', 20, `from ap ${write}`);
  }
  await reader.query('commit');
  await altering;
  await arrives(us, 'item', 20, 'behind the DDL');
});

test('DDL gets through while others write without a pause', async () => {
  const stop = new AbortController();
  const writers = [eu, ap].map(async (region, place) => {
    await using session = await region.session();
    for (let number = 1; !stop.signal.aborted; number += 1) {
      const id = String(1 + ((2 * number + place) % ROWS));
      await session.query('update item set v = $1 where id = $2', [`${region.name} ${number}`, id], { prepare: true });
    }
  });
  await using owner = await us.session();
  await owner.query(`set lock_timeout = ${DDL_PATIENCE_MS}`);
  for (let alter = 1; alter <= ALTERS; alter += 1) {
    await owner.query(`alter table item alter column v set default '${alter}'`);
    await arrivesSomething();
  }
  stop.abort();
  await Promise.all(writers);
});

/** Waits until the lane of us has written something more to the table. */
async function arrivesSomething(): Promise<void> {
  const sql = 'select string_agg(v, $$ $$ order by id) from item';
  const before = await us.one(sql);
  await waitFor(async () => (await us.one(sql)) !== before, { what: 'more writes at us' });
}
