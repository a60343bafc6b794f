// Which requests the API takes, of whom, and what it says where it cannot answer.

import assert from 'node:assert/strict';
import { request } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { encodeCursor } from '../../src/api/paging.ts';
import { ApiServer } from '../../src/api/server.ts';
import { connect } from '../../src/platform/postgres.ts';
import { ApiFixture, assertProblem, configOf } from '../support/api-fixture.ts';
import { uuid } from '../support/api-records.ts';
import { PostgresServer } from '../support/postgres-server.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';
import { waitFor } from '../support/wait-for.ts';

let server: PostgresServer;
before(async () => {
  server = await PostgresServer.start({ settings: { fsync: 'off' } });
});
after(async () => {
  await server[Symbol.asyncDispose]();
});

describe('requests', () => {
  test('that are not valid are refused with every field that is wrong', async () => {
    await using fixture = await ApiFixture.start(server);
    const patches = [
      [{}, ''],
      [{ lag_slo: 5 }, 'lag_slo'],
      [{ status: 'degraded' }, 'status'],
      [{ lag_slo_ms: '5' }, 'lag_slo_ms'],
      [{ tables: ['nodot'] }, 'tables[0]'],
      [[], ''],
    ] as const;
    for (const [body, path] of patches) {
      const answer = await fixture.patchLink('us:eu', body);
      assertProblem(answer, 400, 'SYN-T005');
      const problems = answer.body.problems as { path: string }[];
      assert.ok(
        problems.some((problem) => problem.path === path),
        JSON.stringify(answer.body),
      );
    }
    const queries = [
      'limit=0',
      'limit=1001',
      'limit=x',
      'nope=1',
      'cursor=x',
      'from=yesterday',
      'from=2026-13-01',
      'from=2026-02-30',
      'to=2025-02-29T00:00Z',
      'to=0000-01-01',
      'from=2026-01-31T24:01',
      'from=2026-01-31T23:60',
      'from=2026-01-31T23:59:61Z',
      `from=${encodeURIComponent('2026-01-31T12:00:00+99')}`,
      `from=${encodeURIComponent('2026-01-31T12:00:00+16:00')}`,
      `from=${encodeURIComponent('2026-01-31T12:00:00-05:60')}`,
      `cursor=${encodeCursor(['2026-01-31T12:00:00.000000Z', '-'.repeat(36)])}`,
      `cursor=${encodeCursor(['2026-02-30T12:00:00.000000Z', uuid(1)])}`,
      'region=A_B',
    ];
    for (const query of queries) assertProblem(await fixture.call(`/conflicts?${query}`), 400, 'SYN-T005');
    const times = ['2024-02-29', '9999-12-31T24:00', '0001-01-01 00:00+15:59', '2026-01-31T23:59:59.999999-1559'];
    for (const time of times) {
      const { status, body } = await fixture.call(`/conflicts?from=${encodeURIComponent(time)}`);
      assert.equal(status, 200, `${time} ${JSON.stringify(body)}`);
    }
    const nowhere = `cursor=${encodeCursor(['-'.repeat(36)])}`;
    assertProblem(await fixture.call(`/quarantine?${nowhere}`), 400, 'SYN-T005');
    const many = Array.from({ length: 1_001 }, (_, place) => uuid(place));
    for (const event_ids of [[], many, ['x'], undefined]) {
      assertProblem(await fixture.call('/quarantine/retry', { json: { event_ids } }), 400, 'SYN-T005');
    }
    assertProblem(
      await fixture.call('/quarantine/retry', { json: { event_ids: ['x'.repeat(200_000)] } }),
      413,
      'SYN-T005',
    );
    const broken = { method: 'POST', body: '{', headers: { 'content-type': 'application/json' } };
    assertProblem(await fixture.call('/quarantine/retry', broken), 400, 'SYN-T005');
    const text = { method: 'POST', body: '{}', headers: { 'content-type': 'text/plain' } };
    assertProblem(await fixture.call('/quarantine/retry', text), 415, 'SYN-T005');
    assertProblem(await fixture.call('/nowhere'), 404, 'SYN-T008');
    assertProblem(await fixture.call('/topology', { method: 'DELETE' }), 404, 'SYN-T008');
    assert.deepEqual(fixture.agent.retried, []);
  });

  test('need a token whose role is high enough', async () => {
    const tokens = [
      { token: 'see', role: 'viewer' },
      { token: 'act', role: 'operator' },
      { token: 'rule', role: 'admin' },
    ];
    await using fixture = await ApiFixture.start(server, { api: { listen: '127.0.0.1:0', tokens } });
    const as = (token: string) => ({ headers: { authorization: `Bearer ${token}` } });
    const pause = (token: string) =>
      fixture.call('/topology/links/us:eu', {
        method: 'PATCH',
        json: { status: 'paused' },
        headers: { ...as(token).headers, 'content-type': 'application/json' },
      });
    for (const path of ['/healthz', '/readyz', '/openapi.json']) assert.equal((await fixture.call(path)).status, 200);
    for (const path of ['/status', '/topology', '/lag', '/conflicts', '/quarantine', '/metrics']) {
      const refused = await fixture.call(path);
      assertProblem(refused, 401, 'SYN-T003');
      assert.match(refused.headers.get('www-authenticate') ?? '', /^Bearer/);
      assertProblem(await fixture.call(path, as('wrong')), 401, 'SYN-T003');
      assertProblem(await fixture.call(path, as('se')), 401, 'SYN-T003');
      assert.equal((await fixture.call(path, as('see'))).status, 200, path);
    }
    assertProblem(await pause('see'), 403, 'SYN-T004');
    assert.equal(fixture.store.link('us:eu').status, 'active');
    for (const token of ['act', 'rule']) assert.equal((await pause(token)).status, 200);
    const basic = { headers: { authorization: 'Basic see' } };
    assertProblem(await fixture.call('/status', basic), 401, 'SYN-T003');
  });

  test('without tokens are taken from loopback names only, and from no page of another site', async () => {
    await using fixture = await ApiFixture.start(server);
    const { port } = new URL(fixture.api.url);
    const status = (headers: Record<string, string>): Promise<number> =>
      new Promise((resolve, reject) => {
        const sent = request({ host: '127.0.0.1', port, path: '/topology', headers }, (answer) => {
          answer.resume();
          resolve(answer.statusCode ?? 0);
        });
        sent.on('error', reject).end();
      });
    assert.equal(await status({ host: `localhost:${port}` }), 200);
    assert.equal(await status({ host: '[::1]' }), 200);
    assert.equal(await status({ host: 'rebound.example' }), 401);
    assert.equal(await status({ host: 'localhost', origin: 'https://evil.example' }), 401);
    assert.equal(await status({ host: 'localhost', origin: 'http://localhost:5173' }), 200);
  });

  test('that meet a database that is away are told so, while the agent still answers', async () => {
    await using proxy = await TcpProxy.start(server);
    await using fixture = await ApiFixture.start(server);
    await using behind = await ApiServer.start(configOf(proxy.url(fixture.url)));
    behind.serve(fixture.agent);
    const conflicts = async (): Promise<number> => (await fetch(`${behind.url}/conflicts`)).status;
    assert.equal(await conflicts(), 200);
    await proxy.refuse();
    assert.equal(await conflicts(), 503);
    assert.equal((await fetch(`${behind.url}/topology`)).status, 200);
    await proxy.heal();
    assert.equal(await conflicts(), 200);
  });

  test('that the database cannot answer in time are told so, and block no others', async () => {
    await using fixture = await ApiFixture.start(server);
    await fixture.client.query('begin');
    await fixture.client.query('lock table syncline.conflict_log in access exclusive mode');
    const waiting = fixture.call('/conflicts');
    // Within a transaction, what others do is seen but once.
    await using admin = await connect(fixture.url, { applicationName: 'syncline test' });
    const cancel = `select pg_cancel_backend(pid) from pg_stat_activity
                     where application_name = 'syncline api eu' and wait_event_type = 'Lock'`;
    await waitFor(async () => (await admin.query(cancel)).rowCount > 0, { what: 'the request waits' });
    assertProblem(await waiting, 503, 'SYN-T009');
    assert.equal((await fixture.call('/quarantine')).status, 200);
    await fixture.client.query('rollback');
  });

  test('an address that is taken has its code', async () => {
    await using fixture = await ApiFixture.start(server);
    const listen = new URL(fixture.api.url).host;
    await assert.rejects(ApiServer.start(configOf(fixture.url, { api: { listen } })), { code: 'SYN-T006' });
  });
});
