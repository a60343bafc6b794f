/** What comes in the way of a start once it is under way: it waits for what passes, and ends in order with what does not. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
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
