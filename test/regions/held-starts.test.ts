/** What comes in the way of a start once it is under way: it waits for what passes, and ends in order with what does not. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { PostgresClient } from '../../src/platform/postgres.ts';
import { assertSays } from '../support/command.ts';
import { HeldStart } from '../support/held-start.ts';
import { PostgresServer } from '../support/postgres-server.ts';

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

const TAKE_OVER = `update syncline.lease set holder = 'another agent', renewed_at = clock_timestamp()`;

/** Who has to be waited for. */
async function leaseHolder(sql: PostgresClient): Promise<string | null> {
  const { rows } = await sql.query(`select holder from syncline.lease where renewed_at > '-infinity'`);
  return rows[0]?.holder ?? null;
}
