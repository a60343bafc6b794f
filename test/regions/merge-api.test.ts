// Merge rules over the API and by the commands: what is taken, what is refused and how it is told.

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { MergePage, MergeVersion } from '../../src/api/merge-schemas.ts';
import { MergeRegistry } from '../../src/merge/merge-registry.ts';
import { MergeSandbox } from '../../src/resolve/merge-sandbox.ts';
import { type Answer, ApiFixture, assertFits, assertProblem, type Json } from '../support/api-fixture.ts';
import { type Outcome, run } from '../support/command.ts';
import { PostgresServer } from '../support/postgres-server.ts';

let server: PostgresServer;
before(async () => {
  server = await PostgresServer.start({ version: 18, settings: { fsync: 'off' } });
});
after(async () => {
  await server[Symbol.asyncDispose]();
});

const SCHEMA = `
create domain positive as int check (value > 0);
create table carts (id int primary key, qty int not null, price float8, items text[], note varchar(20), left_over positive,
  twice int generated always as (qty * 2) stored, check (qty >= 0));
create table wide (a text, b numeric, n int, primary key (b, a));
create table keyless (n int);
create table mails (id int primary key, mail text unique);
create table rooms (id int primary key, during int4range, exclude using gist (during with &&));
create table parts (id int primary key, n int) partition by range (id);
create table parts_1 partition of parts for values from (0) to (10);
create table hidden (id int primary key, n int);
create schema other;
create table other.t (id int primary key, n int)`;

/** The API with an agent that takes merge rules; `streams` says whether it captures. */
async function start(change: Json = {}): Promise<ApiFixture & { streams: boolean }> {
  const fixture = Object.assign(await ApiFixture.start(server, change), { streams: true });
  await fixture.client.query('set search_path = public, pg_catalog');
  await fixture.client.query(SCHEMA);
  await fixture.client.query('set search_path = pg_catalog');
  fixture.agent.merges = new MergeRegistry({
    region: 'eu',
    database: fixture.client,
    tables: { include: ['public.*'], exclude: ['public.hidden'] },
    check: async (version) => {
      await using sandbox = new MergeSandbox();
      await sandbox.check(version);
    },
    isCaptured: () => fixture.streams,
    onChange: () => {},
  });
  return fixture;
}

async function register(fixture: ApiFixture, json: Json): Promise<Answer> {
  return await fixture.call('/merge-functions', { json });
}

async function registered(fixture: ApiFixture, json: Json): Promise<MergeVersion> {
  const { status, body } = await register(fixture, json);
  assert.equal(status, 200, JSON.stringify(body));
  assertFits(MergeVersion, body);
  return body as MergeVersion;
}

/** What keepers in these regions would say. */
async function acknowledge({ client }: ApiFixture, id: string, ...regions: string[]): Promise<void> {
  for (const region of regions) {
    await client.query(`insert into syncline.merge_ack (version_id, region, verdict) values ($1, $2, 'ok')`, [
      id,
      region,
    ]);
  }
}

async function activate({ client }: ApiFixture, ...regions: string[]): Promise<void> {
  for (const region of regions) {
    await client.query(
      `insert into syncline.merge_activation as a (schema_name, table_name, region, version_id, base_version_id, mode, percent,
              generation, decided_by)
       select distinct on (schema_name, table_name) schema_name, table_name, $1, version_id, base_version_id, mode, percent,
              generation, region
         from syncline.merge_intent order by schema_name, table_name, generation desc
           on conflict (schema_name, table_name, region) do update set version_id = excluded.version_id,
              base_version_id = excluded.base_version_id, mode = excluded.mode, percent = excluded.percent,
              generation = excluded.generation`,
      [region],
    );
  }
}

describe('registering', () => {
  test('gives the version with all that it says, and the same one for the same content', async () => {
    await using fixture = await start();
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
    await using fixture = await start();
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
    await using fixture = await start();
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
    await using fixture = await start();
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
    await using fixture = await start({ api: { listen: '127.0.0.1:0', tokens } });
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
    await using fixture = await start();
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
    await using fixture = await start();
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
    await using fixture = await start();
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
    await using fixture = await start();
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

describe('the commands', () => {
  const merge = async (fixture: ApiFixture, ...args: string[]): Promise<Outcome> =>
    await run(['merge', ...args, '--api', fixture.api.url]);

  test('register, list, promote and roll back', async () => {
    await using fixture = await start();
    await using folder = await Folder.make();
    const path = await folder.file('merge.ts', 'export default ({ b }: { b: object }): object => b;');
    const none = await merge(fixture, 'list');
    assert.deepEqual([none.code, none.stdout], [0, 'no merge rules: every table goes by last writer wins\n']);
    const made = await merge(
      fixture,
      'register',
      '--table',
      'public.carts',
      '--column',
      'items=set',
      '--column',
      'qty=counter',
    );
    assert.equal(made.code, 0, made.stderr);
    assert.match(
      made.stdout,
      /^public\.carts [0-9a-f]{64} is staged: all rows\n {2}it becomes active once .*: eu, us, ap\n$/,
    );
    const id = made.stdout.split(' ')[1] ?? '';
    await acknowledge(fixture, id, 'eu', 'us');
    const json = await merge(fixture, 'register', '--table', 'carts', '--function', path, '--percent', '10', '--json');
    const version = JSON.parse(json.stdout) as MergeVersion;
    assertFits(MergeVersion, version);
    assert.deepEqual(version.rollout, { mode: 'percent', percent: 10, role: 'version' });
    const list = await merge(fixture, 'list');
    const [title, ...lines] = list.stdout.trimEnd().split('\n');
    assert.match(title ?? '', /^TABLE +VERSION +STATE +ROLLOUT +RULE +REGIONS$/);
    assert.match(
      lines[0] ?? '',
      /^public\.carts +[0-9a-f]{12} +staged +10 % of rows +function +eu staged, us staged, ap staged$/,
    );
    assert.match(
      lines[1] ?? '',
      /staged +90 % of rows +lww, items=set, qty=counter +eu acknowledged, us acknowledged, ap staged$/,
    );
    const page = JSON.parse(
      (await merge(fixture, 'list', '--table', 'carts', '--limit', '1', '--json')).stdout,
    ) as Json;
    assertFits(MergePage, page);
    assert.match(
      (await merge(fixture, 'promote', version.version_id.slice(0, 8), '--mode', 'shadow')).stdout,
      /in shadow/,
    );
    assert.equal((await merge(fixture, 'rollback', version.version_id.slice(0, 8))).code, 0);
    assert.match((await merge(fixture, 'rollback', id, '--to', 'lww')).stdout, new RegExp(id));
  });

  test('fail with a code', async () => {
    await using fixture = await start();
    const fails = async (code: string, ...args: string[]): Promise<void> => {
      const outcome = await merge(fixture, ...args);
      assert.notEqual(outcome.code, 0);
      assert.match(outcome.stderr, new RegExp(code));
    };
    await fails('SYN-T100', 'register', '--table', 'nowhere', '--column', 'a=max');
    await fails('SYN-A080', 'register', '--table', 'carts', '--column', 'price=counter');
    await fails('SYN-T101', 'register', '--table', 'carts', '--function', '/nowhere.ts');
    await fails('SYN-T103', 'promote', 'abcdef');
    await fails('SYN-T103', 'promote', 'a');
    await fails('percent', 'promote', 'abcdef', '--percent', '101');
    await fails('required option', 'register', '--column', 'a=max');
  });

  test('try a function on samples and on logged conflicts, and change nothing', async () => {
    await using fixture = await start();
    await using folder = await Folder.make();
    const sum = await folder.file(
      'sum.ts',
      `export default ({ base, a, b }: { base: { n: string } | null; a: { n: string }; b: { n: string } }) =>
         ({ ...b, n: String(Number(a.n) + Number(b.n) - Number(base?.n ?? 0)) });`,
    );
    const [base, a, b] = [1, 5, 3].map((n) => ({ id: '7', n: String(n) }));
    const samples = await folder.file(
      'samples.json',
      JSON.stringify([
        { base, a, b },
        { a, b },
      ]),
    );
    const tried = await run(['merge', 'test', sum, '--conflicts', samples]);
    assert.equal(tried.code, 0, tried.stderr);
    assert.match(tried.stdout, /\n {2}n +1 +5 +3 +7\n/);
    assert.match(tried.stdout, /\n {2}n +no row +5 +3 +8\n[\s\S]*2 samples: 0 failed, 0 gave different results\n$/);
    const json = JSON.parse((await run(['merge', 'test', sum, '--conflicts', samples, '--json'])).stdout) as Json;
    assert.deepEqual([json.samples, json.failed, json.nondeterministic], [2, 0, 0]);
    await fixture.client.query(
      `insert into syncline.conflict_log (conflict_id, schema_name, table_name, row_pk, resolution_strategy, loser_hlc,
         loser_origin, winner_hlc, winner_origin, image_a, image_b, base_image)
       values (gen_random_uuid(), 'public', 'wide', '{"id":"7"}', 'lww', 1, 'eu', 2, 'us', $1, $2, $3),
              (gen_random_uuid(), 'public', 'wide', '{"id":"8"}', 'lww', 1, 'eu', 2, 'us', $1, null, $3)`,
      [a, b, base].map((image) => JSON.stringify(image)),
    );
    const logged = await merge(fixture, 'test', sum, '--table', 'public.wide');
    assert.match(logged.stdout, /^public\.wide id=7\n[\s\S]*\n {2}n +1 +5 +3 +7\n1 samples: 0 failed/);
    const fails = await folder.file('fails.ts', 'export default () => { throw new Error(); };');
    const failed = await run(['merge', 'test', fails, '--conflicts', samples]);
    assert.equal(failed.code, 1);
    assert.match(failed.stdout, /the function failed \(threw\)[\s\S]*2 failed/);
    const order = await folder.file('order.ts', 'export default ({ b }: any) => ({ ...b, n: Object.keys(b)[0] });');
    const differs = await run(['merge', 'test', order, '--conflicts', samples]);
    assert.equal(differs.code, 1);
    assert.match(differs.stdout, /another result when it is asked again[\s\S]*2 gave different results/);
    const wrong = await run([
      'merge',
      'test',
      sum,
      '--conflicts',
      await folder.file('wrong.json', '[{"a":{"n":1},"b":{}}]'),
    ]);
    assert.match(wrong.stderr, /SYN-T107/);
    const { rows } = await fixture.client.query('select count(*) as n from syncline.merge_version');
    assert.equal(rows[0]?.n, '0');
  });
});

class Folder implements AsyncDisposable {
  readonly #path: string;

  private constructor(path: string) {
    this.#path = path;
  }

  static async make(): Promise<Folder> {
    return new Folder(await mkdtemp(join(tmpdir(), 'syncline-merge-')));
  }

  async file(name: string, text: string): Promise<string> {
    const path = join(this.#path, name);
    await writeFile(path, text);
    return path;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#path, { recursive: true });
  }
}
