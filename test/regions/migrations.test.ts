import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { knownMigrations, migrate, schemaVersion } from '../../src/platform/migrations.ts';
import { connect, type PostgresClient } from '../../src/platform/postgres.ts';
import { CONTRACT_MAJORS } from '../support/postgres-majors.ts';
import { PostgresServer } from '../support/postgres-server.ts';

for (const version of CONTRACT_MAJORS) {
  describe(`migrations on PostgreSQL ${version}`, () => {
    let server: PostgresServer;
    before(async () => {
      server = await PostgresServer.start({ version });
    });
    after(() => server[Symbol.asyncDispose]());

    async function database(): Promise<{ url: string; client: PostgresClient }> {
      const url = server.url(await server.createDatabase());
      return { url, client: await connect(url, { applicationName: 'migrations' }) };
    }

    test('bring an empty database to the newest version, once', async () => {
      const { client } = await database();
      await using _ = client;
      const newest = (await knownMigrations()).length;
      assert.equal(await schemaVersion(client), 0);
      assert.deepEqual(await migrate(client), { from: 0, to: newest });
      assert.equal(await schemaVersion(client), newest);
      assert.deepEqual(await migrate(client), { from: newest, to: newest });
    });

    test('run once where several agents start at the same time', async () => {
      const { url, client } = await database();
      await using _ = client;
      const clients = await Promise.all(
        Array.from({ length: 8 }, () => connect(url, { applicationName: 'migrations' })),
      );
      const outcomes = await Promise.all(clients.map((each) => migrate(each)));
      assert.equal(outcomes.filter(({ from }) => from === 0).length, 1);
      await Promise.all(clients.map((each) => each.end()));
    });

    test('only those that are missing run, all or none', async () => {
      const { client } = await database();
      await using _ = client;
      const known = await knownMigrations();
      await migrate(client);
      const next = { version: known.length + 1, name: 'next', sql: 'create table syncline.next (id int)' };
      const broken = { version: known.length + 2, name: 'broken', sql: 'create table syncline.meta (id int)' };
      await assert.rejects(migrate(client, [...known, next, broken]), { code: '42P07' });
      assert.equal(await schemaVersion(client), known.length);
      assert.deepEqual(await migrate(client, [...known, next]), { from: known.length, to: known.length + 1 });
      await client.query('insert into syncline.next values (1)');
    });

    test('a newer schema is left alone', async () => {
      const { client } = await database();
      await using _ = client;
      await migrate(client);
      await client.query("update syncline.meta set value = '999' where key = 'schema_version'");
      await assert.rejects(migrate(client), { code: 'SYN-P015' });
      assert.equal(await schemaVersion(client), 999);
    });

    test('one that was begun before snapshots were kept is left alone', async () => {
      const { client } = await database();
      await using _ = client;
      const known = await knownMigrations();
      await migrate(client, known.slice(0, 2));
      await client.query("insert into syncline.meta (key, value) values ('began', '1700000000000000000')");
      await assert.rejects(migrate(client), { code: 'SYN-P056' });
      assert.equal(await schemaVersion(client), 2);
      await client.query("insert into syncline.meta (key, value) values ('began_snapshot', '7:7:')");
      assert.deepEqual(await migrate(client), { from: 2, to: known.length });
    });

    test('a role that may not create the schema is told so', async () => {
      const { url, client } = await database();
      await using _ = client;
      await client.query(`create role visitor_${version} login password 'visitor'`);
      const visit = new URL(url);
      visit.username = `visitor_${version}`;
      visit.password = 'visitor';
      await using visitor = await connect(visit.href, { applicationName: 'visitor' });
      await assert.rejects(migrate(visitor), { code: 'SYN-P011' });
    });

    test('all of it is in one schema, and goes with it', async () => {
      const { client } = await database();
      await using _ = client;
      const objects = async (): Promise<unknown> =>
        (
          await client.queryArrays(
            `select classid, count(*) from pg_depend where refclassid <> 'pg_namespace'::regclass group by 1
             union all select 'pg_class'::regclass, count(*) from pg_class
             union all select 'pg_proc'::regclass, count(*) from pg_proc order by 1, 2`,
          )
        ).rows;
      const before = await objects();
      await migrate(client);
      assert.notDeepEqual(await objects(), before);
      await client.query('drop schema syncline cascade');
      assert.deepEqual(await objects(), before);
      assert.equal(await schemaVersion(client), 0);
    });
  });
}
