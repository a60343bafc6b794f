// What `verify` compares, and which differences it finds, in tables with keys of every kind.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { connect } from '../../src/platform/postgres.ts';
import { readDefinitions } from '../../src/verify/table-definition.ts';
import { exitCodeOf, renderReport } from '../../src/verify/verify-report.ts';
import { PostgresServer } from '../support/postgres-server.ts';
import { Regions, tableOf } from '../support/verified-regions.ts';

// Two versions, so that texts and digests of both are compared; each test has databases of its own.
let servers: PostgresServer[] = [];

before(async () => {
  servers = await Promise.all([PostgresServer.start({ version: 18 }), PostgresServer.start({ version: 15 })]);
});
after(async () => {
  await Promise.all(servers.map((server) => server[Symbol.asyncDispose]()));
});

const SHOP = `
create type public.mood as enum ('low', 'high');
create domain public.code as varchar(20) check (value <> '');
create table public.by_number (id bigint primary key, note text);
create table public.by_uuid (id uuid primary key, note text, at timestamptz);
create table public.by_text (id text primary key, note text);
create table public.by_pair (tenant int, name public.code, note text, primary key (tenant, name));
create table public.by_amount (amount numeric primary key, note text);
create table public."By Mood" (mood public.mood, day date, "Note ""x""" jsonb, primary key (mood, day));
create table public.only_key (a int, b text, primary key (a, b));
create table public.parted (id int, at date, note text, primary key (id, at)) partition by range (at);
create table public.parted_old partition of public.parted for values from (minvalue) to ('2020-01-01');
create table public.parted_new partition of public.parted for values from ('2020-01-01') to (maxvalue);
create table public.left_out_of_it (id int);
create unlogged table public.no_wal (id int primary key);
insert into public.by_number select i, 'note ' || i from generate_series(1, 3000) i;
insert into public.by_uuid select md5(i::text)::uuid, 'n', '2024-01-01'::timestamptz + i * interval '1 s' from generate_series(1, 3000) i;
insert into public.by_text select chr(64 + i % 60) || md5(i::text), 'n' from generate_series(1, 3000) i;
insert into public.by_pair select i % 7, 'n' || i, 'x' from generate_series(1, 3000) i;
insert into public.by_amount select i / 10.0, 'x' from generate_series(1, 3000) i;
insert into public."By Mood" select case when i % 2 = 0 then 'low' else 'high' end::public.mood, '2024-01-01'::date + i, jsonb_build_object('i', i) from generate_series(1, 3000) i;
insert into public.only_key select i, 'b' from generate_series(1, 3000) i;
insert into public.parted select i, '2019-12-01'::date + i % 60, 'p' from generate_series(1, 3000) i`;

describe('verify', () => {
  test('tables with keys of every kind are equal, also between versions', async () => {
    await using regions = await Regions.start(servers, 3);
    await regions.all(SHOP);
    await regions.in('here', 'insert into public.left_out_of_it values (1); insert into public.no_wal values (1)');
    const report = await regions.verify();
    assert.deepEqual(
      report.tables.map(({ table, status, rows, settled, problem }) => [table, status, rows, settled, problem]),
      ['By Mood', 'by_amount', 'by_number', 'by_pair', 'by_text', 'by_uuid', 'only_key', 'parted'].map((table) => [
        `public.${table}`,
        'equal',
        { here: 3_000, there: 3_000, beyond: 3_000 },
        0,
        null,
      ]),
    );
    assert.equal(exitCodeOf(report), 0);
    assert.match(renderReport(report), /All regions are equal/);
  });

  test('a table that a user has to himself holds up no others', async () => {
    await using regions = await Regions.start(servers, 2);
    await regions.all(SHOP);
    await regions.in('here', 'begin; lock table public.left_out_of_it, public.parted_old in access exclusive mode');
    await using client = await connect(regions.urls[0] ?? '', { applicationName: 'test', lockTimeoutMs: 1 });
    const found = await readDefinitions(client);
    await regions.in('here', 'rollback');
    const unlocked = await readDefinitions(client);
    const bytes = (tables: typeof found) => tables.find(({ table }) => table === 'parted')?.bytes ?? 0;
    assert.ok(0 < bytes(found) && bytes(found) < bytes(unlocked));
  });

  test('finds every kind of difference, in every kind of key, and says what it is', async () => {
    await using regions = await Regions.start(servers, 3);
    await regions.all(SHOP);
    await regions.in('here', 'delete from public.by_number where id = 1');
    await regions.in('there', 'delete from public.by_number where id in (1500, 3000)');
    await regions.in('beyond', "insert into public.by_number values (5000, 'extra')");
    await regions.in('there', "update public.by_uuid set note = '' where id = md5('7')::uuid");
    await regions.in('beyond', "update public.by_uuid set note = null where id = md5('7')::uuid");
    await regions.in('here', "update public.by_uuid set at = at + interval '1 us' where id = md5('8')::uuid");
    await regions.in('there', "insert into public.by_text values ('', 'empty'), ('it''s \"{,}\\', 'odd')");
    await regions.in('beyond', "update public.by_pair set note = 'NULL' where (tenant, name) = (3, 'n3')");
    await regions.in('here', "update public.by_pair set note = null where (tenant, name) = (3, 'n3')");
    await regions.in('there', `update public."By Mood" set "Note ""x""" = '{"i": 1.0}' where day = '2024-01-02'`);
    await regions.in('beyond', 'delete from public.only_key where a = 17');
    await regions.in('beyond', "update public.parted set at = '2020-01-31' where id = 1");

    const report = await regions.verify();
    const found = (table: string) =>
      tableOf(report, `public.${table}`)
        .differences.map(({ key, kind, regions: rows }) => [Object.values(key).join(), kind, rows] as const)
        .sort(([a], [b]) => (a < b ? -1 : 1));
    assert.deepEqual(found('by_number'), [
      ['1', 'missing', { here: null, there: {}, beyond: {} }],
      ['1500', 'missing', { here: {}, there: null, beyond: {} }],
      ['3000', 'missing', { here: {}, there: null, beyond: {} }],
      ['5000', 'missing', { here: null, there: null, beyond: {} }],
    ]);
    const uuids = found('by_uuid').map(([, kind, rows]) => [kind, rows]);
    assert.equal(uuids.length, 2);
    assert.deepEqual(
      uuids.find(([, rows]) => 'note' in ((rows as Record<string, object>).here ?? {})),
      ['different', { here: { note: 'n' }, there: { note: '' }, beyond: { note: null } }],
    );
    assert.deepEqual(
      uuids.find(([, rows]) => 'at' in ((rows as Record<string, object>).here ?? {})),
      [
        'different',
        {
          here: { at: '2024-01-01 00:00:08.000001+00' },
          there: { at: '2024-01-01 00:00:08+00' },
          beyond: { at: '2024-01-01 00:00:08+00' },
        },
      ],
    );
    assert.deepEqual(
      found('by_text').map(([key]) => key),
      ['', 'it\'s "{,}\\'],
    );
    assert.deepEqual(found('by_pair'), [
      ['3,n3', 'different', { here: { note: null }, there: { note: 'x' }, beyond: { note: 'NULL' } }],
    ]);
    assert.equal(found('By Mood').length, 1);
    assert.deepEqual(found('only_key'), [['17,b', 'missing', { here: {}, there: {}, beyond: null }]]);
    assert.equal(found('parted').length, 2);
    assert.equal(tableOf(report, 'public.by_amount').status, 'equal');
    assert.equal(exitCodeOf(report), 1);
    const rendered = renderReport(report);
    assert.match(rendered, /SYN-V001 13 rows differ/);
    assert.match(rendered, /here: note = NULL\n {4}there: note = 'x'\n {4}beyond: note = 'NULL'/);
    assert.match(rendered, /here: no such row/);
  });

  test('a row is known by the equality of its key, not by its text', async () => {
    await using regions = await Regions.start(servers, 2);
    await regions.all('create schema ext; create extension citext schema ext');
    await regions.all('create table public.amounts (amount numeric primary key, note text)');
    await regions.all('create table public.names (a int, name ext.citext, note text, primary key (a, name))');
    await regions.all('create table public.blanks (c character(5) primary key, note text)');
    await regions.all("insert into public.names select i % 3, 'n' || i, 'x' from generate_series(1, 2000) i");
    await regions.in('here', "insert into public.amounts values (1.0, 'x'), (2.5, 'x'), (3, 'x')");
    await regions.in('there', "insert into public.amounts values (1.00, 'x'), (2.50, 'y'), (3, 'x')");
    await regions.in('here', "insert into public.names values (7, 'Ada', 'x'), (8, 'Bob', 'x')");
    await regions.in('there', "insert into public.names values (7, 'ADA', 'x'), (8, 'BOB', 'y')");
    await regions.all("insert into public.blanks values ('a'), ('b')");
    const report = await regions.verify();
    const amounts = tableOf(report, 'public.amounts');
    assert.equal(amounts.keys_spelled_differently, 2);
    assert.deepEqual(
      amounts.differences.map(({ key, kind }) => [key, kind]),
      [[{ amount: '2.5' }, 'different']],
    );
    const names = tableOf(report, 'public.names');
    assert.deepEqual(
      names.differences.map(({ key }) => key),
      [{ a: '8', name: 'Bob' }],
    );
    assert.equal(tableOf(report, 'public.blanks').status, 'equal');
  });

  test('regions that sort or store text in other ways are compared all the same', async () => {
    const options = "template template0 encoding 'LATIN1' locale_provider icu icu_locale 'en' locale 'C'";
    servers = [...servers].reverse();
    await using regions = await Regions.start(servers, 2, options);
    servers = [...servers].reverse();
    await regions.all('create table public.words (word text primary key, note text)');
    await regions.all(`insert into public.words
      select (array['a', 'B', 'ä', 'Z', '-', '_', 'Ö', '1'])[i % 8 + 1] || md5(i::text) || i, 'ü' from generate_series(1, 20000) i`);
    const equal = await regions.verify();
    assert.equal(equal.equal, true, renderReport(equal));
    assert.deepEqual(tableOf(equal, 'public.words').rows, { here: 20_000, there: 20_000 });
    assert.equal(tableOf(equal, 'public.words').settled, 0);
    await regions.in('here', "update public.words set note = 'u' where word like '%777'");
    await regions.in('there', "delete from public.words where word like 'ä%99'");
    const different = tableOf(await regions.verify(), 'public.words');
    const changed = "select word from public.words where word like '%777' or word like 'ä%99'";
    const expected = await regions.clients[0]?.query(changed);
    assert.deepEqual(
      new Set(different.differences.map(({ key }) => key.word)),
      new Set(expected?.rows.map(({ word }) => word)),
    );
  });

  test('tables that cannot be compared are named with the reason, and the others are compared', async () => {
    await using regions = await Regions.start(servers, 2);
    await regions.all('create table public.fine (id int primary key)');
    await regions.all('create table public.no_key (id int)');
    await regions.in('here', 'create table public.only_here (id int primary key)');
    await regions.in('here', 'create table public.other_type (id int primary key, a varchar(10), b int)');
    await regions.in('there', 'create table public.other_type (id int primary key, c int, a varchar(20))');
    await regions.in('here', 'create table public.other_key (a int primary key, b int not null)');
    await regions.in('there', 'create table public.other_key (a int not null, b int primary key)');
    await regions.in('here', 'create table public.other_place (id int primary key, a int, b int)');
    await regions.in('there', 'create table public.other_place (b int, a int, id int primary key)');
    await regions.in('here', 'insert into public.other_place (id, a, b) values (1, 2, 3)');
    await regions.in('there', 'insert into public.other_place (id, a, b) values (1, 2, 3)');
    const report = await regions.verify();
    const problems = report.tables.map(({ table, status, problem }) => [table, status, problem?.code, problem?.detail]);
    assert.deepEqual(problems, [
      ['public.fine', 'equal', undefined, undefined],
      ['public.no_key', 'not-compared', 'SYN-P012', 'has no primary key'],
      ['public.only_here', 'not-compared', 'SYN-V002', 'does not exist in there'],
      ['public.other_key', 'not-compared', 'SYN-V002', 'the primary key is (a) in here and (b) in there'],
      ['public.other_place', 'equal', undefined, undefined],
      [
        'public.other_type',
        'not-compared',
        'SYN-V002',
        'column a is character varying(10) in here and character varying(20) in there; ' +
          'column b exists in here and not in there; column c exists in there and not in here',
      ],
    ]);
    assert.equal(exitCodeOf(report), 2);
    await assert.rejects(regions.verify({ tables: ['public.nothing*'] }), { code: 'SYN-V004' });
    const narrowed = await regions.verify({ tables: ['public.f*'] });
    assert.equal(exitCodeOf(narrowed), 0);
  });

  test('a region that lacks a whole table of rows is found out early', async () => {
    await using regions = await Regions.start(servers, 2);
    await regions.all('create table public.items (id int primary key)');
    await regions.in('there', 'insert into public.items select generate_series(1, 60000)');
    const report = await regions.verify({ settleMs: 50 });
    const items = tableOf(report, 'public.items');
    assert.ok(items.differing >= 10_000 && items.differing < 60_000);
    assert.equal(items.differences.length, 100);
    assert.equal(items.problem?.code, 'SYN-V001');
  });
});
