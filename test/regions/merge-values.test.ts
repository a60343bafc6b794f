/** What merging prints and compares, held against the server: the same text, the same order, the same sums. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { connect, type PostgresClient } from '../../src/platform/postgres.ts';
import { parseArray, printArray } from '../../src/resolve/array-literal.ts';
import { mergeCounter } from '../../src/resolve/counter.ts';
import { mergeJson } from '../../src/resolve/json-merge.ts';
import { orderOf } from '../../src/resolve/ordered-values.ts';
import { PostgresServer } from '../support/postgres-server.ts';

let server: PostgresServer;
let client: PostgresClient;
before(async () => {
  server = await PostgresServer.start();
  client = await connect(server.url(await server.createDatabase()), { applicationName: 'syncline test' });
});
after(async () => {
  await client[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

async function row(sql: string, values: (string | null)[]): Promise<readonly unknown[]> {
  return (await client.queryArrays(sql, values)).rows[0] ?? [];
}

const storable = fc.string({ unit: 'grapheme' }).filter((text) => !text.includes('\0') && text.isWellFormed());
const RUNS = { numRuns: 150 };

describe('merged values are those of the server', () => {
  test('arrays of text, as they are read and as they are printed', async () => {
    const element = fc.oneof(
      storable,
      fc.constant(null),
      fc.constantFrom('NULL', '', '{a,b}', 'a b', '\\"', '\t\n\v', '\u00a0'),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(element, { maxLength: 6 }), async (elements) => {
        const [printed] = await row('select $1::text[]::text', [printArray(elements)]);
        assert.equal(printed, printArray(elements));
        assert.deepEqual(parseArray(String(printed)), elements);
      }),
      RUNS,
    );
  });

  test('jsonb that was merged is printed as the server would print it', async () => {
    const key = fc.oneof(storable, fc.constantFrom('a', 'bb', 'é', '"', '\\', '\u0001', '\u{1f600}'));
    const { tree } = fc.letrec((tie) => ({
      tree: fc.oneof(
        { depthSize: 'small' },
        fc.integer(),
        fc.boolean(),
        fc.constant(null),
        storable,
        tie('object'),
        tie('array'),
      ),
      object: fc.dictionary(key, tie('tree'), { maxKeys: 4 }),
      array: fc.array(tie('tree'), { maxLength: 3 }),
    }));
    const object = fc.dictionary(key, tree, { maxKeys: 4 });
    await fc.assert(
      fc.asyncProperty(object, object, object, async (base, a, b) => {
        const texts = await row(
          'select $1::jsonb::text, $2::jsonb::text, $3::jsonb::text',
          [base, a, b].map((value) => JSON.stringify(value)),
        );
        const [one = null, other = null, another = null] = texts as string[];
        const merged = mergeJson(one, other, another);
        const [printed] = await row('select $1::jsonb::text', [merged]);
        assert.equal(merged, printed);
      }),
      RUNS,
    );
  });

  test('counters of numeric have the value and the scale of its own arithmetic', async () => {
    const number = fc
      .tuple(fc.bigInt({ min: -(10n ** 30n), max: 10n ** 30n }), fc.nat(20))
      .map(([units, scale]) => `${units}e-${scale}`);
    await fc.assert(
      fc.asyncProperty(number, number, number, async (one, other, another) => {
        const sql = `select a::text, b::text, c::text, (b + (c - a))::text
          from (select $1::numeric as a, $2::numeric as b, $3::numeric as c) as numbers`;
        const [a = '', b = '', c = '', sum] = (await row(sql, [one, other, another])) as string[];
        if (a !== c) assert.equal(mergeCounter('numeric', a, b, c), sum);
      }),
      RUNS,
    );
  });

  test('values of every type that has an order are in that order', async () => {
    const times = "generate_series(timestamp '4700-01-01 BC', '4700-01-01', '777 days 7 h 7 min 7.7 s')";
    const samples: Readonly<Record<string, string>> = {
      int8: 'select (random() * 1e18)::int8 - 500000000000000000 from generate_series(1, 60)',
      numeric:
        "select (random() - 0.5)::numeric(30, 17) * 10 ^ (i % 9) from generate_series(1, 60) i union all select unnest('{NaN,Infinity,-Infinity,0,0.00}'::numeric[])",
      float8:
        "select (random() - 0.5) * 10.0 ^ (i - 30) from generate_series(1, 60) i union all select unnest('{NaN,Infinity,-Infinity,0,-0}'::float8[])",
      date: `select t::date from ${times} t order by random() limit 60`,
      timestamp: `(select t from ${times} t order by random() limit 60) union all select unnest('{infinity,-infinity}'::timestamp[])`,
      timestamptz: `select t::timestamptz from ${times} t order by random() limit 60`,
      uuid: 'select gen_random_uuid() from generate_series(1, 60)',
      bool: 'select i % 2 = 0 from generate_series(1, 6) i',
      text: 'select chr(32 + (random() * 50000)::int) || i from generate_series(1, 60) i',
    };
    for (const [type, sample] of Object.entries(samples)) {
      const compare = orderOf(type);
      assert.ok(compare !== null);
      const collation = type === 'text' ? 'collate "C"' : '';
      const sql = `with s(v) as (${sample}) select a.v::text, b.v::text, (a.v > b.v ${collation})::int - (a.v < b.v ${collation})::int from s a, s b`;
      for (const [a, b, order] of (await client.queryArrays(sql)).rows) {
        assert.equal(Math.sign(compare(String(a), String(b))), Number(order), `${type}: ${a} and ${b}`);
      }
    }
  });
});
