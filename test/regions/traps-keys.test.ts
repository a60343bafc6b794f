// What tells rows apart: keys of every type that is taken, keys that are equal without being written alike, and tables
// that cannot be replicated, which must not get in their users' way.

import assert from 'node:assert/strict';
import { traps } from '../support/traps.ts';

/** For each type three values; the last one is the key whose row is deleted. */
const KEY_TYPES: readonly (readonly [type: string, ...values: [string, string, string]])[] = [
  [
    'uuid',
    '00000000-0000-4000-8000-000000000000',
    'ffffffff-ffff-4fff-bfff-ffffffffffff',
    'aaaaaaaa-0000-4000-8000-000000000000',
  ],
  ['text collate german', '', 'Ünï "x" \\ {,}', "it's\n🦊"],
  ['text collate "C"', 'a', 'A', ' a'],
  ['varchar(20)', 'NULL', 'null', 'ab '],
  ['numeric', 'NaN', '1.50', 'Infinity'],
  ['double precision', 'NaN', '-0', '-Infinity'],
  ['boolean', 't', 'f', 't'],
  ['date', 'infinity', '0044-03-15 BC', '2024-02-29'],
  ['timestamptz', '-infinity', '2024-10-27 00:30:00.123456+00', '0001-01-01 00:00:00+00 BC'],
  ['bytea', '\\x', '\\x5c00', '\\x22'],
  ['inet', '10.0.0.1/8', '10.0.0.1', '::1'],
  ['key_mood', 'so, so', "it's", 'ok'],
  ['key_domain', 'AB', 'CD', 'EF'],
  ['citext', 'MiXed', 'other', 'Third'],
  ['char(4)', 'ab', '', 'abcd'],
  ['bit(3)', '101', '000', '111'],
];

const SCHEMA = `
create extension if not exists citext;
create collation german (provider = icu, locale = 'de-u-co-phonebk');
create collation folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
create type key_mood as enum ('ok', 'so, so', 'it''s');
create domain key_domain as varchar(5) check (value ~ '^[A-Z]+$')`;

traps('keys', { schema: SCHEMA }, (trap) => {
  trap(
    'keys of every type: rows inserted in one region, updated in the second, deleted in the third',
    KEY_TYPES.map(([type], place) => `create table key_${place} (k ${type} primary key, v text)`).join('; '),
    async (world) => {
      const { eu, us, ap } = world;
      const tables = KEY_TYPES.map(([type, ...values], place) => ({ type, table: `key_${place}`, values }));
      for (const { table, values } of tables) {
        await eu.sql(
          `insert into ${table} values ${[...new Set(values)].map((value) => `(${quote(value)}, 'new')`).join(', ')}`,
        );
      }
      await world.settle();
      for (const { table, values } of tables) {
        await us.sql(`update ${table} set v = 'updated' where k = ${quote(values[1])}`);
        await ap.sql(`delete from ${table} where k = ${quote(values[2])}`);
      }
      await world.settle();
      for (const { type, table, values } of tables) {
        const rows = await world.cluster.equal(`select v from ${table} order by v`);
        const expected = values[0] === values[2] ? [['updated']] : [['new'], ['updated']];
        assert.deepEqual(rows, expected, type);
      }
    },
  );

  trap(
    'keys that are equal and not written alike are one row: 1.0 and 1.00, -0 and 0, A and a',
    `create table amount_key (k numeric primary key, v text); create table float_key (k float8 primary key, v text);
     create table folded_key (k citext primary key, v text); create table padded_key (k char(3), n numeric, v text, primary key (k, n))`,
    async (world) => {
      const { eu, us, ap } = world;
      await eu.sql("insert into amount_key values (2.0, 'old'), (3.0, 'old'), (4, 'old')");
      await world.apart(async () => {
        await eu.sql("insert into amount_key values (1.0, 'eu'); insert into float_key values ('-0', 'eu')");
        await eu.sql("insert into folded_key values ('Key', 'eu'); insert into padded_key values ('a', 1.0, 'eu')");
        await us.sql("insert into amount_key values (1.00, 'us'); insert into float_key values ('0', 'us')");
        await us.sql("insert into folded_key values ('kEY', 'us'); insert into padded_key values ('a  ', 1.00, 'us')");
        await ap.sql('update amount_key set k = 2.000 where k = 2');
        await ap.sql('delete from amount_key where k = 3.00');
        await us.sql(
          "begin; delete from amount_key where k = 4.00; insert into amount_key values (4.0000, 'again'); commit",
        );
      });
      await world.resumeAll();
      await world.everywhere('select * from amount_key order by k', [
        ['1.00', 'us'],
        ['2.000', 'old'],
        ['4.0000', 'again'],
      ]);
      await world.everywhere('select * from float_key', [['0', 'us']]);
      await world.everywhere('select * from folded_key', [['kEY', 'us']]);
      await world.everywhere('select k, n, v from padded_key', [['a  ', '1.00', 'us']]);
      await eu.sql(
        "delete from amount_key where k = 1; delete from folded_key where k = 'KEY'; delete from float_key where k = '-0'",
      );
      await world.everywhere(
        'select (select count(*) from amount_key), (select count(*) from folded_key), (select count(*) from float_key)',
        [['2', '0', '0']],
      );
    },
  );

  trap(
    'composite keys whose order is not that of the columns, keys that include others, and tables that are all key',
    `create table composite (a int, b text, c date, v int, primary key (c, a, b));
     create table including (id int, v text, extra text, primary key (id) include (extra));
     create table all_key (a int, b text, primary key (b, a));
`,
    async (world) => {
      const { eu, us, ap } = world;
      await eu.sql(`insert into composite values (1, '2', '2024-01-01', 1), (12, '', '2024-01-01', 2), (1, '', '2024-01-01', 3);
        insert into including values (1, 'v', 'x'), (2, 'v', 'x'); insert into all_key values (1, '1'), (1, '2'), (2, '1')`);
      await world.settle();
      await us.sql("update composite set v = 10 where a = 12; delete from composite where b = '2'");
      await us.sql("update including set extra = 'y', id = 3 where id = 1");
      await ap.sql("update all_key set b = '3' where b = '2'; delete from all_key where a = 2");
      await ap.sql("update including set extra = 'z' where id = 2");
      await world.everywhere('select * from composite order by a', [
        ['1', '', '2024-01-01', '3'],
        ['12', '', '2024-01-01', '10'],
      ]);
      await world.everywhere('select * from including order by id', [
        ['2', 'v', 'z'],
        ['3', 'v', 'y'],
      ]);
      await world.everywhere('select * from all_key order by b', [
        ['1', '1'],
        ['1', '3'],
      ]);
      await world.apart(async () => {
        await eu.sql("insert into all_key values (9, '9')");
        await us.sql("insert into all_key values (9, '9')");
        await ap.sql("delete from all_key where a = 1 and b = '1'");
      });
      await world.resumeAll();
      await world.everywhere('select * from all_key order by b', [
        ['1', '3'],
        ['9', '9'],
      ]);
    },
  );

  trap(
    'tables that cannot be replicated stay at home whole, and their users notice nothing',
    `create table keyless (v text);
     create table identified (id int not null, v text); create unique index identified_key on identified (id);
     alter table identified replica identity using index identified_key;
     create table deferring (id int primary key deferrable initially deferred);
     create table deferring_too (id int primary key, u int unique deferrable);
     create table ambiguous (k text collate folded primary key);
     create table document_key (k jsonb primary key);
     create table computed_key (a int, b int generated always as (a * 2) stored primary key);
     create unlogged table unlogged (id int primary key);
     create table beside (id int primary key)`,
    async (world) => {
      const { eu, us, ap } = world;
      const left = [
        'keyless',
        'deferring',
        'deferring_too',
        'ambiguous',
        'document_key',
        'computed_key',
        'unlogged',
        'identified',
      ];
      await eu.sql(`begin; insert into keyless values ('a'), ('a'); insert into beside values (1);
        insert into deferring values (1); insert into deferring_too values (1, 1); insert into ambiguous values ('a');
        insert into document_key values ('1'); insert into computed_key (a) values (1); insert into unlogged values (1);
        insert into identified values (1, 'a');
        commit`);
      await eu.sql("update keyless set v = 'b'; delete from keyless where ctid = '(0,3)'; update deferring set id = 2");
      await eu.sql('update deferring_too set u = 2; update ambiguous set k = upper(k); update computed_key set a = 2');
      await us.sql("insert into keyless values ('us'); delete from keyless");
      await world.everywhere('select id from beside', [['1']]);
      assert.deepEqual(await eu.sql('select count(*) from keyless'), [['1']]);
      assert.deepEqual(await eu.sql('select id from deferring'), [['2']]);
      for (const region of [us, ap]) {
        for (const table of left)
          assert.deepEqual(await region.sql(`select * from ${table}`), [], `${table} in ${region.name}`);
      }
      const published = `select tablename from pg_publication_tables where tablename = any ('{${left}}')`;
      assert.deepEqual(await eu.sql(published), []);
      const { problems } = (await (await fetch(`${eu.api}/status`)).json()) as { problems: Problem[] };
      const codes = Object.fromEntries(problems.map(({ table, code }) => [table, code]));
      delete codes['public.late_key'];
      assert.deepEqual(codes, {
        'public.ambiguous': 'SYN-P017',
        'public.computed_key': 'SYN-P012',
        'public.deferring': 'SYN-P013',
        'public.deferring_too': 'SYN-P013',
        'public.document_key': 'SYN-P017',
        'public.identified': 'SYN-P012',
        'public.keyless': 'SYN-P012',
        'public.unlogged': 'SYN-P021',
      });
      await world.inAll(`drop table ${left.join(', ')}`);
    },
  );

  trap(
    'a table is published once it has a key, and one made while the agents run soon after, with what is in it by then',
    'create table late_key (id int not null, v text)',
    async (world) => {
      const { eu, us, ap } = world;
      await eu.sql("insert into late_key values (1, 'a')");
      await world.inAll(
        'alter table late_key add primary key (id); create table newcomer (id int primary key, v text)',
      );
      await eu.sql("insert into newcomer values (1, 'a'), (3, 'a')");
      await us.sql("insert into late_key values (2, 'b'); insert into newcomer values (2, 'b')");
      await world.published('public.late_key', 'public.newcomer');
      await world.settle();
      await ap.sql("update late_key set v = 'c' where id = 1; delete from newcomer where id > 1");
      await world.everywhere('select * from late_key order by id', [
        ['1', 'c'],
        ['2', 'b'],
      ]);
      await world.everywhere('select * from newcomer', [['1', 'a']]);
    },
  );
});

type Problem = { readonly table: string; readonly code: string };

function quote(text: string): string {
  return `e'${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;
}
