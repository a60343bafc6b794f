/** Rows that lose their parent are in the conflict log of every region, once and alike, and nothing else is. */
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import type { Conflict } from '../../src/api/schemas.ts';
import { OrphanFinder, type OrphansMissed } from '../../src/apply/upkeep/orphan-finder.ts';
import type { RemovedParent } from '../../src/apply/upkeep/removed-parents.ts';
import { migrate } from '../../src/platform/migrations.ts';
import { connect } from '../../src/platform/postgres.ts';
import { agentStatus, setLink } from '../support/agent-client.ts';
import { Cluster, type ClusterRegion } from '../support/cluster.ts';
import { run } from '../support/command.ts';
import { PostgresServer } from '../support/postgres-server.ts';
import { waitFor } from '../support/wait-for.ts';

const SCHEMA = `
  create table parent (id int primary key, code text not null unique);
  create table child (id int primary key, note text, of int constraint child_of references parent on delete cascade);
  create index on child (of);
  create table coded (id int primary key, code text constraint coded_by references parent (code) on update cascade);
  create table pair (a int, b text, primary key (a, b));
  create table simple (id int primary key, a int, b text, constraint simple_fk foreign key (a, b) references pair);
  create table strict (id int primary key, a int, b text,
    constraint full_fk foreign key (a, b) references pair match full);
  create table root (id int primary key);
  create table leaf (id int primary key, of int constraint leaf_of references root);
  create table tree (id int primary key, up int constraint up_fk references tree);
  create table "Big Parent" ("Id" numeric primary key) partition by range ("Id");
  create table big_1 partition of "Big Parent" default;
  create table parted (id int, at int, of int constraint of_fk references "Big Parent", primary key (id, at))
    partition by list (at);
  create table parted_1 partition of parted default;`;

const RECORDS = `select conflict_id, event_id_a, event_id_b, schema_name, table_name, row_pk, image_a, image_b, base_image,
  result_image, loser_hlc, loser_origin, winner_hlc, winner_origin, provisional, constraint_name, parent_table
  from syncline.conflict_log where resolution_strategy = 'orphan' order by conflict_id`;

describe('orphans in the conflict log', () => {
  let cluster: Cluster;
  let eu: ClusterRegion;
  let us: ClusterRegion;
  let ap: ClusterRegion;

  before(async () => {
    cluster = await Cluster.start({ schema: SCHEMA });
    [eu, us, ap] = cluster.regions as [ClusterRegion, ClusterRegion, ClusterRegion];
  });
  after(async () => await cluster?.[Symbol.asyncDispose]());
  beforeEach(async () => {
    await cluster.settleConflicts();
    for (const region of cluster.regions) await region.sql('delete from syncline.conflict_log');
  });

  async function links(status: 'paused' | 'active'): Promise<void> {
    for (const target of cluster.regions) {
      for (const { name } of cluster.regions) if (name !== target.name) await setLink(name, target, status);
    }
  }

  async function apart(work: () => Promise<void>): Promise<void> {
    await cluster.settle();
    await links('paused');
    await work();
    await links('active');
  }

  /** What each region has on record, which must be the same: table, key, image, foreign key, and who removed the parent. */
  async function recorded(): Promise<string[]> {
    await cluster.settleConflicts();
    await cluster.equal(RECORDS);
    const rows = await eu.sql(
      `select concat_ws(' ', table_name, row_pk, image_a, constraint_name, parent_table, winner_origin)
         from syncline.conflict_log where resolution_strategy = 'orphan' order by 1`,
    );
    return rows.map(([told]) => told ?? '');
  }

  test('a parent is deleted here, and gets a child there: told by list, command and status', async () => {
    await eu.sql(`insert into parent values (1, 'one'), (2, 'two'); insert into child values (1, 'old', 1)`);
    await apart(async () => {
      await eu.sql('delete from parent where id = 1');
      await us.sql(`insert into child values (10, 'new', 1), (11, 'new', 2)`);
    });
    assert.deepEqual(await recorded(), ['child {"id": "10"} {"id": "10", "of": "1"} child_of public.parent eu']);
    for (const region of cluster.regions) {
      const answer = await fetch(`${region.api}/conflicts?strategy=orphan`);
      const { items } = (await answer.json()) as { items: Conflict[] };
      assert.deepEqual(
        items.map(({ row_pk, constraint_name, provisional }) => ({ row_pk, constraint_name, provisional })),
        [{ row_pk: { id: '10' }, constraint_name: 'child_of', provisional: false }],
      );
      assert.equal((await agentStatus(region)).orphans_by_table['public.child'], 1);
      const metrics = await (await fetch(`${region.api}/metrics`)).text();
      assert.match(metrics, /^syncline_orphans_total\{table="public\.child",region="\w+"\} 1$/m);
    }
    const { stdout } = await run(['conflicts', '--strategy', 'orphan', '-c', ap.configPath]);
    assert.match(stdout, /public\.child id=10 {2}orphan, final/);
    assert.ok(stdout.includes('of=1 names no row of public.parent (constraint child_of)'), stdout);
    // Whatever becomes of the row later, and however often: it is told once.
    await us.sql(`update child set note = 'again' where id = 10`);
    assert.equal((await recorded()).length, 1);
  });

  test('keys that are composite, full, of the table itself, of partitions, and of a unique column', async () => {
    await eu.sql(`
      insert into parent values (20, 'gone'), (21, 'stays');
      insert into pair values (1, 'x'), (2, 'y');
      insert into tree values (1, null), (2, 1);
      insert into "Big Parent" values (1.00), (2.00)`);
    await apart(async () => {
      await eu.sql(`
        update parent set code = 'other' where id = 20;
        delete from pair where a = 1;
        delete from tree where id = 2;
        update "Big Parent" set "Id" = 3 where "Id" = 1`);
      await ap.sql(`
        insert into coded values (1, 'gone'), (2, 'stays'), (3, null);
        insert into simple values (1, 1, 'x'), (2, 1, null), (3, 2, 'y');
        insert into strict values (1, 1, 'x'), (2, null, null);
        insert into tree values (3, 2), (4, 1);
        insert into parted values (1, 1, 1), (2, 1, 2)`);
    });
    assert.deepEqual(await recorded(), [
      'coded {"id": "1"} {"id": "1", "code": "gone"} coded_by public.parent eu',
      'parted {"at": "1", "id": "1"} {"at": "1", "id": "1", "of": "1"} of_fk public.Big Parent eu',
      'simple {"id": "1"} {"a": "1", "b": "x", "id": "1"} simple_fk public.pair eu',
      'strict {"id": "1"} {"a": "1", "b": "x", "id": "1"} full_fk public.pair eu',
      'tree {"id": "3"} {"id": "3", "up": "2"} up_fk public.tree eu',
    ]);
  });

  test('a TRUNCATE takes the parents of what is inserted elsewhere', async () => {
    await eu.sql('insert into root values (1), (2); insert into leaf values (1, 1)');
    await apart(async () => {
      await eu.sql('truncate root cascade; insert into root values (2)');
      await us.sql('insert into leaf values (11, 1), (12, 2)');
    });
    assert.deepEqual(await recorded(), ['leaf {"id": "11"} {"id": "11", "of": "1"} leaf_of public.root eu']);
  });

  test('none is a child that comes before its parent, is deleted with it, or has a parent again', async () => {
    await eu.sql(`
      insert into parent values (30, 'thirty'), (31, 'thirty-one');
      insert into child values (31, null, 31)`);
    await apart(async () => {
      await eu.sql(`begin; delete from parent where id = 30; insert into parent values (30, 'new'); commit`);
      await us.sql(`insert into child values (30, null, 30)`);
    });
    await cluster.settle();
    // From us to ap nothing comes, so that the child of eu is there before the parent that it has seen.
    await setLink('us', ap, 'paused');
    await us.sql(`insert into parent values (32, 'thirty-two')`);
    await waitForRow(eu, 'select from parent where id = 32');
    await eu.sql(`insert into child values (32, null, 32); delete from parent where id = 31`);
    await waitForRow(ap, 'select from child where id = 32');
    assert.equal(await ap.one('select count(*) from parent where id = 32'), '0');
    await setLink('us', ap, 'active');
    assert.deepEqual(await recorded(), []);
  });

  test('agents that are killed between the removal and the look find it all the same, once', async () => {
    await eu.sql(`insert into parent values (40, 'forty')`);
    await apart(async () => {
      await eu.sql('delete from parent where id = 40');
      await us.sql('insert into child values (40, null, 40)');
      await setLink('eu', us, 'active');
      await setLink('us', eu, 'active');
      // What ap lacks is stable nowhere, so that nobody looks yet.
      await us.sql(`insert into tree values (400, null)`);
      await eu.sql(`insert into tree values (401, null)`);
      for (const [region, id] of [
        [eu, 400],
        [us, 401],
      ] as const) {
        await waitForRow(region, `select from tree where id = ${id}`);
      }
      assert.equal(
        await eu.one(`select count(*) from syncline.conflict_log where resolution_strategy = 'orphan'`),
        '0',
      );
      await eu.killAgent();
      await us.killAgent();
      await cluster.startAgents();
    });
    assert.deepEqual(await recorded(), ['child {"id": "40"} {"id": "40", "of": "40"} child_of public.parent eu']);
    await eu.killAgent();
    await cluster.startAgents();
    assert.equal((await recorded()).length, 1);
  });
});

async function waitForRow(region: ClusterRegion, query: string): Promise<void> {
  await waitFor(async () => (await region.sql(query)).length > 0, { what: `${region.name} to have a row of ${query}` });
}

describe('a look for orphans', () => {
  let server: PostgresServer;
  before(async () => {
    server = await PostgresServer.start();
  });
  after(async () => await server?.[Symbol.asyncDispose]());

  test('that takes too long is given up and told, and is made again later; one that meets a lock is made again, for a while', async () => {
    const url = server.url(await server.createDatabase());
    await using client = await connect(url, { applicationName: 'test' });
    await using other = await connect(url, { applicationName: 'test' });
    await migrate(client);
    await client.query(`create table public.parent (id int primary key);
      create table public.child (id int primary key, of int constraint child_of references public.parent);
      set session_replication_role = replica;
      insert into public.child select n, 1 from generate_series(1, 300000) n;
      update public.child set of = null where id > 3`);
    const told: string[] = [];
    let nowMs = 0;
    const options = {
      client,
      isReplicated: () => true,
      onFound: (table: string, count: number) => void told.push(`${table} ${count}`),
      onMissed: (_: string, missed: OrphansMissed | null) => void told.push(missed?.code ?? 'mended'),
      nowMs: () => nowMs,
    };
    const removed: RemovedParent[] = [
      {
        table: '"public"."parent"',
        version: { hlc: 1n, origin: 'eu' },
        event_id: '01890000-0000-7000-8000-000000000001',
        values: { id: '1' },
      },
    ];
    const hasty = new OrphanFinder({ ...options, lookMsMax: 1 });
    await hasty.referenced();
    await hasty.look(removed);
    await hasty.look(removed);
    assert.deepEqual(told, ['SYN-A035']);
    nowMs = 600_000;
    await hasty.look(removed);
    assert.deepEqual(told, ['SYN-A035', 'SYN-A035']);
    const finder = new OrphanFinder(options);
    await finder.referenced();
    await other.query('begin; lock table public.child in access exclusive mode');
    await assert.rejects(finder.look(removed), { code: '55P03' });
    await other.query('rollback');
    told.length = 0;
    await assert.rejects(finder.look(removed), { code: '55P03' }, 'it is not looked at all the time');
    nowMs += 1_000;
    await finder.look(removed);
    await finder.look(removed);
    assert.deepEqual(told, ['public.child 3']);

    await other.query('begin; lock table public.child in access exclusive mode');
    for (let second = 0; second < 60; second += 20) {
      await assert.rejects(finder.look(removed), { code: '55P03' });
      nowMs += 20_000;
    }
    await finder.look(removed);
    assert.deepEqual(told, ['public.child 3', 'SYN-A035'], 'what waits for it goes on without it');
    await other.query('rollback');
    nowMs += 600_000;
    await finder.look(removed);
    assert.deepEqual(told, ['public.child 3', 'SYN-A035', 'mended']);
  });
});
