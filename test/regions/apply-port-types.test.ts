// Values of every type pass through apply without a changed character, and keys are told apart as
// their index tells them apart, not as their texts look.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Image } from '../../src/change/change-event.ts';
import { sqlStateOf } from '../../src/platform/errors.ts';
import { ApplyTarget, rowOf } from '../support/apply-target.ts';
import { PostgresServer } from '../support/postgres-server.ts';

const ALL = { home: 'always', r1: 'always' } as const;

const TYPES_SQL = `
create schema ext;
create extension citext schema ext;
create extension hstore schema ext;
create type public.mood as enum ('sad', 'very "happy"');
create type public.point3 as (x int, label text, at timestamptz);
create domain public.euros as numeric(12, 2) check (value >= 0);
create domain public.marks as int[];
create domain public.spot as public.point3;
create table public.every (
  id int primary key, b bool, i8 bigint, n numeric, n2 numeric(12, 2), f4 float4, f8 float8, m money, t text,
  vc varchar(5), c char(5), nm name, ch "char", by bytea, d date, ti time, tz timetz, ts timestamp, tstz timestamptz(3),
  iv interval, u uuid, j json, jb jsonb, x xml, ip inet, ci cidr, mac macaddr, bi bit(3), vb varbit, pt point, bx box,
  r int4range, mr datemultirange, mood public.mood, comp public.point3, dom public.euros, doma public.marks,
  domc public.spot, ia int[], ta text[], ca public.point3[], ea public.mood[], bxa box[], cit ext.citext, hs ext.hstore,
  tv tsvector, lsn pg_lsn, jp jsonpath, oid_ oid
)`;

/** Values as SQL literals; every row gives one to each column it names. */
const VALUES: readonly Record<string, string>[] = [
  {
    b: 'true',
    i8: '-9223372036854775808',
    n: "'NaN'",
    n2: '1.5',
    f4: "'-0'",
    f8: '0.1::float8 + 0.2::float8',
    m: "'-12.34'",
    t: "e'a\\nb\\t\\'\"\\\\{},NULL'",
    vc: "'ab'",
    c: "'ab'",
    nm: "'Name'",
    ch: "e'\\\\'",
    by: "'\\x00ff0a'",
    d: "'0044-03-15 BC'",
    ti: "'24:00:00'",
    tz: "'12:00:00.000001+05:30'",
    ts: "'0001-01-01 00:00:00.000001 BC'",
    tstz: "'2024-02-29 12:34:56.789+02'",
    iv: "'-1 year 2 days -03:04:05.000006'",
    u: "'018f3b1e-7c1a-7d4a-8b1a-000000000001'",
    j: '\'{"b": 1,  "a": [null]}\'',
    jb: '\'{"b": 1, "a": 1.10, "é": "\\u00e9"}\'',
    x: '\'<a b="c">d</a>\'',
    ip: "'10.0.0.1/32'",
    ci: "'2001:db8::/32'",
    mac: "'08:00:2b:01:02:03'",
    bi: "'101'",
    vb: "''",
    pt: "'(1.5,-2)'",
    bx: "'(1,2),(3,4)'",
    r: "'[1,5)'",
    mr: "'{[2024-01-01,2024-02-01)}'",
    mood: '\'very "happy"\'',
    comp: "row(1, 'a \"b\", (c)', '2024-01-01')",
    dom: '12.3',
    doma: "'{1,NULL}'",
    domc: "row(null, '', null)",
    ia: "'[0:1][2:3]={{1,2},{3,NULL}}'",
    ta: "array['', 'NULL', null, 'a\"b\\c,{}']",
    ca: "array[row(1, 'x,y', null), null]::public.point3[]",
    ea: "array['sad', 'very \"happy\"']::public.mood[]",
    bxa: "array[box '(1,2),(3,4)', box '(0,0),(1,1)']",
    cit: "'MiXed'",
    hs: '\'a=>1, "b c"=>NULL\'',
    tv: "'a:1A fat:2B'",
    lsn: "'16/B374D848'",
    jp: "'$.a[*] ? (@ > 1)'",
    oid_: '4294967295',
  },
  {
    n: "'-Infinity'",
    n2: '0',
    f4: "'Infinity'",
    f8: "'NaN'",
    t: "''",
    vc: "''",
    c: "''",
    by: "''",
    d: "'infinity'",
    ts: "'-infinity'",
    r: "'empty'",
    ia: "'{}'",
    ta: "'{}'",
    comp: "row('1', ',', null)",
    jb: "'null'",
    hs: "''",
  },
  { b: 'null' },
  { n: '1e-300', f8: '1e308', d: "'5874897-12-31'", t: "repeat('long ü ', 100000)" },
];

describe('values and keys', () => {
  let server: PostgresServer;
  let target: ApplyTarget;
  before(async () => {
    server = await PostgresServer.start();
    target = await ApplyTarget.start(server);
    await target.client.query(TYPES_SQL);
  });
  after(async () => {
    await target[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });

  /** Output texts of all rows, as capture sees them. */
  async function images(table: string): Promise<Image[]> {
    return (await target.client.query(`select * from ${table} order by id`)).rows;
  }

  test('every type comes out as it went in, by each of the statements', async () => {
    for (const [id, row] of VALUES.entries()) {
      const names = ['id', ...Object.keys(row)];
      await target.client.query(
        `insert into public.every (${names.join(', ')}) values (${[id, ...Object.values(row)].join(', ')})`,
      );
    }
    const wanted = await images('public.every');
    const shape = await target.shape('every');
    const rows = wanted.map((image) => rowOf(shape, image));

    await target.client.query('truncate public.every');
    await target.apply(async (t) => assert.deepEqual(await t.upsert(shape, rows, 'r1', ALL), []));
    assert.deepEqual(await images('public.every'), wanted, 'inserted by upsert');

    await target.client.query('truncate public.every');
    await target.client.query(`insert into public.every (id) select generate_series(0, ${rows.length - 1})`);
    await target.apply(async (t) => assert.deepEqual(await t.upsert(shape, rows, 'r1', ALL), []));
    assert.deepEqual(await images('public.every'), wanted, 'updated by upsert');

    await target.client.query('truncate public.every');
    await target.apply(async (t) => {
      for (const row of rows) assert.equal(await t.insert(shape, row), true);
    });
    assert.deepEqual(await images('public.every'), wanted, 'inserted one by one');

    await target.client.query('truncate public.every');
    await target.client.query(`insert into public.every (id) select generate_series(0, ${rows.length - 1})`);
    await target.apply(async (t) => {
      for (const row of rows) await t.overwrite(shape, row);
      const found = await t.inspect(shape, rows);
      const seen = rows.map((row) => found.get(row.key)?.image);
      assert.deepEqual(seen, wanted, 'inspected');
    });
    assert.deepEqual(await images('public.every'), wanted, 'overwritten');

    await target.client.query('truncate public.every');
    await target.client.query(`insert into public.every (id) select generate_series(0, ${rows.length - 1})`);
    await target.apply(async (t) => {
      await t.inspect(shape, rows);
      await t.overwriteAll(shape, rows);
    });
    assert.deepEqual(await images('public.every'), wanted, 'overwritten together');
  });

  test('a value that does not fit is a data fault, never cut', async () => {
    const shape = await target.shape('every');
    for (const [image, state] of [
      [{ id: '99', vc: 'too long' }, '22001'],
      [{ id: '99', dom: '-1' }, '23514'],
      [{ id: '99', i8: 'x' }, '22P02'],
      [{ id: '99', mood: 'merry' }, '22P02'],
    ] as const) {
      for (const way of ['upsert', 'insert'] as const) {
        const row = rowOf(shape, image);
        const failed = target.apply(async (t) => {
          await (way === 'upsert' ? t.upsert(shape, [row], 'r1', ALL) : t.insert(shape, row));
        });
        await assert.rejects(failed, (error) => sqlStateOf(error) === state, `${way} ${JSON.stringify(image)}`);
      }
    }
  });

  const KEYS: readonly [name: string, type: string, same: readonly [string, string], other: string][] = [
    ['numeric', 'numeric', ['1.0', '1.00'], '1.01'],
    ['float', 'float8', ['-0', '0'], '1'],
    ['real', 'float4', ['0', '-0'], 'NaN'],
    ['citext', 'ext.citext', ['Abc', 'aBC'], 'abd'],
    ['bpchar', 'char(4)', ['ab', 'ab  '], 'abc '],
    ['domain', 'public.euros', ['1.5', '1.50'], '2.00'],
  ];
  for (const [name, type, [first, second], other] of KEYS) {
    test(`a key of type ${type} knows equal values with different texts`, async () => {
      const table = `keyed_${name}`;
      await target.client.query(`create table public.${table} (id ${type} primary key, v text)`);
      const shape = await target.shape(table);
      assert.equal(shape.keyNeedsDatabase, true);
      const rowWith = async (id: string, v: string) => {
        const [key = ''] = await target.apply((t) => t.canonicalKeys(shape, [{ id }]));
        return { key, pk: { id }, image: { id, v }, hlc: 1n };
      };
      const [one, two, three] = [await rowWith(first, 'one'), await rowWith(second, 'two'), await rowWith(other, 'x')];
      assert.equal(one.key, two.key);
      assert.notEqual(one.key, three.key);
      await target.apply(async (t) => {
        assert.deepEqual(await t.upsert(shape, [one, three], 'r1', ALL), []);
        assert.deepEqual(await t.upsert(shape, [two], 'r1', { r1: 'never' }), []);
      });
      await target.apply(async (t) => {
        assert.deepEqual(await t.upsert(shape, [one, three], 'r1', { r1: 'never' }), [0, 1]);
        const { left } = await t.removeAll(shape, 1n, {});
        assert.deepEqual(new Set(left.map(({ key }) => key)), new Set([one.key, three.key]));
        assert.equal((await t.inspect(shape, [one])).get(one.key)?.image.v, 'two');
        await t.overwrite(shape, one);
        assert.deepEqual(await t.remove(shape, [two, three], ALL), ['removed', 'removed']);
      });
      // The text of the key is the newer writer's too.
      await target.apply(async (t) => {
        await t.upsert(shape, [one], 'r1', ALL);
      });
      await target.apply(async (t) => {
        await t.upsert(shape, [two], 'r1', ALL);
      });
      assert.deepEqual(
        await target.column(`select id from public.${table}`),
        await target.column(`select $1::${type}`, [second]),
      );
    });
  }

  test('keys of most types need no database, in any combination', async () => {
    const types = [
      'bool',
      'bigint',
      'text',
      'varchar(9)',
      'uuid',
      'date',
      'timestamptz',
      'bytea',
      'public.mood',
      'inet',
    ];
    const columns = types.map((type, place) => `k${place} ${type}`).join(', ');
    const key = types.map((_, place) => `k${place}`).toReversed();
    await target.client.query(`create table public.composite (v text, ${columns}, primary key (${key.join(', ')}))`);
    const shape = await target.shape('composite');
    assert.equal(shape.keyNeedsDatabase, false);
    assert.deepEqual([...shape.key], key);
    const texts = [
      't',
      '-1',
      'a"b\n',
      '',
      '018f3b1e-7c1a-7d4a-8b1a-000000000001',
      '2024-01-01',
      'infinity',
      '\\x00',
      'sad',
    ];
    const pk = Object.fromEntries([...texts, '10.0.0.1'].map((text, place) => [`k${place}`, text]));
    const rows = ['t', 'f'].map((k0, place) => rowOf(shape, { ...pk, k0, v: String(place) }));
    await target.apply(async (t) => {
      assert.deepEqual(await t.upsert(shape, rows, 'r1', ALL), []);
      assert.deepEqual(await t.upsert(shape, rows.toReversed(), 'r1', ALL), []);
      const found = await t.inspect(shape, rows);
      assert.deepEqual(
        rows.map((row) => found.get(row.key)?.image),
        rows.map((row) => row.image),
      );
      const { left } = await t.removeAll(shape, 1n, {});
      assert.deepEqual(left, []);
    });
    assert.deepEqual(await target.column('select count(*) from public.composite'), ['0']);
  });
});
