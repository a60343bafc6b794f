// What the API answers, over a real database, with an agent whose state the tests set. Also the store of links.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { TSchema } from 'typebox';
import * as schemas from '../../src/api/schemas.ts';
import { LinkStore } from '../../src/topology/link-store.ts';
import { ApiFixture, assertFits, assertProblem } from '../support/api-fixture.ts';
import { addConflicts, addQuarantined, uuid } from '../support/api-records.ts';
import { PostgresServer } from '../support/postgres-server.ts';

let server: PostgresServer;
before(async () => {
  server = await PostgresServer.start({ settings: { fsync: 'off' } });
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
    const [edited = '', ...ids] = [3, 1, 2].map((number) => uuid(number).replace('7000', '7abc'));
    const event_ids = ids.map((id) => id.toUpperCase());
    const retried = await fixture.call('/quarantine/retry', { json: { event_ids } });
    assertFits(schemas.Retried, retried.body);
    const discarded = await fixture.call('/quarantine/discard', { json: { event_ids } });
    assert.deepEqual(discarded.body, { discarded: 2 });
    assert.deepEqual([fixture.agent.retried, fixture.agent.discarded], [ids, ids]);
    const edit = { event_id: edited.toUpperCase(), values: { u: '7', v: null } };
    assert.deepEqual((await fixture.call('/quarantine/edit', { json: edit })).body, { edited: true });
    assert.deepEqual(fixture.agent.edited, [{ parkedId: edited, values: edit.values }]);
  });

  test('as metrics has labels by region, and tells states, ages and totals', async () => {
    await using fixture = await ApiFixture.start(server);
    const transfer = { state: 'ready', rows_told: 1, rows_total: 2, percent: 50 } as const;
    fixture.agent.state = {
      problems: [{ code: 'SYN-P012', detail: 'public.t has no primary key' }],
      transfers: [{ table: 'public.late', region: 'us', ...transfer }],
    };
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
        'syncline_transfer_percent{table="public.late",region_source="us",region="eu"} 50',
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
    assert.deepEqual(answer.body.ineffective, ['bandwidth_limit_bytes_per_s', 'tables']);
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

/** A link as an agent that starts with these peers reads it. */
async function reopened({ client }: ApiFixture, peers: string[], id: string) {
  const links = await new LinkStore(client, 'eu').open(peers);
  return links.find(({ link_id }) => link_id === id);
}
