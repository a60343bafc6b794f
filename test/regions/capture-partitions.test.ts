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
