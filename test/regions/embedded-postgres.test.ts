import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { Client } from 'pg';
import { childrenOf, isAlive } from '../../src/platform/servers/processes.ts';
import { CONTRACT_MAJORS } from '../support/postgres-majors.ts';
import { PostgresServer } from '../support/postgres-server.ts';
import { waitFor } from '../support/wait-for.ts';

async function query(url: string, sql: string): Promise<string[]> {
  const client = new Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  try {
    const { rows } = await client.query<string[]>({ text: sql, rowMode: 'array' });
    return rows.map((row) => String(row[0]));
  } finally {
    await client.end();
  }
}

for (const version of CONTRACT_MAJORS) {
  describe(`embedded PostgreSQL ${version}`, () => {
    test('starts with the settings asked for, and every server has its own identifier', async () => {
      await using one = await PostgresServer.start({ version, settings: { work_mem: '5MB' } });
      await using two = await PostgresServer.start({ version });
      const setting = async (name: string) => (await query(one.url(), `show ${name}`))[0];
      assert.match((await setting('server_version')) ?? '', new RegExp(`^${version}\\.`));
      assert.equal(await setting('wal_level'), 'logical');
      assert.equal(await setting('track_commit_timestamp'), 'on');
      assert.equal(await setting('work_mem'), '5MB');
      const identifier = 'select system_identifier from pg_control_system()';
      assert.notDeepEqual(await query(one.url(), identifier), await query(two.url(), identifier));
    });

    test('a stop and a kill of every process both keep what was committed', async () => {
      await using server = await PostgresServer.start({ version });
      const database = await server.createDatabase();
      const { port } = server;
      await query(server.url(database), 'create table t as select 1 as id');
      await server.stop();
      assert.equal(server.pid, undefined);
      await server.restart();
      await query(server.url(database), 'insert into t values (2)');

      const busy = new Client({ connectionString: server.url(database) });
      busy.on('error', () => undefined);
      await busy.connect();
      const endless = assert.rejects(busy.query('select count(*) from generate_series(1, 100000000000)'));
      const postmaster = server.pid ?? 0;
      const children = await childrenOf(postmaster);
      assert.ok(children.length > 3);
      await server.kill9();
      await endless;
      for (const pid of [postmaster, ...children]) assert.equal(await isAlive(pid), false);

      await server.restart();
      assert.equal(server.port, port);
      assert.deepEqual(await query(server.url(database), 'select id from t order by id'), ['1', '2']);
    });
  });
}

test('a server does not outlive the process that started it, even when that is killed', async () => {
  const script = `
    import { PostgresServer } from ${JSON.stringify(join(import.meta.dirname, '../support/postgres-server.ts'))};
    const server = await PostgresServer.start();
    console.log(JSON.stringify({ pid: server.pid, folder: server.folder }));
    setInterval(() => undefined, 1000);
  `;
  const child = spawn(process.execPath, ['--input-type=module-typescript', '--eval', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const { pid, folder } = JSON.parse(line.toString()) as { pid: number; folder: string };
  assert.equal(await isAlive(pid), true);
  child.kill('SIGKILL');
  await waitFor(async () => !(await isAlive(pid)) && !existsSync(folder), {
    what: 'the server and its folder are gone',
  });
});
