/** What comes in the way of a start once it is under way: it waits for what passes, and ends in order with what does not. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { captureName } from '../../src/capture/tables/publication.ts';
import type { PostgresClient } from '../../src/platform/postgres.ts';
import { noteRest } from '../../src/region/server-upgrade.ts';
import { assertSays, type Running } from '../support/command.ts';
import { HeldStart } from '../support/held-start.ts';
import { PostgresServer } from '../support/postgres-server.ts';
import { waitFor } from '../support/wait-for.ts';

let server: PostgresServer;
let folder: string;
before(async () => {
  server = await PostgresServer.start({ settings: { fsync: 'off' } });
  folder = await mkdtemp(join(tmpdir(), 'syncline-starts-'));
});
after(async () => {
  await server[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

test('a statement of a start that the database breaks off is tried again, and told with a code', async () => {
  await using held = await HeldStart.prepare(server, folder);
  {
    await using sql = await held.sql();
    await using _holder = await held.hold('control');
    held.startAgent();
    await sql.query('select pg_cancel_backend($1)', [await held.waiting(sql, 'control')]);
    await held.prints('57014');
    await held.prints('"code":"SYN-P057"');
    await held.waiting(sql, 'control');
    await server.stop('fast');
  }
  await held.prints('57P01');
  await server.restart();
  await held.ready();
});

test('a start whose lease is taken over while it is cut off ends with the code of that', async () => {
  await using held = await HeldStart.prepare(server, folder);
  await using sql = await held.sql();
  await using holder = await held.hold('notes');
  const agent = held.startAgent();
  await held.waiting(sql, 'notes');
  await held.proxy.refuse();
  await sql.query(TAKE_OVER);
  await holder.query('rollback');
  await held.proxy.heal();
  assertSays(await agent.outcome, 'SYN-L005');
  assert.equal(await leaseHolder(sql), 'another agent');
});

test('a start whose lease is taken over while a statement takes long ends without waiting for that', async () => {
  await using held = await HeldStart.prepare(server, folder);
  await using sql = await held.sql();
  await using _holder = await held.hold('notes');
  const agent = held.startAgent();
  await held.waiting(sql, 'notes');
  await sql.query(TAKE_OVER);
  assertSays(await agent.outcome, 'SYN-L005');
});

test('a start that fails in its last part gives back the lease', async () => {
  await using held = await HeldStart.prepare(server, folder);
  await using sql = await held.sql();
  await using holder = await held.hold('apply');
  const agent = held.startAgent();
  await held.prints('apply is interrupted');
  await holder.query('alter table syncline.parked rename to parked_elsewhere; commit');
  const { code, stderr } = await agent.outcome;
  assert.equal(code, 1);
  assert.match(stderr, /relation "syncline.parked" does not exist/);
  assert.equal(await leaseHolder(sql), null);
});

test('a signal ends a start whose database has gone away before apply began', async () => {
  await using held = await HeldStart.prepare(server, folder);
  await using sql = await held.sql();
  await using _holder = await held.hold('notes');
  const agent = held.startAgent();
  await held.waiting(sql, 'notes');
  await held.proxy.refuse();
  await held.prints('apply is interrupted');
  await endsSoon(agent);
});

test('a signal ends a start whose database does not answer any more', async () => {
  await using held = await HeldStart.prepare(server, folder);
  await using sql = await held.sql();
  await using _holder = await held.hold('notes');
  const agent = held.startAgent();
  await held.waiting(sql, 'notes');
  held.proxy.blackHole();
  await endsSoon(agent);
});

for (const role of ['control', 'notes', 'apply'] as const) {
  test(`a signal ends a start whose connection ${role} waits for a lock, and nothing stays behind`, async () => {
    await using held = await HeldStart.prepare(server, folder);
    await using sql = await held.sql();
    await using _holder = await held.hold(role);
    const agent = held.startAgent();
    await held.waiting(sql, role);
    await endsSoon(agent);
    await nothingLeft(held, sql);
  });
}

test('a signal ends a start that reads the tables behind an upgrade of the server', async () => {
  await using held = await HeldStart.prepare(server, folder);
  await using sql = await held.sql();
  await sql.query('create table public.t (id int primary key)');
  await sql.query(
    `create publication ${captureName(held.region)} for table public.t with (publish_via_partition_root = true)`,
  );
  await sql.query(`insert into syncline.meta (key, value) values ('system_id', '1')`);
  const { rows } = await sql.query('select pg_current_snapshot()::text as now');
  await noteRest(sql, rows[0]?.now ?? '');
  const first = await held.hold('lease');
  const agent = held.startAgent();
  await held.waiting(sql, 'lease');
  // Locked before, it would hold up what the start looks for first.
  await using holder = await held.sql();
  await holder.query('begin; lock table public.t in access exclusive mode');
  await first.end();
  await held.waiting(sql, 'upgrade');
  await endsSoon(agent);
  await nothingLeft(held, sql);
});

test('a signal ends a start that waits for the lease, and leaves that alone', async () => {
  await using held = await HeldStart.prepare(server, folder);
  await using sql = await held.sql();
  await sql.query(`insert into syncline.lease (name, holder, run) values ('agent', 'nobody yet', 0)`);
  await using holder = await held.hold('lease');
  const agent = held.startAgent();
  await held.waiting(sql, 'lease');
  await holder.query(`${TAKE_OVER}; commit`);
  await waitFor(
    async () => {
      const { rows } = await sql.query(
        `select from pg_stat_activity where query like 'select holder, renewed_at from syncline.lease%'`,
      );
      return rows.length > 0;
    },
    { what: () => `the agent to look who has the lease: ${held.printed}` },
  );
  await endsSoon(agent);
  assert.equal(await leaseHolder(sql), 'another agent');
});

test('an upgrade is not waited for beyond its limit because the start of it is held up', async () => {
  await using held = await HeldStart.prepare(server, folder);
  await using sql = await held.sql();
  await using _holder = await held.hold('notes');
  const limited = held.startAgent(['prepare-upgrade', '--wait', '5']);
  assertSays(await limited.outcome, 'SYN-K033', '5 s are over, and the agent starts');
  const ended = held.startAgent(['prepare-upgrade', '--wait', '3600']);
  await held.waiting(sql, 'notes');
  ended.process.kill('SIGTERM');
  assertSays(await ended.outcome, 'SYN-K033', 'it was ended by SIGTERM');
  assert.equal(await leaseHolder(sql), null);
});

/** A second or two on a machine that is busy with nothing else. What the starts wait for here takes a minute at least. */
const END_MS_MAX = 15_000;

const TAKE_OVER = `update syncline.lease set holder = 'another agent', renewed_at = clock_timestamp()`;

/** Who has to be waited for. */
async function leaseHolder(sql: PostgresClient): Promise<string | null> {
  const { rows } = await sql.query(`select holder from syncline.lease where renewed_at > '-infinity'`);
  return rows[0]?.holder ?? null;
}

/** By an orderly end, long before anything that the start waits for. */
async function endsSoon({ process, outcome }: Running): Promise<void> {
  process.kill('SIGTERM');
  await waitFor(() => process.exitCode !== null || process.signalCode !== null, {
    what: 'the start to end',
    limitMs: END_MS_MAX,
  });
  const { code, stderr } = await outcome;
  assert.deepEqual([code, stderr], [0, '']);
}

/** The lease is free, and no backend works on for an agent that has ended. */
async function nothingLeft({ region }: HeldStart, sql: PostgresClient): Promise<void> {
  assert.equal(await leaseHolder(sql), null);
  await waitFor(
    async () => {
      const { rows } = await sql.query('select from pg_stat_activity where starts_with(application_name, $1)', [
        `syncline/${region}/`,
      ]);
      return rows.length === 0;
    },
    { what: 'the backends of the agent to end', limitMs: END_MS_MAX },
  );
}
