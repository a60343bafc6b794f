import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createConnection, createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { TcpProxy } from './tcp-proxy.ts';
import { waitFor } from './wait-for.ts';

interface Bench extends AsyncDisposable {
  readonly proxy: TcpProxy;
  connect(): Promise<Socket>;
}

/** A proxy in front of a server that sends back what it gets. */
async function bench(): Promise<Bench> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.pipe(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert.ok(address !== null && typeof address === 'object');
  const proxy = await TcpProxy.start({ host: '127.0.0.1', port: address.port });
  return {
    proxy,
    async connect() {
      const socket = createConnection({ host: proxy.host, port: proxy.port });
      socket.on('error', () => undefined);
      await once(socket, 'connect');
      return socket;
    },
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]();
      server.close();
    },
  };
}

async function echoed(socket: Socket, text: string): Promise<string> {
  let received = '';
  const collect = (chunk: Buffer): void => {
    received += chunk.toString();
  };
  socket.on('data', collect);
  socket.write(text);
  await waitFor(() => received.length >= text.length, { what: 'the echo' });
  socket.off('data', collect);
  return received;
}

test('bytes pass whole and in order, with latency too', async () => {
  await using made = await bench();
  const socket = await made.connect();
  const text = Array.from({ length: 50_000 }, (_, index) => `${index},`).join('');
  assert.equal(await echoed(socket, text), text);
  made.proxy.latencyMs = 20;
  const start = performance.now();
  assert.equal(await echoed(socket, text), text);
  // A lower bound only: a busy machine makes it longer, never shorter.
  assert.ok(performance.now() - start >= 30, 'there and back');
  socket.destroy();
});

test('a cut resets what is connected, and new connections are served', async () => {
  await using made = await bench();
  const old = await made.connect();
  await echoed(old, 'x');
  assert.equal(made.proxy.connections, 1);
  made.proxy.cut();
  await waitFor(() => old.closed, { what: 'the reset' });
  assert.equal(await echoed(await made.connect(), 'new'), 'new');
});

test('refusing turns connections away until it is healed', async () => {
  await using made = await bench();
  const old = await made.connect();
  await made.proxy.refuse();
  await waitFor(() => old.closed, { what: 'the reset' });
  await assert.rejects(made.connect(), { code: 'ECONNREFUSED' });
  await made.proxy.heal();
  assert.equal(await echoed(await made.connect(), 'back'), 'back');
});

test('a black hole holds bytes, closes nothing, and delivers once it is healed', async () => {
  await using made = await bench();
  const socket = await made.connect();
  await echoed(socket, 'x');
  made.proxy.blackHole();
  const answer = echoed(socket, 'held');
  const probe = await made.connect();
  assert.equal(probe.destroyed, false);
  await made.proxy.heal();
  assert.equal(await answer, 'held');
});
