// Merge rules over the API: what is taken, what is refused and how it is told.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { MergePage, type MergeVersion } from '../../src/api/merge-schemas.ts';
import { type Answer, assertFits, assertProblem, type Json } from '../support/api-fixture.ts';
import { acknowledge, activate, register, registered, startMergeApi } from '../support/merge-api.ts';
import { PostgresServer } from '../support/postgres-server.ts';

let server: PostgresServer;
before(async () => {
  server = await PostgresServer.start({ settings: { fsync: 'off' } });
});
after(async () => {
  await server[Symbol.asyncDispose]();
});

describe('registering', () => {
  test('gives the version with all that it says, and the same one for the same content', async () => {
    await using fixture = await startMergeApi(server);
    const columns = { qty: 'counter', items: 'set' };
    const version = await registered(fixture, { table: 'public.carts', columns, options: { deletes: 'update-wins' } });
    assert.match(version.version_id, /^[0-9a-f]{64}$/);
    assert.deepEqual([version.table, version.state, version.registered_by], ['public.carts', 'staged', 'eu']);
    assert.deepEqual(version.missing_regions, ['eu', 'us', 'ap']);
    assert.deepEqual(version.rollout, { mode: 'immediate', percent: 100, role: 'version' });
    const { definition } = version;
    assert.deepEqual([definition.strategy, definition.columns, definition.deletes], ['lww', columns, 'update-wins']);
    assert.deepEqual([definition.key, definition.function_hash], [['id'], null]);
    const again = await registered(fixture, {
      options: { deletes: 'update-wins' },
      columns: { items: 'set', qty: 'counter' },
      table: 'carts',
    });
    assert.equal(again.version_id, version.version_id);
    const other = await registered(fixture, { table: 'carts', columns });
    assert.notEqual(other.version_id, version.version_id);
    const wide = await registered(fixture, { table: 'wide', strategy: 'lww-columns' });
    assert.deepEqual(wide.definition.key, ['b', 'a']);
    const { rows } = await fixture.client.query('select count(*) as n from syncline.merge_version');
    assert.equal(rows[0]?.n, '3');
  });

  test('keeps what a result has to hold to', async () => {
    await using fixture = await startMergeApi(server);
    await registered(fixture, { table: 'carts', columns: { qty: 'counter', left_over: 'max' } });
    const { rows } = await fixture.client.query('select definition::text as definition from syncline.merge_version');
    const { validity, rule } = JSON.parse(rows[0]?.definition ?? '') as {
      validity: { columns: { name: string; type: string; not_null: boolean }[]; checks: { definition: string }[] };
      rule: { needsValidation: boolean; columns: unknown };
    };
    const column = (name: string): unknown => validity.columns.find((each) => each.name === name);
    assert.deepEqual(column('qty'), { name: 'qty', type: 'integer', not_null: true });
    assert.deepEqual(column('note'), { name: 'note', type: 'character varying(20)', not_null: false });
    assert.deepEqual(column('left_over'), { name: 'left_over', type: 'public.positive', not_null: false });
    assert.equal(column('twice'), undefined);
    assert.deepEqual(validity.checks.map(({ definition }) => definition).sort(), [
      'CHECK ((VALUE > 0))',
      'CHECK ((qty >= 0))',
    ]);
    assert.equal(rule.needsValidation, true);
    assert.deepEqual(rule.columns, {
      qty: { strategy: 'counter', typeName: 'int4' },
      left_over: { strategy: 'max', typeName: 'int4' },
    });
  });

  test('takes a function whose types are stripped once, and hides it from lists', async () => {
    await using fixture = await startMergeApi(server);
    const source =
      'export default function merge({ a, b }: { a: object; b: object }): object { return { ...a, ...b }; }';
    const version = await registered(fixture, { table: 'carts', source });
    assert.equal(version.definition.strategy, null);
    assert.match(version.definition.function_hash ?? '', /^[0-9a-f]{64}$/);
    assert.doesNotMatch(version.definition.source ?? '', /: object/);
    const { body } = await fixture.call('/merge-functions');
    assert.doesNotMatch(JSON.stringify(body), /return/);
    assert.equal((await registered(fixture, { table: 'carts', source })).version_id, version.version_id);
  });

  test('refuses what cannot be, with a code for each', async () => {
    await using fixture = await startMergeApi(server);
    const refused = async (json: Json, status: number, code: string): Promise<void> => {
      assertProblem(await register(fixture, json), status, code);
    };
    const qty = { columns: { qty: 'counter' } };
    await refused({ table: 'nowhere', ...qty }, 404, 'SYN-T100');
    await refused({ table: 'other.t', ...qty }, 404, 'SYN-T100');
    await refused({ table: 'hidden', ...qty }, 404, 'SYN-T100');
    await refused({ table: 'syncline.merge_ack', ...qty }, 404, 'SYN-T100');
    await refused({ table: 'keyless', columns: { n: 'counter' } }, 422, 'SYN-P012');
    await refused({ table: 'mails', strategy: 'lww-columns' }, 422, 'SYN-T102');
    await refused({ table: 'rooms', strategy: 'lww-columns' }, 422, 'SYN-T102');
    await refused({ table: 'parts_1', columns: { n: 'counter' } }, 422, 'SYN-T101');
    await refused({ table: 'carts' }, 422, 'SYN-T101');
    await refused({ table: 'carts', columns: {} }, 422, 'SYN-T101');
    await refused({ table: 'carts', strategy: 'lww', source: 'export default () => ({})' }, 422, 'SYN-T101');
    await refused({ table: 'carts', ...qty, options: { limits: { steps: 5 } } }, 422, 'SYN-T101');
    await refused({ table: 'carts', columns: { id: 'counter' } }, 422, 'SYN-T101');
    await refused({ table: 'carts', columns: { twice: 'max' } }, 422, 'SYN-T101');
    await refused({ table: 'carts', columns: { nothing: 'max' } }, 422, 'SYN-T101');
    await refused({ table: 'carts', columns: { price: 'counter' } }, 422, 'SYN-A080');
    await refused({ table: 'carts', columns: { qty: 'set' } }, 422, 'SYN-A080');
    await refused({ table: 'carts', columns: { qty: 'sum' } }, 400, 'SYN-T005');
    await refused({ table: 'carts', source: 'export default (' }, 422, 'SYN-A082');
    await refused({ table: 'carts', source: 'export const merge = 1' }, 422, 'SYN-A083');
    await refused({ table: 'carts', ...qty, rollout: { mode: 'percent' } }, 400, 'SYN-T005');
    await refused({ table: 'carts', ...qty, rollout: { mode: 'shadow', percent: 5 } }, 400, 'SYN-T005');
    await refused({ table: 'carts', ...qty, rollout: { mode: 'percent', percent: 101 } }, 400, 'SYN-T005');
    await refused({ table: 'carts', ...qty, more: 1 }, 400, 'SYN-T005');
    fixture.streams = false;
    await refused({ table: 'carts', ...qty }, 503, 'SYN-T106');
    const { rows } = await fixture.client.query('select count(*) as n from syncline.merge_version');
    assert.equal(rows[0]?.n, '0');
    fixture.streams = true;
    await registered(fixture, { table: 'parts', columns: { n: 'counter' } });
  });

  test('is for operators, and lists are for viewers', async () => {
    const tokens = (['viewer', 'operator'] as const).map((role) => ({ token: `${role}-token-of-the-test`, role }));
    await using fixture = await startMergeApi(server, { api: { listen: '127.0.0.1:0', tokens } });
    const as = (role: string): { headers: Record<string, string> } => ({
      headers: { authorization: `Bearer ${role}-token-of-the-test` },
    });
    const json = { table: 'carts', columns: { qty: 'counter' } };
    assertProblem(await fixture.call('/merge-functions', { json }), 401, 'SYN-T003');
    assertProblem(await fixture.call('/merge-functions', { json, ...as('viewer') }), 403, 'SYN-T004');
    const { status, body } = await fixture.call('/merge-functions', { json, ...as('operator') });
    assert.equal(status, 200);
    const path = `/merge-functions/${String(body.version_id)}`;
    for (const each of ['promote', 'rollback']) {
      assertProblem(await fixture.call(`${path}/${each}`, { json: {}, ...as('viewer') }), 403, 'SYN-T004');
    }
    assertProblem(await fixture.call(path, as('viewer')), 403, 'SYN-T004');
    assert.equal((await fixture.call('/merge-functions', as('viewer'))).status, 200);
  });
});

describe('the list', () => {
  test('tells the state of each version, region by region', async () => {
    await using fixture = await startMergeApi(server);
    const { version_id: id } = await registered(fixture, { table: 'carts', columns: { qty: 'counter' } });
    const told = async (): Promise<MergeVersion> => (await fixture.call(`/merge-functions/${id}`)).body as MergeVersion;
    await acknowledge(fixture, id, 'eu', 'us');
    assert.deepEqual([(await told()).state, (await told()).missing_regions], ['staged', ['ap']]);
    await fixture.client.query(
      `insert into syncline.merge_ack (version_id, region, verdict, reason) values ($1, 'ap', 'refused', 'no table')`,
      [id],
    );
    const refused = await told();
    assert.equal(refused.state, 'staged');
    assert.deepEqual(
      refused.regions.map(({ region, state, reason }) => [region, state, reason]),
      [
        ['eu', 'acknowledged', null],
        ['us', 'acknowledged', null],
        ['ap', 'refused', 'no table'],
      ],
    );
    await fixture.client.query(`update syncline.merge_ack set verdict = 'ok', reason = null where region = 'ap'`);
    assert.equal((await told()).state, 'acknowledged');
    await activate(fixture, 'eu', 'us');
    assert.equal((await told()).state, 'acknowledged');
    await activate(fixture, 'ap');
    assert.equal((await told()).state, 'active');
    await fixture.call(`/merge-functions/${id}/rollback`, { json: {} });
    assert.deepEqual([(await told()).state, (await told()).rollout], ['active', null]);
    await activate(fixture, 'eu', 'us', 'ap');
    assert.equal((await told()).state, 'retired');
  });

  test('holds each version once, the newest first, page by page', async () => {
    await using fixture = await startMergeApi(server);
    const ids: string[] = [];
    for (const table of ['carts', 'wide', 'parts']) {
      for (const deletes of ['latest', 'delete-wins', 'update-wins']) {
        ids.unshift((await registered(fixture, { table, strategy: 'lww-columns', options: { deletes } })).version_id);
      }
    }
    const found: string[] = [];
    for (let cursor: string | null | undefined; cursor !== null; ) {
      const { body } = await fixture.call(`/merge-functions?limit=2${cursor === undefined ? '' : `&cursor=${cursor}`}`);
      assertFits(MergePage, body);
      const page = body as { items: MergeVersion[]; next_cursor: string | null };
      found.push(...page.items.map(({ version_id }) => version_id));
      cursor = page.next_cursor;
    }
    assert.deepEqual(found, ids);
    for (const table of ['wide', 'public.wide']) {
      const { body } = await fixture.call(`/merge-functions?table=${table}`);
      assert.equal((body.items as unknown[]).length, 3);
    }
    assertProblem(await fixture.call('/merge-functions?cursor=x'), 400, 'SYN-T005');
    await fixture.client.query(
      `insert into syncline.merge_version (version_id, region, schema_name, table_name, definition, registered_by)
       select lpad(n::text, 64, '0'), 'us', 'public', 'many', definition, 'us'
         from generate_series(1, 45) n, (select definition from syncline.merge_version limit 1) as one`,
    );
    const ofMany = async (limit: number): Promise<MergeVersion[]> =>
      (await fixture.call(`/merge-functions?table=many&limit=${limit}`)).body.items as MergeVersion[];
    for (const limit of [1, 20, 30, 45, 1_000]) assert.equal((await ofMany(limit)).length, Math.min(limit, 45));
    assert.deepEqual(
      (await ofMany(45)).map(({ version_id }) => Number(version_id)),
      Array.from({ length: 45 }, (_, place) => 45 - place),
    );
  });
});

describe('promoting and rolling back', () => {
  test('go from what is wanted, and say so where nothing is', async () => {
    await using fixture = await startMergeApi(server);
    const first = await registered(fixture, { table: 'carts', columns: { qty: 'counter' } });
    const rollout = { mode: 'percent', percent: 5 };
    const second = await registered(fixture, { table: 'carts', columns: { qty: 'max' }, rollout });
    const roleOf = async ({ version_id }: MergeVersion): Promise<unknown> =>
      ((await fixture.call(`/merge-functions/${version_id}`)).body as MergeVersion).rollout;
    assert.deepEqual(await roleOf(first), { ...rollout, role: 'base' });
    assert.deepEqual(await roleOf(second), { ...rollout, role: 'version' });
    const act = async ({ version_id }: MergeVersion, what: string, json: Json = {}): Promise<Answer> =>
      await fixture.call(`/merge-functions/${version_id}/${what}`, { json });
    await act(second, 'promote', { mode: 'percent', percent: 50 });
    assert.deepEqual(await roleOf(first), { mode: 'percent', percent: 50, role: 'base' });
    await act(second, 'rollback');
    assert.deepEqual(
      [await roleOf(first), await roleOf(second)],
      [{ mode: 'immediate', percent: 100, role: 'version' }, null],
    );
    assertProblem(await act(second, 'rollback'), 409, 'SYN-T104');
    const post = { method: 'POST' };
    assert.equal((await fixture.call(`/merge-functions/${second.version_id}/promote`, post)).status, 200);
    await act(second, 'promote', { percent: 7 });
    assert.deepEqual(await roleOf(second), { mode: 'percent', percent: 7, role: 'version' });
    await act(second, 'promote');
    await act(second, 'rollback', { to: null });
    assert.deepEqual([await roleOf(first), await roleOf(second)], [null, null]);
    await act(first, 'promote');
    assert.equal((await act(first, 'rollback', { to: second.version_id })).status, 200);
    assert.equal(((await roleOf(second)) as Json).mode, 'immediate');
    const elsewhere = await registered(fixture, { table: 'wide', strategy: 'lww-columns' });
    assertProblem(await act(second, 'rollback', { to: elsewhere.version_id }), 404, 'SYN-T103');
    const unknown = { ...first, version_id: '0'.repeat(64) };
    for (const what of ['promote', 'rollback']) assertProblem(await act(unknown, what), 404, 'SYN-T103');
    assertProblem(await act({ ...first, version_id: 'x' }, 'promote'), 400, 'SYN-T005');
    const { rows } = await fixture.client.query(
      `select count(distinct generation) as n, count(*) as rows from syncline.merge_intent where table_name = 'carts'`,
    );
    assert.deepEqual(rows, [{ n: '1', rows: '1' }]);
  });

  test('of many at once leave one wish above all others', async () => {
    await using fixture = await startMergeApi(server);
    const { version_id: id } = await registered(fixture, { table: 'carts', columns: { qty: 'counter' } });
    const percents = Array.from({ length: 20 }, (_, place) => place);
    const answers = await Promise.all(
      percents.map(
        async (percent) => await fixture.call(`/merge-functions/${id}/promote`, { json: { mode: 'percent', percent } }),
      ),
    );
    assert.ok(answers.every(({ status }) => status === 200));
    const { rows } = await fixture.client.query('select generation from syncline.merge_intent');
    assert.deepEqual(rows, [{ generation: '21' }]);
  });
});
