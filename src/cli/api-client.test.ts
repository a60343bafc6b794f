import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { ApiClient, targetsOf } from './api-client.ts';

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

async function withServer(handler: Handler, work: (url: string) => Promise<void>): Promise<void> {
  const server = createServer(handler);
  await new Promise<void>((resolve) => server.listen({ host: '127.0.0.1', port: 0 }, resolve));
  const address = server.address();
  try {
    await work(`http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`);
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}

test('asks with query and token, and gives the answer', async () => {
  const seen: (string | undefined)[] = [];
  const handler: Handler = (request, response) => {
    seen.push(request.method, request.url, request.headers.authorization);
    response.setHeader('content-type', 'application/json').end('{"items":[]}');
  };
  await withServer(handler, async (url) => {
    const client = new ApiClient({ url, token: 'secret' });
    assert.deepEqual(await client.get('/conflicts', { table: 'a b', limit: 5, cursor: undefined }), { items: [] });
    await new ApiClient({ url, token: undefined }).patch('/x', {});
  });
  assert.deepEqual(seen, ['GET', '/conflicts?table=a+b&limit=5', 'Bearer secret', 'PATCH', '/x', undefined]);
});

test('gives a problem back as the error that the agent had', async () => {
  const answers = [
    ['{"code":"SYN-T002","detail":"it is of us"}', { code: 'SYN-T002', detail: 'it is of us' }],
    ['{"code":"SYN-Z999","detail":"news"}', { code: 'SYN-T010', message: /SYN-Z999: news/ }],
    ['<html>', { code: 'SYN-T007', message: /no API of an agent: it answered with 409/ }],
    ['{}', { code: 'SYN-T007' }],
  ] as const;
  for (const [body, error] of answers) {
    const handler: Handler = (_, response) => response.writeHead(409).end(body);
    await withServer(handler, async (url) => {
      await assert.rejects(new ApiClient({ url, token: undefined }).get('/x'), error);
    });
  }
});

test('says why an agent cannot be reached', async () => {
  let gone = '';
  await withServer(
    () => undefined,
    async (url) => {
      gone = url;
    },
  );
  await assert.rejects(new ApiClient({ url: gone, token: undefined }).get('/x'), {
    code: 'SYN-T007',
    message: /ECONNREFUSED/,
  });
});

test('agents are found by address or configuration, with the token of the highest role', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'syncline-client-'));
  try {
    const file = async (name: string, api: unknown): Promise<string> => {
      const path = join(folder, name);
      await writeFile(path, JSON.stringify({ region: 'eu', database: 'postgres://x/y', api }));
      return path;
    };
    const tokens = [
      { token: 'low', role: 'viewer' },
      { token: 'high', role: 'admin' },
      { token: 'mid', role: 'operator' },
    ];
    const all = await file('all.yaml', { listen: '0.0.0.0:7400', tokens });
    const six = await file('six.yaml', { listen: '[::1]:7401' });
    assert.deepEqual(await targetsOf({ config: [all, six], api: ['http://far:1/'], token: 'given' }), [
      { url: 'http://far:1', token: 'given' },
      { url: 'http://127.0.0.1:7400', token: 'given' },
      { url: 'http://[::1]:7401', token: 'given' },
    ]);
    assert.deepEqual(await targetsOf({ config: [all] }), [{ url: 'http://127.0.0.1:7400', token: 'high' }]);
    await assert.rejects(targetsOf({}), { code: 'SYN-T007' });
  } finally {
    await rm(folder, { recursive: true });
  }
});
