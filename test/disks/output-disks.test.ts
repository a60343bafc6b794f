/** A disk that is full below what the agent logs: it serves its region as ever, and tells later how many lines are lost. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect } from '../../src/platform/postgres.ts';
import { freePorts } from '../../src/platform/servers/free-port.ts';
import { startInto } from '../support/command.ts';
import { PostgresServer } from '../support/postgres-server.ts';
import { SmallDisk } from '../support/small-disk.ts';
import { waitFor } from '../support/wait-for.ts';

test('an agent goes on while the disk of its output is full', async () => {
  await using disk = await SmallDisk.mount(4);
  await using server = await PostgresServer.start();
  await using sql = await connect(server.url(), { applicationName: 'syncline test' });
  const [port] = await freePorts(1);
  const config = join(disk.path, 'eu.yaml');
  const output = join(disk.path, 'output');
  const settings = {
    region: 'eu',
    database: server.url(),
    log: { path: join(server.dataDirectory, '..', 'streams') },
    api: { listen: `127.0.0.1:${port}` },
    peers: [{ region: 'us' }],
  };
  await writeFile(config, JSON.stringify(settings));
  const agent = startInto(output, ['agent', '-c', config]);
  const ready = async (): Promise<boolean> => (await fetch(`http://127.0.0.1:${port}/readyz`)).ok;
  /** Apply is cut off, tells so, and comes back. */
  const interrupt = async (): Promise<void> => {
    await waitFor(ready, { what: 'the agent to be ready' });
    const { rows } = await sql.query(
      `select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name like 'syncline/eu/%/apply'`,
    );
    assert.equal(rows.length, 1);
    await waitFor(
      async () =>
        (await sql.query(`select from pg_stat_activity where application_name like 'syncline/eu/%/apply'`)).rowCount >
        0,
      { what: 'apply to be back' },
    );
  };
  await interrupt();
  await disk.fill();
  for (let times = 0; times < 3; times += 1) await interrupt();
  const before = await readFile(output, 'utf8');
  await disk.clear();
  await interrupt();
  agent.process.kill('SIGTERM');
  const { code, stderr } = await agent.outcome;
  assert.deepEqual([code, stderr], [0, '']);
  const printed = await readFile(output, 'utf8');
  assert.ok(printed.startsWith(before));
  const lines = printed.slice(before.length).trim().split('\n');
  const notes = lines
    .filter((line) => line.includes('"why":"ENOSPC"'))
    .map((line) => JSON.parse(line) as { lines: number });
  assert.equal(notes.length, 1, printed);
  assert.ok((notes[0]?.lines ?? 0) >= 3, 'an interruption is told each time');
  assert.ok(
    lines.some((line) => line.includes('the agent ends')),
    printed,
  );
});
