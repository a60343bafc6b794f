// The pages of long lists: each entry once, whatever arrives meanwhile, and none too large.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { conflictStatement } from '../../src/api/conflict-list.ts';
import type * as schemas from '../../src/api/schemas.ts';
import { ApiFixture } from '../support/api-fixture.ts';
import { addConflicts, addQuarantined, uuid } from '../support/api-records.ts';
import { PostgresServer } from '../support/postgres-server.ts';

let server: PostgresServer;
before(async () => {
  server = await PostgresServer.start({ settings: { fsync: 'off' } });
});
after(async () => {
  await server[Symbol.asyncDispose]();
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
