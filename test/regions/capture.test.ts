// What a transaction becomes on its way from the WAL of a real server to the log.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Lease } from '../../src/capture/lease.ts';
import type { ChangeEvent } from '../../src/change/change-event.ts';
import { hlcFromText, hlcMicros } from '../../src/change/hlc.ts';
import { partitionsSql } from '../../src/platform/partitions.ts';
import { connect } from '../../src/platform/postgres.ts';
import { CapturedRegion } from '../support/captured-region.ts';
import { CONTRACT_MAJORS } from '../support/postgres-majors.ts';
import { PostgresServer } from '../support/postgres-server.ts';
import { waitFor } from '../support/wait-for.ts';

const brief = ({ operation, table_name, row_pk, before_image, after_image }: ChangeEvent): unknown[] => [
  operation,
  table_name,
  row_pk,
  before_image,
  after_image,
];

for (const version of CONTRACT_MAJORS) {
  describe(`capture from PostgreSQL ${version}`, () => {
    let server: PostgresServer;
    before(async () => {
      server = await PostgresServer.start({ version, settings: { max_prepared_transactions: '5' } });
    });
    after(async () => {
      await server[Symbol.asyncDispose]();
    });

    test('a committed row is an event that tells where, when and by whom', async () => {
      await using region = await CapturedRegion.make(server);
      await region.sql.query('create table public.t (id int primary key, note text)');
      await using running = await region.capture();
      await region.sql.query("insert into public.t values (1, 'a'), (2, null)");
      const events = await region.events(0);
      const { rows } = await region.sql.query(
        `select xmin, (extract(epoch from pg_xact_commit_timestamp(xmin)) * 1000000)::bigint as micros from public.t limit 1`,
      );
      assert.deepEqual(events.map(brief), [
        ['INSERT', 't', { id: '1' }, null, { id: '1', note: 'a' }],
        ['INSERT', 't', { id: '2' }, null, { id: '2', note: null }],
      ]);
      const [event] = events;
      assert.ok(event);
      assert.equal(String(event.transaction.id), rows[0]?.xmin);
      assert.equal(hlcMicros(hlcFromText(event.hlc_timestamp)), BigInt(rows[0]?.micros ?? 0));
      assert.equal(event.region_id, region.region);
      assert.deepEqual(event.region_tags, [region.region]);
      assert.deepEqual(event.transaction.seen, {});
      assert.equal(running.capture.counts.transactions, 1);
      assert.equal(running.capture.counts.rows, 2);
      await waitFor(() => running.capture.retainedBytes !== null, { what: 'the retained WAL is known' });
    });

    test('heartbeats keep the slot of an idle database moving', async () => {
      await using region = await CapturedRegion.make(server);
      await using running = await region.capture({ members: () => ['eu', 'us'] });
      await waitFor(() => running.capture.counts.heartbeats > 2, { what: 'heartbeats' });
      const { heartbeats, transactions } = await region.settled();
      assert.equal(transactions.length, 0);
      assert.deepEqual(heartbeats[0]?.heartbeat.members, ['eu', 'us']);
      const stamps = heartbeats.map(({ heartbeat }) => heartbeat.hlc);
      assert.deepEqual(
        stamps,
        [...stamps].sort((a, b) => (a < b ? -1 : 1)),
      );
      const confirmed = await region.slotColumn('confirmed_flush_lsn');
      await waitFor(async () => (await region.slotColumn('confirmed_flush_lsn')) !== confirmed, {
        what: 'the confirmed position moves',
      });
    });

    test('subtransactions: what was rolled back to a savepoint never happened', async () => {
      await using region = await CapturedRegion.make(server);
      await region.sql.query('create table public.t (id int primary key, note text)');
      await using _ = await region.capture();
      await region.sql.query(`
        begin;
        insert into public.t values (1, 'a');
        savepoint a;
        insert into public.t values (2, 'gone');
        rollback to a;
        savepoint b;
        update public.t set note = 'b';
        release b;
        commit`);
      assert.deepEqual((await region.events(0)).map(brief), [
        ['INSERT', 't', { id: '1' }, null, { id: '1', note: 'a' }],
        ['UPDATE', 't', { id: '1' }, { id: '1', note: 'a' }, { id: '1', note: 'b' }],
      ]);
    });

    test('an unchanged TOAST value is filled in; with key identity it is left out', async () => {
      await using region = await CapturedRegion.make(server);
      await region.sql.query('create table public.t (id int primary key, n int, big text)');
      await region.sql.query('alter table public.t alter column big set storage external');
      await region.sql.query("insert into public.t values (1, 1, repeat('x', 20000))");
      {
        await using _ = await region.capture();
        await region.sql.query('update public.t set n = 2');
        const [event] = await region.events(0);
        assert.equal(event?.after_image?.big?.length, 20_000);
        assert.equal(event?.before_image?.n, '1');
      }
      await region.sql.query('alter table public.t replica identity default');
      const publication = { name: region.slot, include: ['*.*'], exclude: [], identity: 'key' } as const;
      await using _ = await region.capture({ publication });
      await region.sql.query('update public.t set n = 3');
      assert.deepEqual((await region.events(1)).map(brief), [['UPDATE', 't', { id: '1' }, null, { id: '1', n: '3' }]]);
      await region.sql.query('update public.t set id = 2');
      assert.deepEqual((await region.events(2)).map(brief), [
        ['UPDATE', 't', { id: '2' }, { id: '1' }, { id: '2', n: '3' }],
      ]);
    });

    test('a key change names both rows; TRUNCATE names tables', async () => {
      await using region = await CapturedRegion.make(server);
      await region.sql.query('create table public.a (x text, y int, note text, primary key (y, x))');
      await region.sql.query('create table public.b (id int primary key)');
      await using _ = await region.capture();
      await region.sql.query("insert into public.a values ('k', 1, null)");
      await region.sql.query('update public.a set y = 2');
      await region.sql.query('truncate public.a, public.b');
      const [, moved, emptied] = await region.transactions(3);
      assert.deepEqual(moved?.events.map(brief), [
        ['UPDATE', 'a', { y: '2', x: 'k' }, { x: 'k', y: '1', note: null }, { x: 'k', y: '2', note: null }],
      ]);
      assert.equal(Object.keys(moved?.events[0]?.row_pk ?? {}).join(), 'y,x');
      assert.deepEqual(emptied?.events.map(brief), [
        ['TRUNCATE', 'a', {}, null, null],
        ['TRUNCATE', 'b', {}, null, null],
      ]);
    });

    test('a prepared transaction arrives with its COMMIT PREPARED', async () => {
      await using region = await CapturedRegion.make(server);
      await region.sql.query('create table public.t (id int primary key)');
      await using _ = await region.capture();
      const gid = region.database;
      for (const sql of ['begin', 'insert into public.t values (1)', `prepare transaction '${gid}'`]) {
        await region.sql.query(sql);
      }
      await region.sql.query('insert into public.t values (2)');
      await region.transactions(1);
      await region.sql.query(`commit prepared '${gid}'`);
      const [first, second] = await region.transactions(2);
      assert.deepEqual(
        [first, second].map((each) => each?.events[0]?.row_pk.id),
        ['2', '1'],
      );
      assert.ok((first?.position ?? '') < (second?.position ?? ''));
    });

    test('partitions publish through their root, also those that are made meanwhile', async () => {
      await using region = await CapturedRegion.make(server);
      const { sql } = region;
      await sql.query('create table public.p (id int, at text, big text, primary key (id, at)) partition by list (at)');
      await sql.query("create table public.p_a partition of public.p for values in ('a')");
      await using running = await region.capture();
      await sql.query("create table public.p_b partition of public.p for values in ('b')");
      await sql.query('alter table public.p_b alter column big set storage external');
      await sql.query("insert into public.p values (1, 'a', 'x'), (2, 'b', repeat('x', 20000))");
      await sql.query("update public.p set at = 'b' where id = 1");
      await waitFor(
        async () => (await sql.query("select from pg_class where relname = 'p_b' and relreplident = 'f'")).rowCount,
        { what: 'the new partition has full identity' },
      );
      await sql.query('update public.p set id = 3 where id = 2');
      const [inserted, moved, last] = await region.transactions(3);
      assert.deepEqual(
        inserted?.events.map(({ table_name, row_pk }) => [table_name, row_pk]),
        [
          ['p', { id: '1', at: 'a' }],
          ['p', { id: '2', at: 'b' }],
        ],
      );
      assert.deepEqual(moved?.events.map(brief), [
        ['DELETE', 'p', { id: '1', at: 'a' }, { id: '1', at: 'a', big: 'x' }, null],
        ['INSERT', 'p', { id: '1', at: 'b' }, null, { id: '1', at: 'b', big: 'x' }],
      ]);
      assert.equal(last?.events[0]?.after_image?.big?.length, 20_000);
      assert.equal(last?.events[0]?.before_image?.id, '2');
      assert.equal(running.capture.state.kind, 'streaming');
    });

    test('the partitions of a table are those at any depth, and no heirs', async () => {
      await using region = await CapturedRegion.make(server);
      await region.sql.query(`
        create table public.root (id int) partition by range (id);
        create table public.branch partition of public.root for values from (1) to (5) partition by range (id);
        create table public.leaf partition of public.branch for values from (1) to (2);
        create table public.plain (id int);
        create table public.heir () inherits (public.plain)`);
      const below = async (name: string): Promise<unknown[]> => {
        const sql = `select relname from pg_class where oid in (${partitionsSql(`'${name}'::regclass`)}) order by 1`;
        return (await region.sql.queryArrays(sql)).rows.flat();
      };
      assert.deepEqual(await below('public.root'), ['branch', 'leaf', 'root']);
      assert.deepEqual(await below('public.leaf'), ['leaf']);
      assert.deepEqual(await below('public.plain'), ['plain']);
    });

    test('a partition that a user has to himself holds up neither a start nor rows of the others', async () => {
      await using region = await CapturedRegion.make(server);
      const { sql } = region;
      await sql.query('create table public.p (id int primary key) partition by range (id)');
      await sql.query('create table public.p1 partition of public.p for values from (1) to (2)');
      await sql.query('create table public.p2 partition of public.p for values from (2) to (3)');
      await using user = await connect(region.url, { applicationName: 'user' });
      const lock = 'begin; lock table public.p2 in access exclusive mode';
      {
        await using _running = await region.capture();
        await user.query(lock);
        await sql.query('insert into public.p1 values (1)');
        await region.transactions(1);
        await user.query('rollback');
      }
      await user.query(lock);
      await using _running = await region.capture();
      await sql.query('delete from public.p1');
      await region.transactions(2);
      await user.query('rollback');
    });

    test('what apply wrote here is dropped, and what another tool applied is ours', async () => {
      await using region = await CapturedRegion.make(server);
      const { sql } = region;
      await sql.query('create table public.t (id int primary key)');
      const { rows } = await sql.query('select oid from pg_database where datname = current_database()');
      const own = `syncline_${rows[0]?.oid}_us`;
      const foreign = `other_${region.database}`;
      await sql.query('select pg_replication_origin_create($1)', [own]);
      const under = async (origin: string, id: number): Promise<void> => {
        const session = await connect(region.url, { applicationName: 'test' });
        await session.query('select pg_replication_origin_session_setup($1)', [origin]);
        await session.query(`insert into public.t values (${id})`);
        await session.end();
      };
      await using _ = await region.capture();
      await under(own, 1);
      await sql.query('insert into public.t values (2)');
      await region.transactions(1);
      // Another tool may use its origin as soon as it has made it.
      await sql.query('select pg_replication_origin_create($1)', [foreign]);
      await under(foreign, 3);
      await under(own, 4);
      await sql.query('insert into public.t values (5)');
      const found = await region.transactions(3);
      assert.deepEqual(
        found.map(({ events }) => events[0]?.row_pk.id),
        ['2', '3', '5'],
      );
      await sql.query('select pg_replication_origin_drop($1)', [own]);
      await sql.query('select pg_replication_origin_drop($1)', [foreign]);
    });

    test('needs no superuser: a role with REPLICATION that owns its tables', async () => {
      await using region = await CapturedRegion.make(server);
      const { sql, database } = region;
      const role = { user: `role_${database}`, password: 'secret' };
      await sql.query(`create role ${role.user} login replication password '${role.password}'`);
      await sql.query(`grant create on database ${database} to ${role.user}`);
      await sql.query(`grant usage on schema syncline to ${role.user}`);
      await sql.query(`grant all on all tables in schema syncline to ${role.user}`);
      await sql.query(`create table public.t (id int primary key); alter table public.t owner to ${role.user}`);
      const url = server.url(database, role);
      await (await region.capture({ url, lease: await Lease.acquire(region.leaseOptions({ url })) }))[
        Symbol.asyncDispose
      ]();
      await using running = await region.capture({ url, lease: await Lease.acquire(region.leaseOptions({ url })) });
      await sql.query('insert into public.t values (1)');
      assert.equal((await region.events(0)).length, 1);
      assert.equal(running.capture.state.kind, 'streaming');
    });

    test('names and values of any kind pass as they are', async () => {
      await using region = await CapturedRegion.make(server);
      const { sql } = region;
      await sql.query('create schema "Sch ☀"');
      await sql.query('create table "Sch ☀"."Select" ("Id" numeric primary key, "__proto__" text, "a""b" text)');
      await using _ = await region.capture();
      await sql.query(`insert into "Sch ☀"."Select" values ('1.00', 'p', '')`);
      const [event] = await region.events(0);
      assert.equal(event?.schema_name, 'Sch ☀');
      assert.equal(JSON.stringify(event?.after_image), '{"Id":"1.00","__proto__":"p","a\\"b":""}');
      assert.deepEqual(event?.row_pk, { Id: '1.00' });
    });
  });
}
