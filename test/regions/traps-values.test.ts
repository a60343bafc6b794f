// Values of every type travel as PostgreSQL's own text, and arrive as the same text in every region.

import assert from 'node:assert/strict';
import type { ClusterRegion } from '../support/cluster.ts';
import { DEFAULT_MAJOR } from '../support/postgres-majors.ts';
import { type TrapWorld, traps } from '../support/traps.ts';

type Values = readonly [type: string, literals: readonly string[]];

const NUMBERS: readonly Values[] = [
  ['smallint', ['-32768', '32767']],
  ['bigint', ['-9223372036854775808', '9223372036854775807']],
  [
    'numeric',
    [
      '1.0',
      '1.00',
      '-0.000',
      'NaN',
      'Infinity',
      '-Infinity',
      '1e100',
      `0.${'1234567890'.repeat(20)}`,
      '12345678901234567890.5',
    ],
  ],
  ['numeric(6,2)', ['1', '-9999.99', 'NaN']],
  ...(DEFAULT_MAJOR >= 15 ? ([['numeric(3,-2)', ['12345']]] as const) : []),
  ['real', ['-0', '0.1', '1e-45', '3.4028235e38', 'NaN', 'Infinity', '-Infinity', '16777217']],
  ['double precision', ['-0', '0.1', '5e-324', '1.7976931348623157e308', 'NaN', '-Infinity', '0.30000000000000004']],
  ['money', ['-$92,233,720,368,547,758.08', '$0.01']],
  ['boolean', ['t', 'f']],
  ['bit(5)', ['10101']],
  ['bit varying', ['', '1', '0000111']],
  ['oid', ['4294967295']],
  ['pg_lsn', ['FFFFFFFF/FFFFFFFF']],
  ['xid8', ['18446744073709551615']],
];

const TIMES: readonly Values[] = [
  ['date', ['0044-03-15 BC', 'infinity', '-infinity', '5874897-12-31', '2024-02-29', '4713-01-01 BC']],
  ['timestamp', ['infinity', '0001-01-01 00:00:00.000001 BC', '294276-12-31 23:59:59.999999', '2024-03-31 02:30:00']],
  [
    'timestamptz',
    ['-infinity', '2024-10-27 02:30:00.123456+02', '4714-11-24 00:00:00+00 BC', '1883-11-18 12:03:58-05'],
  ],
  ['time', ['00:00', '24:00', '23:59:59.999999']],
  ['timetz', ['24:00:00-1559', '00:00:00.5+15:59']],
  [
    'interval',
    [
      '1 year -2 months +3 days -04:05:06.789',
      '-00:00:00.000001',
      ...(DEFAULT_MAJOR >= 17 ? ['infinity'] : []),
      '178000000 years',
      '@ 1 mon ago',
      '0',
    ],
  ],
];

const TEXTS: readonly Values[] = [
  [
    'text',
    [
      '',
      ' ',
      'NULL',
      'null',
      '\\',
      '\\\\N',
      '\\N',
      '{}',
      '{"a\\"b"}',
      "it's",
      '"quoted"',
      'line\nbreak\r\n\ttab\u0001',
      'ümläut 漢字 🦊👩‍👩‍👧 \u200d',
      'a\u0301 \u00e1',
      '$1 %s ${x} $$',
      ', ( ) [ )',
    ],
  ],
  ['varchar(3)', ['', 'abc', '🦊🦊🦊']],
  ['char(4)', ['', 'ab', '🦊']],
  ['"char"', ['a', '']],
  ['name', ['Ünï "x"']],
  ['bytea', ['\\x', '\\x00ff5c27', '\\x5c78']],
  ['uuid', ['ffffffff-ffff-4fff-bfff-ffffffffffff']],
  ['xml', ['<a b="&lt;">c<!-- d --></a>', 'text &amp; <b/>']],
  ['json', ['{"b": 1,  "a": [1.0, null, "\\u00fc \\\\ \\""], "b": 2}', 'null', '"\\ud83e\\udd8a"', ' [ ] ']],
  [
    'jsonb',
    ['{"b": 1.00, "a": [1e2, null, "ü \\\\ \\" \\n"], "": {}}', 'null', '"null"', '12345678901234567890.123456789'],
  ],
  ['jsonpath', ['$."a b"[*] ? (@ > 1)']],
  ['tsvector', ["'a''b':1A,2B 'c d':3 '\\\\e':4"]],
  ['tsquery', ["'a b' & !c:*AB <-> 'd'"]],
  ['citext', ['MiXed', 'mixed', '']],
  ['hstore', ['a=>NULL, b=>"NULL", "c\\"d"=>"e\\\\f", ""=>""']],
  ['ltree', ['Top.Science.Astronomy', '']],
  ['mood', ["it's", 'so, so', 'ok']],
  ['short_code', ['ab', 'ABCDE']],
];

const COMPOUNDS: readonly Values[] = [
  ['int[]', ['{}', '{1,NULL,3}', '{{1,2},{3,NULL}}', '[-1:1]={1,2,3}', '[2:2][3:4]={{1,2}}']],
  ['text[]', ['{}', '{NULL,"NULL","null",""}', '{"a\\"b","c\\\\d","e,f","{g}"," h "}', '{{"ü",🦊},{"\n",NULL}}']],
  ['numeric[]', ['{1.0,1.00,NaN,NULL}']],
  ['bytea[]', ['{"\\\\x00","\\\\x5c"}']],
  ['jsonb[]', ['{"{\\"a\\": \\"b,c\\"}",NULL,"null"}']],
  ['mood[]', ['{ok,NULL,"so, so"}']],
  ['box[]', ['{(1,1),(0,0);(2,2),(1,1)}']],
  ['pair', ['(1,2.50)', '(,)', '(-1,NaN)']],
  ['nested', ['("(1,2.0)","{a,NULL,""b \\\\""c""}","it\'s ""so""")', '(,,)', '("(,)",{},"")']],
  ['nested[]', ['{NULL,"(\\"(1,2)\\",\\"{\\"\\"x,y\\"\\"}\\",\\"z\\")"}']],
  ['short_codes', ['{ab,cd}']],
  ['pair_domain', ['(1,2)']],
  ['int4range', ['empty', '[1,5)', '(,)', '[5,)']],
  ['numrange', ['(1.0,2.00]', '[-Infinity,NaN]', '(,1.50)']],
  ['tstzrange', ['["2024-01-01 00:00:00+00",infinity]', '("2024-01-01 00:00:00.000001+00",)']],
  ['textrange', ['["a,b","c\\"d")', '["",z]']],
  ['int8multirange', ['{}', '{[1,3),[7,9)}', '{(,)}']],
  ['textmultirange', ['{["a,b","c d"),(x,)}']],
  ['inet', ['192.168.0.1/24', '::ffff:1.2.3.4', '2001:db8::/32', '10.0.0.1']],
  ['cidr', ['10.0.0.0/8', '::/0']],
  ['macaddr8', ['08:00:2b:01:02:03:04:05']],
  ['point', ['(-0,1e-300)', '(NaN,Infinity)']],
  ['line', ['{1,-1,0.1}']],
  ['lseg', ['[(0,0),(1,0.1)]']],
  ['path', ['((0,0),(1,1),(2,0))', '[(0,0),(1,1)]']],
  ['polygon', ['((0,0),(1,1),(2,0))']],
  ['circle', ['<(0.1,0.2),0.3>']],
];

const TYPES = `
create extension if not exists citext; create extension if not exists hstore; create extension if not exists ltree;
create type mood as enum ('ok', 'so, so', 'it''s');
create domain short_code as varchar(5) check (value <> '');
create domain short_codes as short_code[] check (array_length(value, 1) < 5);
create type pair as (a int, b numeric);
create domain pair_domain as pair;
create type nested as (p pair, "Names" text[], note text);
create type textrange as range (subtype = text, multirange_type_name = textmultirange)`;

traps('values', { schema: TYPES, settings: { max_wal_size: '4GB' } }, (trap) => {
  for (const [kind, list] of Object.entries({ numbers: NUMBERS, times: TIMES, texts: TEXTS, compounds: COMPOUNDS })) {
    trap(
      `${kind}: what is inserted, what an update gives and leaves, NULL, and the default`,
      list
        .map(([type], place) => `create table ${kind}_${place} (id int primary key, v ${type}, other int)`)
        .join('; '),
      async (world) => {
        await Promise.all(
          list.map(async ([, literals], place) => await world.eu.sql(insertSql(`${kind}_${place}`, literals))),
        );
        await world.settle();
        const before = await tables(world, world.eu, kind, list);
        // Every value once more as the after-image of an update, and as what an update leaves alone; then NULL.
        for (const place of list.keys()) {
          await world.us.sql(`insert into ${kind}_${place} select id + 1000, v from ${kind}_${place}`);
          await world.us.sql(`update ${kind}_${place} set other = 1 where id < 1000`);
          await world.us.sql(`update ${kind}_${place} t set v = s.v from ${kind}_${place} s
            where t.id > 1000 and s.id = 1001 + (t.id - 1000) % ${list[place]?.[1].length}`);
          await world.us.sql(`insert into ${kind}_${place} values (0, null)`);
        }
        await world.settle();
        for (const [place, [type, literals]] of list.entries()) {
          const texts = before[place] ?? [];
          assert.equal(texts.length, literals.length, type);
          const rotated = texts.map((_, index) => texts[(index + 1) % texts.length]);
          const rows = await world.cluster.equal(`select v::text from ${kind}_${place} order by id`);
          assert.deepEqual(rows.flat(), [null, ...texts, ...rotated], type);
        }
      },
    );
  }

  trap(
    'values that print as given: nothing is rounded, folded or shortened on the way',
    `create table exact (id int primary key, a numeric, b double precision, c date, d timestamptz, e bytea, f jsonb,
       g text[], h text, i text, j interval)`,
    async (world) => {
      await world.eu.sql(`insert into exact values
        (1, '1.00', '-0', '0044-03-15 BC', '2024-10-27 00:30:00.123456+00', '\\x5c00', '{"a": 1.00}', '{{"a b",NULL}}', '',
         e'\\\\ \\n 🦊', '-1 mon +2 days'),
        (2, 'Infinity', 'NaN', '-infinity', 'infinity', '', 'null', '{}', null, 'NULL', '0')`);
      await world.everywhere('select * from exact order by id', [
        [
          '1',
          '1.00',
          '-0',
          '0044-03-15 BC',
          '2024-10-27 00:30:00.123456+00',
          '\\x5c00',
          '{"a": 1.00}',
          '{{"a b",NULL}}',
          '',
          '\\ \n 🦊',
          '-1 mons +2 days',
        ],
        ['2', 'Infinity', 'NaN', '-infinity', 'infinity', '\\x', 'null', '{}', null, 'NULL', '00:00:00'],
      ]);
    },
  );

  trap(
    'a table of three hundred columns, and one from which columns were dropped',
    `create table wide (id int primary key, ${columns((n) => `c${n} ${n % 2 === 0 ? 'int' : 'text'}`)});
     create table holey (gone int, id int primary key, gone_too text, v text);
     alter table holey drop column gone, drop column gone_too, add column w text default 'w'`,
    async (world) => {
      const { eu, us } = world;
      await eu.sql(
        `insert into wide values (1, ${columns((n) => (n % 2 === 0 ? String(n) : `'t${n}'`))}); insert into wide (id) values (2)`,
      );
      await eu.sql("insert into holey (id, v) values (1, 'v')");
      await world.settle();
      await us.sql('update wide set c298 = -1, c299 = null, c300 = id where id = 1');
      await us.sql("update holey set v = 'x'");
      await world.everywhere('select c1, c2, c297, c298, c299, c300 from wide order by id', [
        ['t1', '2', 't297', '-1', null, '1'],
        [null, null, null, null, null, null],
      ]);
      await world.everywhere('select * from holey', [['1', 'x', 'w']]);
    },
  );

  trap(
    'rows of many megabytes',
    `create table heavy (id int primary key, t text, b bytea, small int);
     alter table heavy alter column t set storage external, alter column b set storage external`,
    async (world) => {
      const { eu, us } = world;
      await eu.sql(
        `insert into heavy select 1, repeat('0123456789abcde' || chr(10), 1 << 18), decode(repeat('5c00ff27', 1 << 18), 'hex'), 1`,
      );
      await world.settle();
      await us.sql('update heavy set small = 2');
      await world.everywhere('select id, length(t), md5(t), length(b), md5(b), small from heavy', [
        [
          '1',
          '4194304',
          await eu.one("select md5(repeat('0123456789abcde' || chr(10), 1 << 18))"),
          '1048576',
          await eu.one("select md5(decode(repeat('5c00ff27', 1 << 18), 'hex'))"),
          '2',
        ],
      ]);
    },
  );
});

function columns(make: (n: number) => string): string {
  return Array.from({ length: 300 }, (_, place) => make(place + 1)).join(', ');
}

function insertSql(table: string, literals: readonly string[]): string {
  const rows = literals.map(
    (literal, place) => `(${place + 1}, e'${literal.replaceAll('\\', '\\\\').replaceAll("'", "''")}')`,
  );
  return `insert into ${table} (id, v) values ${rows.join(', ')}`;
}

/** The texts of each table's values as they are in a region. */
async function tables(
  world: TrapWorld,
  region: ClusterRegion,
  kind: string,
  list: readonly Values[],
): Promise<(string | null)[][]> {
  await world.settle();
  const texts: (string | null)[][] = [];
  for (const place of list.keys()) {
    texts.push((await region.sql(`select v::text from ${kind}_${place} order by id`)).flat());
  }
  return texts;
}
