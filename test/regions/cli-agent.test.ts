// What `syncline agent` says when it cannot serve: the code, the cause and what to do, a failing exit
// code, and no stack.

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { freePorts } from '../../src/platform/servers/free-port.ts';
import { assertSays, run, start, startInto } from '../support/command.ts';
import { PostgresServer } from '../support/postgres-server.ts';
import { waitFor } from '../support/wait-for.ts';

let server: PostgresServer;
let folder: string;
let number = 0;

before(async () => {
  server = await PostgresServer.start({ settings: { fsync: 'off' } });
  folder = await mkdtemp(join(tmpdir(), 'syncline-agent-'));
});
after(async () => {
  await server[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

async function configFile(change: Record<string, unknown>): Promise<string> {
  number += 1;
  const config = {
    region: `r${number}`,
    database: server.url(await server.createDatabase()),
    log: { path: join(folder, 'log') },
    api: { listen: '127.0.0.1:0' },
    peers: [{ region: 'other' }],
    ...change,
  };
  const path = join(folder, `${number}.yaml`);
  await writeFile(path, JSON.stringify(config));
  return path;
}

describe('an agent that cannot serve says why', () => {
  test('for its configuration', async () => {
    assertSays(await run(['agent', '-c', join(folder, 'none.yaml')]), 'SYN-C001');
    assertSays(await run(['agent', '-c', await configFile({ region: 'Not A Region' })]), 'SYN-C004');
    assertSays(await run(['agent', '-c', await configFile({ peer: [] })]), 'SYN-C005');
  });

  test('for its database', async () => {
    const url = new URL(server.url());
    url.password = 'wrong';
    assertSays(await run(['agent', '-c', await configFile({ database: url.href })]), 'SYN-P008');
    assertSays(await run(['agent', '-c', await configFile({ database: server.url('nowhere') })]), 'SYN-P010');
  });

  test('for its address, before it touches the database', async () => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen({ host: '127.0.0.1', port: 0 }, resolve));
    const address = taken.address();
    const port = typeof address === 'object' ? address?.port : 0;
    const path = await configFile({
      api: { listen: `127.0.0.1:${port}` },
      database: 'postgres://nobody@127.0.0.1:1/x',
    });
    assertSays(await run(['agent', '-c', path]), 'SYN-T006');
    await new Promise((resolve) => taken.close(resolve));
  });

  test('but waits for a database that is away, and ends in order when it is told to', async () => {
    const path = await configFile({ database: 'postgres://nobody:x@127.0.0.1:1/x' });
    const agent = start(['agent', '-c', path]);
    let printed = '';
    agent.process.stdout?.on('data', (chunk: string) => {
      printed += chunk;
    });
    await waitFor(() => printed.includes('SYN-P009'), { what: 'the agent tells that the database is away' });
    const api = /"api":"([^"]+)"/.exec(printed)?.[1];
    assert.deepEqual([(await fetch(`${api}/healthz`)).status, (await fetch(`${api}/readyz`)).status], [200, 503]);
    agent.process.kill('SIGTERM');
    assert.equal((await agent.outcome).code, 0);
  });

  test('for another agent of its region, which goes on undisturbed', async () => {
    const path = await configFile({});
    const first = start(['agent', '-c', path]);
    let printed = '';
    first.process.stdout?.on('data', (chunk: string) => {
      printed += chunk;
    });
    const api = await waitFor(() => /"api":"([^"]+)"/.exec(printed)?.[1], { what: 'the API listens' });
    const ready = async (): Promise<boolean> => (await fetch(`${api}/readyz`)).ok;
    await waitFor(ready, { what: 'the first agent is ready' });
    assertSays(await run(['agent', '-c', path]), 'SYN-K005');
    assert.equal(await ready(), true);
    first.process.kill('SIGTERM');
    assert.equal((await first.outcome).code, 0);
  });
});

test('an agent whose own log can never be written serves its region, and ends in order', async () => {
  const [port] = await freePorts(1);
  const path = await configFile({ api: { listen: `127.0.0.1:${port}` } });
  const agent = startInto('/dev/full', ['agent', '-c', path]);
  const ready = async (): Promise<boolean> => (await fetch(`http://127.0.0.1:${port}/readyz`)).ok;
  await waitFor(ready, { what: 'the agent is ready' });
  agent.process.kill('SIGTERM');
  const { code, stderr } = await agent.outcome;
  assert.deepEqual([code, stderr], [0, '']);
});

describe('commands that ask an agent', () => {
  test('say when none is named, and when none answers', async () => {
    assertSays(await run(['status']), 'SYN-T007');
    assertSays(await run(['conflicts', '--api', 'http://127.0.0.1:7']), 'SYN-T007');
    assertSays(await run(['quarantine', 'discard', '--all', '--api', 'http://127.0.0.1:7']), 'SYN-T012');
    const { code, stderr } = await run(['nonsense']);
    assert.deepEqual([code, stderr], [1, "error: unknown command 'nonsense'\n"]);
  });
});
