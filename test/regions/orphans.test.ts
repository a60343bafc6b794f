/** Rows whose foreign key names no row: found whatever the key is like, and in every region that has them. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { connect, type PostgresClient } from '../../src/platform/postgres.ts';
import { findOrphans, renderOrphans } from '../../src/verify/orphans.ts';
import { setLink } from '../support/agent-client.ts';
import { Cluster, type ClusterRegion } from '../support/cluster.ts';
import { run } from '../support/command.ts';
import { CONTRACT_MAJORS } from '../support/postgres-majors.ts';
import { PostgresServer } from '../support/postgres-server.ts';
import { waitFor } from '../support/wait-for.ts';

const TABLES = { include: ['public.*'], exclude: ['public.left_out'] };

for (const version of CONTRACT_MAJORS) {
  describe(`orphans on PostgreSQL ${version}`, () => {
    let server: PostgresServer;
    before(async () => {
      server = await PostgresServer.start({ version });
    });
    after(async () => await server?.[Symbol.asyncDispose]());

    async function made(sql: string): Promise<{ url: string; client: PostgresClient }> {
      const url = server.url(await server.createDatabase());
      const client = await connect(url, { applicationName: 'test' });
      await client.query('set search_path = public, pg_catalog');
      await client.query(sql);
      // As apply writes: nothing is checked.
      await client.query('set session_replication_role = replica');
      return { url, client };
    }

    async function found(url: string, settleMs = 0): Promise<string> {
      return renderOrphans(await findOrphans([{ region: 'here', url, tables: TABLES }], settleMs));
    }

    test('NULL refers to nothing, also in a part of the key, unless it has to be full', async () => {
      const { url, client } = await made(`
        create table parent (a int, b text, primary key (a, b));
        create table simple (id int primary key, a int, b text, constraint simple_fk foreign key (a, b) references parent);
        create table strict (id int primary key, a int, b text,
          constraint full_fk foreign key (a, b) references parent match full)`);
      await using _ = client;
      await client.query(`insert into parent values (1, 'x')`);
      const rows = `(1, 1, 'x'), (2, 1, 'y'), (3, null, 'x'), (4, null, null)`;
      await client.query(`insert into simple values ${rows}; insert into strict values ${rows}`);
      assert.equal(
        await found(url),
        `here: public.simple (simple_fk): 1 without a row of public.parent
  id=2 names 1, y
here: public.strict (full_fk): 2 without a row of public.parent
  id=2 names 1, y
  id=3 names NULL, x
`,
      );
    });

    test('a row may be its own parent, parent and child be partitioned, and types and names be odd', async () => {
      const { url, client } = await made(`
        create table tree (id int primary key, up int constraint up_fk references tree);
        create table "Big Parent" ("Id" numeric primary key) partition by range ("Id");
        create table big_1 partition of "Big Parent" default;
        create table child (id int, at int, of int constraint of_fk references "Big Parent", primary key (id, at))
          partition by list (at);
        create table child_1 partition of child default;
        create table left_out (id int primary key, up int references tree)`);
      await using _ = client;
      await client.query(`
        insert into tree values (1, 1), (2, 1), (3, 9);
        insert into "Big Parent" values (1.00);
        insert into child values (1, 1, 1), (2, 1, 2);
        insert into left_out values (1, 77)`);
      assert.equal(
        await found(url),
        `here: public.child (of_fk): 1 without a row of public.Big Parent
  id=2, at=1 names 2
here: public.tree (up_fk): 1 without a row of public.tree
  id=3 names 9
`,
      );
      await client.query('delete from tree where id = 3; delete from child where id = 2');
      assert.equal(await found(url), 'no orphans; 2 foreign keys were checked\n');
    });

    test('a child whose parent comes a little later is none', async () => {
      const { url, client } = await made(`
        create table parent (id int primary key); create table child (id int primary key, of int references parent)`);
      await using _ = client;
      await client.query('insert into child values (1, 1)');
      const looking = found(url, 1_000);
      await client.query('insert into parent values (1)');
      assert.equal(await looking, 'no orphans; 1 foreign keys were checked\n');
    });

    test('orphans behind those that a look lists are told, though all that it lists are mended meanwhile', async () => {
      const { url, client } = await made(`
        create table parent (id int primary key); create table child (id int primary key, of int references parent)`);
      await using _ = client;
      await client.query('insert into child select g, g from generate_series(1, 3000) g');
      const looking = found(url, 3_000);
      const looked = `select from pg_stat_activity where application_name = 'syncline verify'
        and datname = current_database() and state = 'idle' and query like '%not exists%'`;
      await waitFor(async () => (await client.query(looked)).rowCount === 1, { what: 'the first look has ended' });
      await client.query('insert into parent select g from generate_series(1, 1500) g');
      const [title, ...orphans] = (await looking).trimEnd().split('\n');
      assert.equal(title, 'here: public.child (child_of_fkey): more than 1000 without a row of public.parent');
      assert.equal(orphans[0], '  id=1501 names 1501');
      assert.equal(orphans.length, 1_000);
    });
  });
}

test('a parent that is deleted here while it gets a child there leaves an orphan in both regions, and is told of', async () => {
  await using cluster = await Cluster.start({
    regions: ['eu', 'us'],
    schema: `create table parent (id int primary key);
      create table child (id int primary key, of int constraint child_of references parent)`,
  });
  const [eu, us] = cluster.regions as [ClusterRegion, ClusterRegion];
  const verify = async (...more: readonly string[]) =>
    await run(['verify', '--orphans', '--settle-ms', '0', '-c', eu.configPath, '-c', us.configPath, ...more]);
  await eu.sql('insert into parent values (1), (2)');
  await cluster.settle();
  assert.equal((await verify()).code, 0);
  await setLink('eu', us, 'paused');
  await eu.sql('delete from parent where id = 1');
  await us.sql('insert into child values (10, 1)');
  await setLink('eu', us, 'active');
  await cluster.settle();
  await cluster.equal('select * from child');
  assert.equal((await verify('--tables', 'public.parent', 'other.*')).code, 0, 'other tables were not asked for');
  const { code, stdout } = await verify('--tables', '*.child');
  assert.equal(code, 1);
  for (const { name } of [eu, us]) {
    assert.ok(stdout.includes(`${name}: public.child (child_of): 1 without a row of public.parent\n  id=10 names 1\n`));
  }
  await us.sql('delete from child');
  await cluster.settle();
  assert.equal((await verify()).code, 0);
});
