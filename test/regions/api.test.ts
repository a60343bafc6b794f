// The API over a real database, with an agent whose state the tests set. Also the store of links.

import assert from 'node:assert/strict';
import { request } from 'node:http';
import { after, before, describe, test } from 'node:test';
import type { TSchema } from 'typebox';
import { conflictStatement } from '../../src/api/conflict-list.ts';
import * as schemas from '../../src/api/schemas.ts';
import { ApiServer } from '../../src/api/server.ts';
import { connect } from '../../src/platform/postgres.ts';
import { LinkStore } from '../../src/topology/link-store.ts';
import { ApiFixture, assertFits, assertProblem, configOf } from '../support/api-fixture.ts';
import { PostgresServer } from '../support/postgres-server.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';
import { waitFor } from '../support/wait-for.ts';

const uuid = (number: number): string => `01890000-0000-7000-8000-${String(number).padStart(12, '0')}`;

let server: PostgresServer;
before(async () => {
  server = await PostgresServer.start({ version: 18, settings: { fsync: 'off' } });
});
after(async () => {
  await server[Symbol.asyncDispose]();
});

describe('what the API answers', () => {
  test('fits the schemas that /openapi.json shows', async () => {
    await using fixture = await ApiFixture.start(server);
    await addConflicts(fixture, 2);
    await addQuarantined(fixture, 2);
    await fixture.client.query('create table public.t (id bigserial primary key, v text unique check (v > $$a$$))');
    const answers: readonly (readonly [string, TSchema])[] = [
      ['/healthz', schemas.Health],
      ['/readyz', schemas.Health],
      ['/status', schemas.Status],
      ['/topology', schemas.Topology],
      ['/lag', schemas.LagPage],
      ['/conflicts', schemas.ConflictPage],
      ['/quarantine', schemas.QuarantinePage],
      ['/region', schemas.RegionPortrait],
      ['/region/clock', schemas.Clock],
    ];
    const { body } = await fixture.call('/openapi.json');
    const paths = body.paths as Record<string, Record<string, { responses: Record<string, unknown> }>>;
    for (const [path, schema] of answers) {
      const answer = await fixture.call(path);
      assert.equal(answer.status, 200, path);
      assertFits(schema, answer.body);
      assert.ok(paths[path]?.get?.responses['200'] !== undefined, path);
    }
    assert.ok(paths['/topology/links/{link_id}']?.patch !== undefined);
    assert.ok(paths['/conflicts/{conflict_id}/reapply']?.post?.responses['200'] !== undefined);
    assert.equal(body.openapi, '3.1.0');
  });

  test('about topology, lag and events is what the agent says', async () => {
    await using fixture = await ApiFixture.start(server);
    const topology = await fixture.call('/topology');
    assert.deepEqual(topology.body.regions, [
      { region_id: 'eu', is_self: true, api: null, last_heard_at: '2026-01-01T00:00:00.000Z' },
      {
        region_id: 'us',
        is_self: false,
        api: 'http://us.example:7400',
        last_heard_at: '2026-01-01T00:00:00.000000Z',
      },
      { region_id: 'ap', is_self: false, api: null, last_heard_at: '2026-01-01T00:00:00.000000Z' },
    ]);
    assert.deepEqual(topology.body.links, fixture.agent.status().links);
    const [lag] = (await fixture.call('/lag')).body.items as Record<string, unknown>[];
    assert.deepEqual(
      [lag?.link_id, lag?.lag_ms, lag?.lag_p50_ms, lag?.lag_p99_ms, lag?.events_waiting],
      ['ap:eu', 1_500, 4.5, null, 3],
    );
    const ids = [uuid(1), uuid(2)];
    const retried = await fixture.call('/quarantine/retry', { json: { event_ids: ids } });
    assertFits(schemas.Retried, retried.body);
    const discarded = await fixture.call('/quarantine/discard', { json: { event_ids: ids } });
    assert.deepEqual(discarded.body, { discarded: 2 });
    assert.deepEqual([fixture.agent.retried, fixture.agent.discarded], [ids, ids]);
    const edit = { event_id: uuid(3), values: { u: '7', v: null } };
    assert.deepEqual((await fixture.call('/quarantine/edit', { json: edit })).body, { edited: true });
    assert.deepEqual(fixture.agent.edited, [{ parkedId: edit.event_id, values: edit.values }]);
  });

  test('as metrics has labels by region, and tells states, ages and totals', async () => {
    await using fixture = await ApiFixture.start(server);
    fixture.agent.state = { problems: [{ code: 'SYN-P012', detail: 'public.t has no primary key' }] };
    for (let scrape = 0; scrape < 2; scrape += 1) {
      const { body, type } = await fixture.call('/metrics');
      assert.match(type, /^text\/plain/);
      const lines = String(body.text).split('\n');
      const wanted = [
        'syncline_link_lag_seconds{region_source="us",region_target="eu",region="eu"} 1.5',
        'syncline_link_delay_seconds{region_source="us",region_target="eu",quantile="0.5",region="eu"} 0.0045',
        'syncline_link_status{region_source="us",region_target="eu",status="active",region="eu"} 1',
        'syncline_link_status{region_source="us",region_target="eu",status="paused",region="eu"} 0',
        'syncline_link_events_applied_total{region_source="us",region_target="eu",region="eu"} 100',
        'syncline_link_quarantined{region_source="us",region_target="eu",region="eu"} 1',
        'syncline_conflicts_total{table="public.t",region="eu"} 2',
        'syncline_slot_retained_bytes{region="eu"} 4096',
        'syncline_capture_state{state="streaming",region="eu"} 1',
        'syncline_apply_state{state="retrying",region="eu"} 0',
        'syncline_apply_restarts_total{region="eu"} 1',
        'syncline_problems{code="SYN-P012",region="eu"} 1',
        'syncline_ready{region="eu"} 1',
      ];
      for (const line of wanted) assert.ok(lines.includes(line), `scrape ${scrape}: ${line}\n${body.text}`);
      assert.ok(lines.some((line) => line.startsWith('process_resident_memory_bytes{')));
      assert.ok(!String(body.text).includes('quantile="0.99"'), 'what is not known is left out');
      assert.ok(lines.some((line) => line.startsWith('syncline_link_heartbeat_age_seconds{region_source="ap"')));
    }
  });

  test('while the agent starts, or is not ready, says so with the reasons', async () => {
    await using fixture = await ApiFixture.start(server, {}, true);
    assert.equal((await fixture.call('/healthz')).status, 200);
    assertProblem(await fixture.call('/readyz'), 503, 'SYN-T011');
    assertProblem(await fixture.call('/topology'), 503, 'SYN-T011');
    fixture.api.serve(fixture.agent);
    assert.equal((await fixture.call('/readyz')).status, 200);
    const problem = { code: 'SYN-P009', detail: 'db.internal:5432 refused' } as const;
    const { apply, capture } = fixture.agent.status();
    fixture.agent.state = { ready: false, apply: { ...apply, state: 'retrying', problem } };
    fixture.agent.link = { status: 'degraded' };
    const answer = await fixture.call('/readyz');
    assertProblem(answer, 503, 'SYN-T011');
    assert.deepEqual(answer.body.reasons, [
      'apply is retrying (SYN-P009)',
      'link ap:eu is degraded',
      'link us:eu is degraded',
    ]);
    assert.ok(!JSON.stringify(answer.body).includes('db.internal'), 'a probe has no token');
    fixture.agent.state = { ready: false, capture: { ...capture, state: 'starting' } };
    fixture.agent.link = {};
    assert.deepEqual((await fixture.call('/readyz')).body.reasons, ['capture is starting']);
  });
});

describe('links', () => {
  test('are changed by name, persisted, and come back as they were left', async () => {
    await using fixture = await ApiFixture.start(server);
    const change = { status: 'paused', lag_slo_ms: 250, bandwidth_limit_bytes_per_s: 4_096, tables: ['public.*'] };
    const answer = await fixture.patchLink('us:eu', change);
    assert.equal(answer.status, 200);
    assertFits(schemas.Link, answer.body);
    for (const each of [answer.body, await reopened(fixture, ['us', 'ap'], 'us:eu')]) {
      const { status, lag_slo_ms, bandwidth_limit_bytes_per_s, tables, mode } = each as Record<string, unknown>;
      assert.deepEqual({ status, lag_slo_ms, bandwidth_limit_bytes_per_s, tables }, change);
      assert.equal(mode, 'async');
    }
    await fixture.patchLink('us%3Aeu', { status: 'active', bandwidth_limit_bytes_per_s: null, tables: null });
    const link = await reopened(fixture, ['us', 'ap'], 'us:eu');
    assert.deepEqual(
      [link?.status, link?.bandwidth_limit_bytes_per_s, link?.tables, link?.lag_slo_ms],
      ['active', null, null, 250],
    );
  });

  test('of others and unknown ones are told apart, with the address of the owner', async () => {
    await using fixture = await ApiFixture.start(server);
    const known = await fixture.patchLink('eu:us', { status: 'paused' });
    assertProblem(known, 409, 'SYN-T002');
    assert.deepEqual(known.body.owner, { region: 'us', api: 'http://us.example:7400' });
    const unknown = await fixture.patchLink('us:ap', { status: 'paused' });
    assertProblem(unknown, 409, 'SYN-T002');
    assert.deepEqual(unknown.body.owner, { region: 'ap', api: null });
    for (const id of ['zz:eu', 'eu:zz', 'eu', 'a:b:c', '%00']) {
      assertProblem(await fixture.patchLink(id, { status: 'paused' }), 404, 'SYN-T001');
    }
  });

  test('keep acknowledgements, and outlive a peer that leaves and returns', async () => {
    await using fixture = await ApiFixture.start(server);
    fixture.store.acknowledged('us:eu', uuid(7));
    await fixture.store.flush();
    await fixture.patchLink('us:eu', { lag_slo_ms: 77 });
    assert.equal(await reopened(fixture, ['ap'], 'us:eu'), undefined);
    const sql = "select status from syncline.link where link_id = 'us:eu'";
    assert.equal((await fixture.client.query(sql)).rows[0]?.status, 'decommissioned');
    const link = await reopened(fixture, ['us', 'ap'], 'us:eu');
    assert.deepEqual([link?.status, link?.lag_slo_ms, link?.last_acked_event_id], ['active', 77, uuid(7)]);
  });
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
      'region=A_B',
    ];
    for (const query of queries) assertProblem(await fixture.call(`/conflicts?${query}`), 400, 'SYN-T005');
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

describe('pages', () => {
  test('of conflicts hold each once, newest first, whatever arrives meanwhile', async () => {
    await using fixture = await ApiFixture.start(server);
    await addConflicts(fixture, 250);
    const seen: string[] = [];
    let cursor: string | null = '';
    while (cursor !== null) {
      const after = cursor === '' ? '' : `&cursor=${cursor}`;
      const { body } = await fixture.call(`/conflicts?limit=100${after}`);
      seen.push(...(body.items as schemas.Conflict[]).map(({ conflict_id }) => conflict_id));
      cursor = body.next_cursor as string | null;
      await addConflicts(fixture, 10, 1_000 + seen.length);
      // Records turn final meanwhile, some with another winner.
      await fixture.client.query(
        'update syncline.conflict_log set provisional = false, winner_hlc = winner_hlc + loser_hlc % 2 where loser_hlc % 3 = 0',
      );
    }
    // Several share a time, and then the id decides.
    const sql = `select conflict_id from syncline.conflict_log where loser_hlc < 1000
                  order by resolved_at desc, conflict_id desc`;
    const { rows } = await fixture.client.query(sql);
    assert.deepEqual(
      seen,
      rows.map((row) => row.conflict_id),
    );
  });

  test('of conflicts can be narrowed down, and carry what is known', async () => {
    await using fixture = await ApiFixture.start(server);
    await addConflicts(fixture, 30);
    const found = async (query: string): Promise<schemas.Conflict[]> =>
      (await fixture.call(`/conflicts?${query}`)).body.items as schemas.Conflict[];
    const [newest] = await found('limit=1');
    assert.deepEqual(newest, {
      conflict_id: uuid(29),
      event_id_a: uuid(29),
      event_id_b: null,
      schema_name: 'public',
      table_name: 'plain',
      row_pk: { id: '29' },
      resolution_strategy: 'lww',
      merge_version: null,
      winner_event_id: null,
      resolved_at: '2026-01-01T00:00:02.000009Z',
      image_a: { id: '29', v: 'a' },
      image_b: { id: '29', v: null },
      base_image: null,
      result_image: { id: '29', v: null },
      provisional: true,
      provisional_reason: null,
      constraint_name: null,
      parent_table: null,
      redacted: [],
      loser_region: 'us',
      winner_region: 'ap',
      loser_hlc: '0000000000000000029',
      winner_hlc: '0000000000000000030',
    });
    assert.equal((await found('table=plain')).length, 15);
    assert.equal((await found('table=public.plain')).length, 15);
    assert.equal((await found('table=odd.na.me')).length, 15);
    assert.equal((await found('table=nope')).length, 0);
    assert.equal((await found('region=us')).length, 30);
    assert.equal((await found('region=eu')).length, 0);
    assert.equal((await found('region=ap&table=plain&limit=4')).length, 4);
    assert.equal((await found('strategy=counter')).length, 0);
    assert.deepEqual(await found('pk=%7B%22id%22:29%7D'), [newest]);
    assert.equal((await found('pk=%7B%22id%22:%2231%22%7D')).length, 0);
    await fixture.client.query('update syncline.conflict_log set provisional = false where loser_hlc < 10');
    assert.equal((await found('provisional=true')).length, 20);
    assert.equal((await found('provisional=false')).length, 10);
    assert.equal((await found('from=2026-01-01T00:00:02Z')).length, 10);
    assert.equal((await found('from=2026-01-01T01:00:02%2B01:00')).length, 10);
    assert.equal((await found('to=2026-01-01T00:00:02Z')).length, 20);
    assert.equal((await found('from=2026-01-01T00:00:01Z&to=2026-01-01T00:00:02Z&table=plain')).length, 5);
  });

  test('of many conflicts are read from an index, whatever they are narrowed down by', async (t) => {
    await using fixture = await ApiFixture.start(server);
    await addConflicts(fixture, 100_000);
    await fixture.client.query(`update syncline.conflict_log set resolution_strategy = 'orphan' where loser_hlc = 77`);
    await fixture.client.query('analyze syncline.conflict_log');
    const time = '2026-01-01T01:00:00Z';
    const cursor = (await fixture.call('/conflicts?limit=100')).body.next_cursor as string;
    const queries: Omit<schemas.ConflictQuery, 'limit'>[] = [
      {},
      { cursor },
      { table: 'na.me' },
      { table: 'odd.na.me', from: time },
      { table: 'plain', from: time, to: '2026-01-01T02:00:00Z', cursor },
      { from: time },
      { to: time },
      { strategy: 'lww' },
      { strategy: 'orphan' },
      { strategy: 'counter' },
      { region: 'us' },
      { region: 'eu' },
      { region: 'ap', table: 'plain', cursor },
      { pk: '{"id":"5"}' },
      { provisional: false },
      { provisional: true },
    ];
    let slowestMs = 0;
    for (const query of queries) {
      const { text, values } = conflictStatement({ ...query, limit: 100 });
      const startedMs = performance.now();
      await fixture.client.query(text, values);
      slowestMs = Math.max(slowestMs, performance.now() - startedMs);
      const { rows } = await fixture.client.query(`explain ${text}`, values);
      const plan = rows.map((row) => row['QUERY PLAN']).join('\n');
      assert.match(plan, /Index (Only )?Scan/, JSON.stringify(query));
      assert.doesNotMatch(plan, /Seq Scan/, JSON.stringify(query));
    }
    t.diagnostic(`the slowest of ${queries.length} queries took ${slowestMs.toFixed(1)} ms`);
  });

  test('are bounded in bytes too, and still hold everything', async () => {
    await using fixture = await ApiFixture.start(server);
    await addConflicts(fixture, 12);
    // Random digits, which do not compress: no four of them fit on one page.
    await fixture.client.query(
      `update syncline.conflict_log set image_a = (
         select jsonb_build_object('v', string_agg(encode(sha256((seed * n)::text::bytea), 'hex'), ''))
           from (select random() + loser_hlc as seed) s, generate_series(1, 20000) n)`,
    );
    let pages = 0;
    const seen = new Set<string>();
    let cursor: string | null = '';
    while (cursor !== null) {
      const { body } = await fixture.call(`/conflicts?limit=100${cursor === '' ? '' : `&cursor=${cursor}`}`);
      const items = body.items as schemas.Conflict[];
      assert.ok(items.length > 0 && items.every(({ image_a }) => image_a?.v?.length === 1_280_000));
      for (const { conflict_id } of items) seen.add(conflict_id);
      pages += 1;
      cursor = body.next_cursor as string | null;
    }
    assert.equal(seen.size, 12);
    assert.equal(pages, 4);
  });

  test('of the quarantine are newest first, and leave out what is too large', async () => {
    await using fixture = await ApiFixture.start(server);
    await addQuarantined(fixture, 5);
    await fixture.client.query(
      `update syncline.quarantine set event = json_build_object('operation', 'UPDATE', 'after_image', repeat('x', 300000))
        where event_id = '${uuid(4)}'`,
    );
    const first = await fixture.call('/quarantine?limit=2');
    const [large, small] = first.body.items as schemas.Quarantined[];
    assert.deepEqual([large?.event_id, large?.operation, large?.event], [uuid(4), 'UPDATE', null]);
    assert.ok((large?.event_bytes ?? 0) > 300_000);
    assert.deepEqual([small?.event_id, small?.event, small?.row_pk], [uuid(3), { operation: 'INSERT' }, { id: '3' }]);
    const rest = await fixture.call(`/quarantine?cursor=${first.body.next_cursor as string}`);
    const ids = (rest.body.items as schemas.Quarantined[]).map(({ event_id }) => event_id);
    assert.deepEqual([ids, rest.body.next_cursor], [[uuid(2), uuid(1), uuid(0)], null]);
    assert.equal(((await fixture.call('/quarantine?table=t&region=us')).body.items as unknown[]).length, 5);
    assert.equal(((await fixture.call('/quarantine?region=ap')).body.items as unknown[]).length, 0);
  });
});

/** Ten share a millisecond; every other one is of another table. */
async function addConflicts({ client }: ApiFixture, count: number, first = 0): Promise<void> {
  await client.query(
    `insert into syncline.conflict_log (conflict_id, event_id_a, schema_name, table_name, row_pk, resolution_strategy,
        loser_hlc, loser_origin, winner_hlc, winner_origin, image_a, image_b, result_image, resolved_at)
     select id, id, case n % 2 when 0 then 'odd' else 'public' end, case n % 2 when 0 then 'na.me' else 'plain' end,
            jsonb_build_object('id', n::text), 'lww', n, 'us', n + 1, 'ap',
            jsonb_build_object('id', n::text, 'v', 'a'), jsonb_build_object('id', n::text, 'v', null),
            jsonb_build_object('id', n::text, 'v', null),
            '2026-01-01 00:00:00Z'::timestamptz + interval '1 second' * (n / 10) + interval '1 microsecond' * (n % 10 / 3 * 3)
       from generate_series($1::int, $1::int + $2::int - 1) n,
            lateral (select ('01890000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid as id) i`,
    [String(first), String(count)],
  );
}

async function addQuarantined({ client }: ApiFixture, count: number): Promise<void> {
  await client.query(
    `insert into syncline.quarantine (event_id, origin, schema_name, table_name, key, row_pk, hlc, position, event, sqlstate, error)
     select ('01890000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, 'us', 'public', 't', '["' || n || '"]',
            json_build_object('id', n::text), n, 'p', json_build_object('operation', 'INSERT'), '23514', 'no'
       from generate_series(0, $1::int - 1) n`,
    [String(count)],
  );
}

/** A link as an agent that starts with these peers reads it. */
async function reopened({ client }: ApiFixture, peers: string[], id: string) {
  const links = await new LinkStore(client, 'eu').open(peers);
  return links.find(({ link_id }) => link_id === id);
}
