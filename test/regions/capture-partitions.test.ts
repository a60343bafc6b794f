// Partitions in the publication on real servers: rows that a partition brings along, and what keeps it from being looked at.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import {
  ensurePublication,
  type PublicationReport,
  reconcilePublication,
} from '../../src/capture/tables/publication.ts';
import type { PublicationSpec } from '../../src/capture/tables/publication-plan.ts';
import { connect } from '../../src/platform/postgres.ts';
import { CapturedRegion } from '../support/captured-region.ts';
import { CONTRACT_MAJORS } from '../support/postgres-majors.ts';
import { PostgresServer } from '../support/postgres-server.ts';

const SPEC: PublicationSpec = { name: 'syncline_eu', include: ['public.*'], exclude: [], identity: 'full' };
const FIRST = { mayCreate: true };

for (const version of CONTRACT_MAJORS) {
  describe(`partitions in the publication on PostgreSQL ${version}`, () => {
    let server: PostgresServer;
    before(async () => {
      server = await PostgresServer.start({ version });
    });
    after(async () => {
      await server[Symbol.asyncDispose]();
    });

    test('a partition that comes with rows is told, also where that was while nobody looked', async () => {
      await using region = await CapturedRegion.make(server);
      const { sql } = region;
      const partition = async (from: number): Promise<void> => {
        await sql.query(`create table public.r${from} (like public.r including all)`);
      };
      const attach = async (from: number): Promise<void> => {
        await sql.query(
          `alter table public.r attach partition public.r${from} for values from (${from}) to (${from + 10})`,
        );
      };
      await sql.query('create table public.r (id int primary key, v text) partition by range (id)');
      await sql.query('create table public.r0 partition of public.r for values from (0) to (10)');
      await sql.query("insert into public.r values (1, 'baseline')");
      const details = async (last?: PublicationReport): Promise<[PublicationReport, string[]]> => {
        const report =
          last === undefined ? await ensurePublication(sql, SPEC, FIRST) : await reconcilePublication(sql, SPEC, last);
        return [report, report.problems.map(({ code, detail }) => `${code} ${detail}`)];
      };
      let [last, told] = await details();
      assert.deepEqual(told, []);

      await partition(10);
      await attach(10);
      await sql.query("insert into public.r values (11, 'through the root')");
      [last, told] = await details(last);
      assert.deepEqual(told, []);

      await partition(20);
      await sql.query("insert into public.r20 values (21, 'unheard')");
      await attach(20);
      await sql.query('begin');
      await partition(30);
      await sql.query("insert into public.r30 values (31, 'unheard')");
      await attach(30);
      await sql.query('commit');
      const unheard = [20, 30].map(
        (from) =>
          `SYN-K011 public.r${from} held rows when it became a partition of public.r; they are not in the stream`,
      );
      [last, told] = await details(last);
      assert.deepEqual(told, unheard);
      [last, told] = await details(last);
      assert.deepEqual(told, unheard, 'it stays a problem, and is not found twice');

      await sql.query(`begin;
        create table public.r60 partition of public.r for values from (60) to (70);
        insert into public.r values (61, 'through the root');
        commit`);
      [last, told] = await details(last);
      assert.deepEqual(told, unheard, 'what is written after it became one is in the stream');

      await using user = await connect(region.url, { applicationName: 'user' });
      await partition(70);
      await sql.query("insert into public.r70 values (71, 'unheard')");
      await attach(70);
      await user.query('begin; lock table public.r70 in access exclusive mode');
      [last, told] = await details(last);
      assert.deepEqual([told, last.waiting], [unheard, [{ schema: 'public', table: 'r70' }]]);
      await user.query('rollback');
      [last, told] = await details(last);
      assert.match(told.at(-1) ?? '', /r70 held rows/);

      // Nobody looks meanwhile; and a partition of a partition.
      await sql.query('create table public.r40 (like public.r including all) partition by range (id)');
      await sql.query('create table public.r45 partition of public.r40 for values from (40) to (50)');
      await sql.query("insert into public.r45 values (45, 'unheard')");
      await attach(40);
      for (const expected of [['r45'], []]) {
        const { problems } = await ensurePublication(sql, SPEC, { mayCreate: false });
        assert.deepEqual(
          problems.map(({ table }) => table),
          expected,
        );
      }
    });

    test('a table of which a partition has constraints of its own is left out and told, and comes in without them', async () => {
      await using region = await CapturedRegion.make(server);
      const { sql } = region;
      const kinds = ['plain', 'unique_index', 'unique_key', 'exclusion', 'deferrable', 'attached'];
      for (const name of kinds) {
        await sql.query(`
          create table public.${name} (id int primary key, u int, r int4range) partition by range (id);
          create table public.${name}_0 partition of public.${name} for values from (0) to (10) partition by range (id);
          create table public.${name}_00 partition of public.${name}_0 for values from (0) to (5)`);
      }
      await sql.query(`
        create unique index on public.unique_index_00 (u);
        alter table public.unique_key_0 add unique (id, u);
        alter table public.exclusion_00 add exclude using gist (r with &&);
        alter table public.deferrable_00 add unique (u) deferrable;
        create table public.attached_5 (id int primary key deferrable, u int, r int4range);
        alter table public.attached_0 attach partition public.attached_5 for values from (5) to (10);`);
      // A user who has a partition to himself holds nobody up who looks at its constraints.
      await using user = await connect(region.url, { applicationName: 'user' });
      await user.query('begin; lock table public.unique_index_00 in access exclusive mode');
      let report = await ensurePublication(sql, SPEC, FIRST);
      await user.query('rollback');
      const told = (): string[] => report.problems.map(({ code, table }) => `${code} ${table}`).sort();
      const left = kinds.slice(1).map((name) => `SYN-P058 ${name}`);
      assert.deepEqual([report.tables.map(({ table }) => table), told()], [['plain'], left.toSorted()]);
      assert.match(
        report.problems.find(({ table }) => table === 'unique_index')?.detail ?? '',
        /^public\.unique_index has the partition public\.unique_index_00, .* unique_index_00_u_idx$/,
      );

      await sql.query(`
        drop index public.unique_index_00_u_idx;
        alter table public.unique_key_0 drop constraint unique_key_0_id_u_key;
        alter table public.exclusion_00 drop constraint exclusion_00_r_excl;
        alter table public.deferrable_00 drop constraint deferrable_00_u_key;
        drop table public.attached_5`);
      report = await reconcilePublication(sql, SPEC, report);
      assert.deepEqual(report.added.map(({ table }) => table).sort(), kinds.slice(1).sort());
      assert.deepEqual(told(), []);
    });

    test('constraints that partitions get while their tables are published are told, as deferrable ones of tables are', async () => {
      await using region = await CapturedRegion.make(server);
      const { sql } = region;
      for (const name of ['built', 'failed', 'exclusion', 'deferrable']) {
        await sql.query(`
          create table public.${name} (id int primary key, u int) partition by range (id);
          create table public.${name}_0 partition of public.${name} for values from (0) to (10)`);
      }
      await sql.query('create table public.alone (id int primary key, u int)');
      let report = await ensurePublication(sql, SPEC, FIRST);
      report = await reconcilePublication(sql, SPEC, report);
      assert.deepEqual([report.members.size, report.problems], [5, []]);
      const changes = [
        ['SYN-P058 built', 'create unique index on public.built_0 (u)', 'drop index public.built_0_u_idx'],
        [
          'SYN-P058 exclusion',
          'alter table public.exclusion_0 add exclude (u with =)',
          'alter table public.exclusion_0 drop constraint exclusion_0_u_excl',
        ],
        [
          'SYN-P058 deferrable',
          'alter table public.deferrable_0 add unique (u) deferrable',
          'alter table public.deferrable_0 drop constraint deferrable_0_u_key',
        ],
        [
          'SYN-P013 alone',
          'alter table public.alone add unique (u) deferrable',
          'alter table public.alone drop constraint alone_u_key',
        ],
      ];
      for (const [told = '', change = '', back = ''] of changes) {
        await sql.query(change);
        report = await reconcilePublication(sql, SPEC, report);
        assert.deepEqual(
          [report.members.size, ...report.problems.map(({ code, table }) => `${code} ${table}`)],
          [5, told],
        );
        await sql.query(back);
        report = await reconcilePublication(sql, SPEC, report);
        assert.deepEqual([report.members.size, report.problems], [5, []]);
      }
      // An index that could not be built to its end is there, and refuses rows.
      await sql.query('insert into public.failed values (1, 1), (2, 1)');
      await assert.rejects(sql.query('create unique index concurrently on public.failed_0 (u)'));
      report = await reconcilePublication(sql, SPEC, report);
      assert.deepEqual(
        report.problems.map(({ code, table }) => [code, table]),
        [['SYN-P058', 'failed']],
      );
    });

    test('a partition that the role may not read is told, and stops nothing', async () => {
      await using region = await CapturedRegion.make(server);
      const { sql } = region;
      await sql.query(`
        create table public.r (id int primary key) partition by range (id);
        create table public.r0 partition of public.r for values from (0) to (10)`);
      let report = await ensurePublication(sql, SPEC, FIRST);
      await sql.query(`
        create role other_${region.database} nologin;
        create table public.r10 partition of public.r for values from (10) to (20);
        alter table public.r10 owner to other_${region.database};
        create role agent_${region.database} nologin;
        grant usage on schema syncline to agent_${region.database};
        grant all on all tables in schema syncline to agent_${region.database};
        set role agent_${region.database}`);
      report = await reconcilePublication(sql, SPEC, report);
      assert.ok(report.problems.some(({ code, table }) => code === 'SYN-P011' && table === 'r10'));
      await sql.query('reset role');
    });
  });
}
