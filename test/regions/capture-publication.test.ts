// The publication on real servers: what it takes in, what it refuses, and what happens while it is in use.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { SAY_SIGNED } from '../../src/apply/sql/sql-bookkeeping.ts';
import { ensurePublication, reconcilePublication } from '../../src/capture/tables/publication.ts';
import type { PublicationSpec } from '../../src/capture/tables/publication-plan.ts';
import { connect } from '../../src/platform/postgres.ts';
import { CapturedRegion } from '../support/captured-region.ts';
import { CONTRACT_MAJORS } from '../support/postgres-majors.ts';
import { PostgresServer } from '../support/postgres-server.ts';
import { hasCode } from '../support/replication-source.ts';
import { waitFor } from '../support/wait-for.ts';

const SPEC: PublicationSpec = {
  name: 'syncline_eu',
  include: ['public.*'],
  exclude: ['public.no_*'],
  identity: 'full',
};
const FIRST = { mayCreate: true };

/** What a publication can be changed to since then, and back. */
const SINCE_15 = [
  [
    'alter publication syncline_eu set table public.a where (id > 5)',
    'alter publication syncline_eu set table only public.a',
  ],
  [
    'alter publication syncline_eu add tables in schema public',
    'alter publication syncline_eu drop tables in schema public',
  ],
];

for (const version of CONTRACT_MAJORS) {
  describe(`publication on PostgreSQL ${version}`, () => {
    let server: PostgresServer;
    before(async () => {
      server = await PostgresServer.start({ version });
    });
    after(async () => {
      await server[Symbol.asyncDispose]();
    });

    const published = async (region: CapturedRegion): Promise<string[]> => {
      const sql = 'select schemaname, tablename from pg_publication_tables where pubname = $1 order by 1, 2';
      const { rows } = await region.sql.query(sql, [SPEC.name]);
      return rows.map(({ schemaname, tablename }) => `${schemaname}.${tablename}`);
    };

    test('takes in what can be replicated, and says why not the rest', async () => {
      await using region = await CapturedRegion.make(server);
      const { sql } = region;
      await sql.query(`
        create extension citext;
        create table public.plain (id int primary key);
        create table public.child (extra int, primary key (id)) inherits (public.plain);
        create table public."Quo""ted" (id citext primary key);
        create table public.by_index (id int not null, n int);
        create unique index by_index_id on public.by_index (id);
        alter table public.by_index replica identity using index by_index_id;
        create table public.parts (id int, at text, primary key (id, at)) partition by list (at);
        create table public.parts_a partition of public.parts for values in ('a') partition by range (id);
        create table public.parts_a1 partition of public.parts_a for values from (0) to (10);
        create table public.no_thanks (id int primary key);
        create table public.keyless (id int);
        create table public.late (id int primary key deferrable);
        create unlogged table public.unlogged (id int primary key);
        create table public.odd (id interval primary key);
        create temp table gone (id int primary key);
        create view public.view as select 1 as id;
        create foreign data wrapper nothing;
        create server nowhere foreign data wrapper nothing;
        create foreign table public.abroad (id int) server nowhere;
      `);
      const report = await ensurePublication(sql, SPEC, FIRST);
      assert.deepEqual(await published(region), ['public.Quo"ted', 'public.child', 'public.parts', 'public.plain']);
      assert.deepEqual(report.problems.map(({ code, table }) => `${code} ${table}`).sort(), [
        'SYN-P012 by_index',
        'SYN-P012 keyless',
        'SYN-P013 late',
        'SYN-P017 odd',
        'SYN-P021 unlogged',
        'SYN-P024 abroad',
      ]);
      const { rows } = await sql.query(
        `select relname, relreplident from pg_class where relkind in ('r', 'p') and relnamespace = 'public'::regnamespace
            and relreplident <> 'd' order by 1`,
      );
      assert.deepEqual(
        rows.map(({ relname, relreplident }) => `${relname} ${relreplident}`),
        ['Quo"ted f', 'by_index i', 'child f', 'parts f', 'parts_a f', 'parts_a1 f', 'plain f'],
      );
      const kept = await sql.query(
        "select value from syncline.meta where key = 'identity_before:' || 'public.plain'::regclass::oid",
      );
      assert.deepEqual(kept.rows, [{ value: 'd' }]);
      const again = await reconcilePublication(sql, SPEC, report);
      const third = await reconcilePublication(sql, SPEC, again);
      assert.deepEqual([again.added, again.waiting, third.added], [[], [], []]);
      assert.equal(third.problems.length, 6);
    });

    test('a table made later comes in, and rows that it held are told', async () => {
      await using region = await CapturedRegion.make(server);
      const { sql } = region;
      await sql.query('create table public.before (id int primary key); insert into public.before values (1)');
      const first = await ensurePublication(sql, SPEC, FIRST);
      assert.deepEqual(first.added, [{ schema: 'public', table: 'before', heldRows: true, resent: 0 }]);
      assert.deepEqual(first.problems, [], 'the baseline is no surprise');
      await sql.query('create table public.empty (id int primary key)');
      await sql.query('create table public.filled (id int primary key); insert into public.filled values (1)');
      const second = await reconcilePublication(sql, SPEC, first);
      assert.deepEqual(
        second.added.map(({ table, heldRows }) => [table, heldRows]),
        [
          ['empty', false],
          ['filled', true],
        ],
      );
      const third = await reconcilePublication(sql, SPEC, second);
      assert.deepEqual(
        third.problems.map(({ code, table }) => [code, table]),
        [['SYN-K011', 'filled']],
      );
      await sql.query('drop table public.empty');
      const last = await reconcilePublication(sql, SPEC, await reconcilePublication(sql, SPEC, third));
      assert.equal(last.members.size, 2);
    });

    test('rows that a new table got before it was published are sent with it, older ones never', async () => {
      await using region = await CapturedRegion.make(server);
      const { sql } = region;
      await sql.query(`
        create table public.late (id int, note text);
        insert into public.late values (1, 'from before');
        create table public.late_key (id int, note text)`);
      await using running = await region.capture({ publication: SPEC });
      await sql.query(`
        create table public.fresh (id int generated always as identity primary key, note text,
          twice text generated always as (note || note) stored);
        create function public.fired() returns trigger language plpgsql as $$ begin new.note = 'fired'; return new; end $$;
        insert into public.fresh (note) values ('a'), (null), (repeat('long', 100000));
        create trigger fired before update on public.fresh for each row execute function public.fired();
        create table public.parts (id int primary key, note text) partition by range (id);
        create table public.parts_a partition of public.parts for values from (0) to (10);
        insert into public.parts values (1, 'part');
        insert into public.late_key values (7, 'no key yet');
        insert into public.late values (2, 'later');
        alter table public.late add primary key (id);
        alter table public.late_key add primary key (id)`);
      await waitFor(async () => (await published(region)).length === 4, { what: 'all tables are published' });
      await sql.query("insert into public.fresh (note) values ('b')");
      const { transactions } = await region.settled();
      const images = transactions.flatMap(({ events }) =>
        events.map(({ operation, table_name, after_image }) => {
          const { id, note } = after_image ?? {};
          return `${operation} ${table_name} ${id} ${note == null ? note : note.slice(0, 10)} ${note?.length}`;
        }),
      );
      assert.deepEqual(images.toSorted(), [
        'INSERT fresh 4 b 1',
        'UPDATE fresh 1 a 1',
        'UPDATE fresh 2 null undefined',
        'UPDATE fresh 3 longlonglo 400000',
        'UPDATE late_key 7 no key yet 10',
        'UPDATE parts 1 part 4',
      ]);
      const problems = running.capture.publication?.problems ?? [];
      assert.deepEqual(
        problems.map(({ code, table }) => `${code} ${table}`),
        ['SYN-K011 late'],
      );
    });

    test('where the lane has signed, whose rows a new table holds cannot be told, so none of them is sent', async () => {
      await using region = await CapturedRegion.make(server);
      await using running = await region.capture({ publication: SPEC });
      await region.sql.query(SAY_SIGNED);
      await region.sql.query('create table public.late (id int primary key); insert into public.late values (1)');
      await waitFor(async () => (await published(region)).length === 1, { what: 'the table is published' });
      await region.sql.query('insert into public.late values (2)');
      const { transactions } = await region.settled();
      const sent = transactions.flatMap(({ events }) => events.map(({ operation, row_pk }) => [operation, row_pk.id]));
      assert.deepEqual(sent, [['INSERT', '2']]);
      const problems = running.capture.publication?.problems ?? [];
      assert.deepEqual(
        problems.map(({ code, table }) => `${code} ${table}`),
        ['SYN-K011 late'],
      );
    });

    test('a table that is busy waits, holds nobody up for long, and comes in later', async () => {
      await using region = await CapturedRegion.make(server);
      await region.sql.query('create table public.busy (id int primary key)');
      await using writer = await connect(region.url, { applicationName: 'writer' });
      await writer.query('begin; insert into public.busy values (1)');
      const first = await ensurePublication(region.sql, SPEC, FIRST);
      assert.deepEqual(first.waiting, [{ schema: 'public', table: 'busy' }]);
      assert.deepEqual(await published(region), []);
      const second = await reconcilePublication(region.sql, SPEC, first);
      assert.equal(second.waiting.length, 1);
      await writer.query('commit');
      const third = await reconcilePublication(region.sql, SPEC, second);
      assert.deepEqual(third.added, [{ schema: 'public', table: 'busy', heldRows: true, resent: 0 }]);
    });

    test('what someone else changes is told apart from what we do', async () => {
      await using region = await CapturedRegion.make(server);
      const { sql } = region;
      await sql.query('create table public.a (id int primary key); create table public.no_b (id int primary key)');
      const report = await ensurePublication(sql, SPEC, FIRST);
      const changes = [
        ['alter publication syncline_eu drop table public.a', 'alter publication syncline_eu add table public.a'],
        ['alter publication syncline_eu add table public.no_b', 'alter publication syncline_eu drop table public.no_b'],
        [
          "alter publication syncline_eu set (publish = 'insert')",
          "alter publication syncline_eu set (publish = 'insert, update, delete, truncate')",
        ],
        ...(version >= 15 ? SINCE_15 : []),
        ['alter publication syncline_eu rename to other', 'alter publication other rename to syncline_eu'],
      ];
      for (const [change = '', back = ''] of changes) {
        await sql.query(change);
        await assert.rejects(reconcilePublication(sql, SPEC, report), hasCode('SYN-K002'), change);
        await sql.query(back);
        await reconcilePublication(sql, SPEC, report);
      }
      await sql.query('drop publication syncline_eu');
      await assert.rejects(ensurePublication(sql, SPEC, { mayCreate: false }), hasCode('SYN-K002'));
    });

    test('a role that owns nothing is told what it may not do, and goes on once it may', async () => {
      await using region = await CapturedRegion.make(server);
      const { sql, database } = region;
      const role = `role_${database}`;
      await sql.query(`create role ${role} login password 'secret'`);
      await sql.query(
        `grant usage on schema public, syncline to ${role}; grant all on all tables in schema syncline to ${role}`,
      );
      await sql.query('create table public.foreign_owned (id int primary key)');
      await using session = await connect(server.url(database, { user: role, password: 'secret' }), {
        applicationName: 'x',
      });
      await assert.rejects(ensurePublication(session, SPEC, FIRST), hasCode('SYN-P011'));
      await sql.query(`grant create on database ${database} to ${role}`);
      const report = await ensurePublication(session, SPEC, FIRST);
      assert.deepEqual(
        report.problems.map(({ code, table }) => [code, table]),
        [['SYN-P011', 'foreign_owned']],
      );
      const owner = `owner_${database}`;
      await sql.query(`create role ${owner}; alter table public.foreign_owned owner to ${owner}`);
      const refused = await reconcilePublication(session, SPEC, report);
      assert.deepEqual(refused.problems.length, 1);
      await sql.query(`grant ${owner} to ${role}`);
      const allowed = await reconcilePublication(session, SPEC, refused);
      assert.deepEqual([allowed.problems, allowed.added.map(({ table }) => table)], [[], ['foreign_owned']]);
    });

    test('tables made while capture streams are in the stream from their first row on', async () => {
      await using region = await CapturedRegion.make(server);
      await using running = await region.capture();
      await region.sql.query('create table public.made (id int primary key)');
      await waitFor(() => running.reports.some(({ added }) => added.length > 0), { what: 'the table is published' });
      await region.sql.query('insert into public.made values (1)');
      assert.deepEqual(
        (await region.events(0)).map(({ row_pk }) => row_pk),
        [{ id: '1' }],
      );
    });

    test('a table that loses its key stops capture, which goes on once the key is back', async () => {
      await using region = await CapturedRegion.make(server);
      await region.sql.query('create table public.t (id int primary key)');
      {
        await using running = await region.capture();
        await region.sql.query('insert into public.t values (1)');
        await region.settled();
        await region.sql.query('alter table public.t drop constraint t_pkey; insert into public.t values (2)');
        const error = await running.stoppedWith('SYN-K008');
        assert.match(error.message, /public\.t/);
      }
      await region.sql.query('alter table public.t add primary key (id)');
      await using _ = await region.capture();
      const found = await region.transactions(2);
      assert.deepEqual(
        found.map(({ events }) => events[0]?.row_pk.id),
        ['1', '2'],
      );
    });

    test('a row that the identity of its table or partition does not tell stops capture', async () => {
      const statements = [
        'delete from public.p where id = 11',
        'update public.p set id = 12 where id = 11',
        'update public.t set id = 12 where id = 11',
        'delete from public.t where id = 11',
      ];
      for (const statement of statements) {
        await using region = await CapturedRegion.make(server);
        const { sql } = region;
        await sql.query(`
          create table public.p (id int primary key, x int not null) partition by range (id);
          create table public.t (id int primary key, x int not null unique);
          insert into public.t values (11, 110);`);
        {
          await using _ = await region.capture();
          await region.settled();
        }
        await sql.query(`
          create table public.p2 (like public.p including all);
          create unique index p2_x on public.p2 (x);
          alter table public.p2 replica identity using index p2_x;
          alter table public.p attach partition public.p2 for values from (10) to (20);
          alter table public.t replica identity using index t_x_key;
          insert into public.p values (11, 110);`);
        await sql.query(statement);
        await using running = await region.startCapture();
        const error = await running.stoppedWith('SYN-K008');
        assert.match(error.message, /the replica identity of .* lacks columns of the key/, statement);
      }
    });

    test('a table that stops capture and is excluded then holds up the others no more', async () => {
      await using region = await CapturedRegion.make(server);
      const { sql } = region;
      await sql.query(
        'create table public.t (id int primary key); create table public.large (id int primary key, v text)',
      );
      await sql.query('create table public.other (id int primary key)');
      const limits = { record_bytes_max: 10_000 };
      {
        await using running = await region.capture({ limits });
        await sql.query('alter table public.t drop constraint t_pkey; insert into public.t values (1), (1)');
        await running.stoppedWith('SYN-K008');
      }
      await sql.query(`begin; insert into public.other values (1); truncate public.t;
        insert into public.large values (1, repeat('x', 20000)); commit`);
      const publication = { ...SPEC, name: region.slot, exclude: ['public.t'] };
      {
        await using running = await region.startCapture({ limits, publication });
        await running.stoppedWith('SYN-K007');
      }
      await using _running = await region.capture({
        limits,
        publication: { ...publication, exclude: ['public.t', 'public.large'] },
      });
      const { transactions } = await region.settled();
      assert.deepEqual(
        transactions.map(({ events }) => events.map(({ table_name }) => table_name)),
        [['other']],
      );
    });

    test('a table that is dropped while capture is away leaves its rows in the stream', async () => {
      await using region = await CapturedRegion.make(server);
      await region.sql.query('create table public.t (id int primary key, note text)');
      await (await region.capture())[Symbol.asyncDispose]();
      await region.sql.query("insert into public.t values (1, 'a')");
      await region.sql.query('drop table public.t');
      await using _ = await region.capture();
      assert.deepEqual(
        (await region.events(0)).map(({ after_image }) => after_image),
        [{ id: '1', note: 'a' }],
      );
    });

    test('a publication that is dropped while capture streams stops it', async () => {
      await using region = await CapturedRegion.make(server);
      await using running = await region.capture();
      await region.sql.query(`drop publication ${region.slot}`);
      await running.stoppedWith('SYN-K002');
    });
  });
}
