// What lost is written again: over the API of one server, whatever its table is like.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Reapplied } from '../../src/api/schemas.ts';
import { writeLoser } from '../../src/apply/sql/loser-write.ts';
import { connect } from '../../src/platform/postgres.ts';
import { type Answer, ApiFixture, assertFits, assertProblem, type Json } from '../support/api-fixture.ts';
import { run } from '../support/command.ts';
import { PostgresServer } from '../support/postgres-server.ts';

const ID = '01890000-0000-8000-a000-000000000001';

type Row = Readonly<Record<string, string | null>>;
type Record_ = {
  readonly pk: Row;
  readonly image: Row | null;
  readonly table?: string;
  readonly strategy?: string;
  readonly reason?: string;
  readonly redacted?: readonly string[];
};

let server: PostgresServer;
before(async () => {
  server = await PostgresServer.start({ settings: { fsync: 'off' } });
});
after(async () => {
  await server[Symbol.asyncDispose]();
});

/** A database with these tables, behind an API whose agent writes for real. */
async function opened(schema: string, change: Json = {}): Promise<ApiFixture> {
  const fixture = await ApiFixture.start(server, change);
  await fixture.client.query(`set search_path = public, pg_catalog; ${schema}`);
  fixture.agent.reapply = async (id) => {
    await using client = await connect(fixture.url, { applicationName: 'reapply', lockTimeoutMs: 50 });
    return await writeLoser(client, id, (_, table) => table !== 'unlisted');
  };
  return fixture;
}

async function record({ client }: ApiFixture, { pk, image, ...more }: Record_): Promise<void> {
  await client.query(
    `insert into syncline.conflict_log (conflict_id, schema_name, table_name, row_pk, resolution_strategy, loser_hlc,
        loser_origin, winner_hlc, winner_origin, image_a, provisional, provisional_reason, redacted)
     values ('${ID}', 'public', $1, $2::jsonb, $3, 1, 'us', 2, 'ap', $4::jsonb, $5::text is not null, $5, $6::text[])
     on conflict (conflict_id) do update set table_name = excluded.table_name, row_pk = excluded.row_pk,
       resolution_strategy = excluded.resolution_strategy, image_a = excluded.image_a,
       provisional_reason = excluded.provisional_reason, redacted = excluded.redacted`,
    [
      more.table ?? 't',
      JSON.stringify(pk),
      more.strategy ?? 'lww',
      image === null ? null : JSON.stringify(image),
      more.reason ?? null,
      `{${(more.redacted ?? []).join(',')}}`,
    ],
  );
}

const reapply = async (fixture: ApiFixture, id = ID): Promise<Answer> =>
  await fixture.call(`/conflicts/${id}/reapply`, { method: 'POST' });

async function written(fixture: ApiFixture): Promise<Json> {
  const { status, body } = await reapply(fixture);
  assert.equal(status, 200, JSON.stringify(body));
  assertFits(Reapplied, body);
  return body;
}

async function rowsOf({ client }: ApiFixture, table = 't'): Promise<unknown> {
  return (await client.queryArrays(`select * from ${table} order by 1`)).rows;
}

describe('the losing side is written', () => {
  test('as an update where the row is there, as an insert where it is not, each time anew', async () => {
    await using fixture = await opened('create table t (id int primary key, v text, w text)');
    await fixture.client.query(`insert into t values (1, 'won', 'won'), (2, 'other', 'other')`);
    await record(fixture, { pk: { id: '1' }, image: { id: '1', v: 'lost', w: null } });
    const { client } = fixture;
    const version = async (): Promise<unknown> => (await client.query('select xmin from t where id = 1')).rows[0]?.xmin;
    assert.deepEqual(await written(fixture), {
      conflict_id: ID,
      schema_name: 'public',
      table_name: 't',
      row_pk: { id: '1' },
      operation: 'upsert',
      rows: 1,
      written: { id: '1', v: 'lost', w: null },
      left_out: [],
    });
    const expected = [
      ['1', 'lost', null],
      ['2', 'other', 'other'],
    ];
    assert.deepEqual(await rowsOf(fixture), expected);
    const first = await version();
    assert.equal((await written(fixture)).rows, 1);
    assert.notEqual(await version(), first);
    await client.query('delete from t where id = 1');
    await written(fixture);
    assert.deepEqual(await rowsOf(fixture), expected);
  });

  test('as a DELETE where it was a removal, also of a row that is gone', async () => {
    await using fixture = await opened(
      `create table t (a text, b numeric, v text, primary key (b, a)); insert into t values ('x', 1.50, 'won'), ('x', 2, 'won')`,
    );
    await record(fixture, { pk: { a: 'x', b: '1.5' }, image: null });
    const body = await written(fixture);
    assert.deepEqual([body.operation, body.rows, body.written], ['delete', 1, null]);
    assert.deepEqual(await rowsOf(fixture), [['x', '2', 'won']]);
    assert.equal((await written(fixture)).rows, 0);
  });

  test('with identity columns as they were, and without those that are computed, or gone', async () => {
    await using fixture = await opened(`
      create table t (id int generated always as identity primary key, "N" int generated always as (v * 2) stored, v int,
        late text default 'default')`);
    await record(fixture, { pk: { id: '7' }, image: { id: '7', N: '99', v: '4', gone: 'x' } });
    assert.deepEqual((await written(fixture)).left_out, ['N', 'gone']);
    assert.deepEqual(await rowsOf(fixture), [['7', '8', '4', 'default']]);
    await fixture.client.query(`update t set v = 5, late = 'kept'`);
    await written(fixture);
    assert.deepEqual(await rowsOf(fixture), [['7', '8', '4', 'kept']]);
  });

  test('where there is nothing but a key, an identity, or an identity beside the key', async () => {
    await using fixture = await opened(`
      create table t (a int, b int, primary key (a, b)); create table only_id (id int generated always as identity primary key);
      create table beside (id int primary key, n int generated always as identity, v text)`);
    await record(fixture, { pk: { a: '1', b: '2' }, image: { a: '1', b: '2' } });
    for (const rows of [1, 1]) assert.equal((await written(fixture)).rows, rows);
    assert.deepEqual(await rowsOf(fixture), [['1', '2']]);
    await record(fixture, { table: 'only_id', pk: { id: '3' }, image: { id: '3' } });
    for (const rows of [1, 0]) assert.equal((await written(fixture)).rows, rows);
    await record(fixture, { table: 'beside', pk: { id: '1' }, image: { id: '1', n: '9', v: 'a' } });
    await written(fixture);
    await fixture.client.query(`update beside set n = default, v = 'b'`);
    const body = await written(fixture);
    assert.deepEqual(body.written, { id: '1', n: '1', v: 'a' });
    assert.deepEqual(await rowsOf(fixture, 'beside'), [['1', '1', 'a']]);
  });

  test('in the types of its columns, exactly', async () => {
    await using fixture = await opened(`
      create type mood as enum ('fine', 'it''s'); create domain short as varchar(4) check (value <> 'no');
      create type pair as (a int, b text);
      create table t (id uuid primary key, n numeric(5, 2), c char(5), b bit(3), j json, jb jsonb, a text[], m mood,
        s short, p pair, ts timestamptz(3), i interval day to second(0), y bytea, f float8, r int4range)`);
    const image = {
      id: '01890000-0000-7000-8000-00000000000f',
      n: '123.40',
      c: 'ab   ',
      b: '101',
      j: '{"a":  1}',
      jb: '"text"',
      a: '{a,"b,c",NULL}',
      m: "it's",
      s: 'yes',
      p: '(1,"x y")',
      ts: '2026-01-01 00:00:00.123+00',
      i: '1 day 02:03:04',
      y: '\\x00ff',
      f: '0.1',
      r: '[1,5)',
    };
    await record(fixture, { pk: { id: image.id }, image });
    assert.deepEqual((await written(fixture)).written, image);
    assert.deepEqual(await rowsOf(fixture), [Object.values(image)]);
  });

  test('as any session would, with triggers that find what they look for', async () => {
    await using fixture = await opened(`
      create table t (id int primary key, v text); create table audit (line text);
      create function note() returns trigger language plpgsql as
        $$ begin insert into audit values (tg_op || ' ' || new.v); return new; end $$;
      create trigger noted after insert or update on t for each row execute function note()`);
    await record(fixture, { pk: { id: '1' }, image: { id: '1', v: 'a' } });
    await written(fixture);
    await written(fixture);
    assert.deepEqual(await rowsOf(fixture, 'audit'), [['INSERT a'], ['UPDATE a']]);
  });

  test('by the command, for people and for programs', async () => {
    await using fixture = await opened('create table t (id int primary key, v text)');
    await record(fixture, { pk: { id: '1' }, image: { id: '1', v: 'lost', gone: 'x' } });
    const text = await run(['conflicts', 'reapply', ID, '--api', fixture.api.url]);
    assert.equal(text.code, 0, text.stderr);
    assert.equal(
      text.stdout,
      'public.t id=1: the row was written, as a new version that goes to every region\n  id=1, v=lost\n  not written: gone\n',
    );
    const json = await run(['conflicts', 'reapply', ID, '--json', '--api', fixture.api.url]);
    assertFits(Reapplied, JSON.parse(json.stdout));
    await record(fixture, { pk: { id: '1' }, image: null });
    const outputs: string[] = [];
    for (const _ of [1, 2]) outputs.push((await run(['conflicts', 'reapply', ID, '--api', fixture.api.url])).stdout);
    assert.deepEqual(outputs, [
      'public.t id=1: the row was deleted, as a new version that goes to every region\n',
      'public.t id=1: nothing was written, there is no such row any more\n',
    ]);
    const wrong = await run(['conflicts', 'reapply', '7', '--api', fixture.api.url]);
    assert.deepEqual([wrong.code, /SYN-T005/.test(wrong.stderr)], [1, true]);
    const list = await run(['conflicts', '--api', fixture.api.url]);
    assert.match(list.stdout, /^public\.t id=1 /);
  });
});

describe('nothing is written', () => {
  const SCHEMA = `create table t (id int primary key, v varchar(3) check (v <> 'no'), u int unique, n int not null default 0,
    of int references t); insert into t values (9, 'won', 7)`;

  test('of what is unknown, not at hand, withheld, or no loss', async () => {
    await using fixture = await opened(SCHEMA);
    const id = { id: '1' };
    assertProblem(await reapply(fixture), 404, 'SYN-T160');
    assertProblem(await reapply(fixture, 'seven'), 400, 'SYN-T005');
    for (const reason of ['images', 'forgotten']) {
      await record(fixture, { pk: id, image: null, reason });
      const answer = await reapply(fixture);
      assertProblem(answer, 422, 'SYN-T161');
      assert.match(String(answer.body.detail), new RegExp(reason));
    }
    await record(fixture, { pk: {}, image: null });
    assertProblem(await reapply(fixture), 422, 'SYN-T161');
    await record(fixture, { pk: id, image: { id: '1', v: '«redacted»', gone: '«redacted»' }, redacted: ['v', 'gone'] });
    const withheld = await reapply(fixture);
    assertProblem(withheld, 422, 'SYN-T162');
    assert.match(String(withheld.body.detail), /^public\.t: v$/);
    await record(fixture, { pk: id, image: { id: '1' }, strategy: 'orphan' });
    assertProblem(await reapply(fixture), 422, 'SYN-T165');
    assert.deepEqual(await rowsOf(fixture), [['9', 'won', '7', '0', null]]);
    // What is known of the losing side does not depend on the other, and a withheld column that is gone is no hindrance.
    await record(fixture, { pk: id, image: { id: '1', v: 'a' }, reason: 'forgotten', redacted: ['gone'] });
    assert.equal((await written(fixture)).rows, 1);
  });

  test('into a table that is gone, none, or not replicated', async () => {
    await using fixture = await opened(
      'create view looks as select 1 as id; create table unlisted (id int primary key)',
    );
    for (const table of ['t', 'looks', 'unlisted']) {
      await record(fixture, { table, pk: { id: '1' }, image: { id: '1' } });
      assertProblem(await reapply(fixture), 422, 'SYN-T163');
    }
  });

  test('against a constraint, a type or a trigger, and PostgreSQL is quoted', async () => {
    await using fixture = await opened(SCHEMA);
    const refused: readonly (readonly [Row, RegExp])[] = [
      [{ v: 'no' }, /violates check constraint "t_v_check"$/],
      [{ v: 'long' }, /value too long for type character varying\(3\)/],
      [{ u: '7' }, /"t_u_key": Key \(u\)=\(7\) already exists/],
      [{ n: null }, /null value in column "n"[^:]*$/],
      [{ n: 'x' }, /invalid input syntax for type integer: "x"/],
      [{ of: '3' }, /"t_of_fkey": Key \(of\)=\(3\) is not present/],
    ];
    for (const [values, words] of refused) {
      await record(fixture, { pk: { id: '1' }, image: { id: '1', ...values } });
      const answer = await reapply(fixture);
      assertProblem(answer, 422, 'SYN-T164');
      assert.match(String(answer.body.detail), words);
    }
    await fixture.client.query('create rule none as on insert to t do instead nothing');
    await record(fixture, { pk: { id: '1' }, image: { id: '1' } });
    assertProblem(await reapply(fixture), 422, 'SYN-T164');
    assert.deepEqual(await rowsOf(fixture), [['9', 'won', '7', '0', null]]);
  });

  test('while somebody else holds the row, or by one who may only look', async () => {
    const tokens = [
      { token: 'looks', role: 'viewer' },
      { token: 'acts', role: 'operator' },
    ];
    await using fixture = await opened(SCHEMA, { api: { listen: '127.0.0.1:0', tokens } });
    await record(fixture, { pk: { id: '9' }, image: { id: '9', v: 'a' } });
    const call = async (token: string): Promise<Answer> =>
      await fixture.call(`/conflicts/${ID}/reapply`, { method: 'POST', headers: { authorization: `Bearer ${token}` } });
    assertProblem(await call('looks'), 403, 'SYN-T004');
    await fixture.client.query('begin; select * from t for update');
    assertProblem(await call('acts'), 503, 'SYN-T166');
    await fixture.client.query('rollback');
    assert.equal((await call('acts')).status, 200);
  });
});
