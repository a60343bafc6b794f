// What a transaction is, elsewhere: all of it or nothing, in the order of its origin, without what it rolled back.

import assert from 'node:assert/strict';
import type { ClusterRegion } from '../support/cluster.ts';
import { traps } from '../support/traps.ts';

traps('transactions', { settings: { max_prepared_transactions: '10' } }, (trap) => {
  trap(
    'savepoints that are rolled back or released, and blocks that catch exceptions',
    'create table nested (id int primary key, v text)',
    async (world) => {
      const { eu, us } = world;
      await eu.sql(`begin; insert into nested values (1, 'outer'); savepoint a; insert into nested values (2, 'gone');
        update nested set v = 'gone' where id = 1; rollback to a; insert into nested values (3, 'outer'); savepoint b;
        update nested set v = 'inner' where id = 1; release b; savepoint c; delete from nested; rollback to c; commit`);
      await us.sql(`do $$ begin
        insert into nested values (10, 'outer');
        begin
          insert into nested values (11, 'gone'); insert into nested values (10, 'gone');
        exception when unique_violation then
          insert into nested values (12, 'caught');
        end;
        -- More subtransactions than a session keeps in shared memory.
        for i in 100..199 loop
          begin
            insert into nested values (i, 'loop');
            if i % 2 = 1 then raise exception 'odd'; end if;
          exception when raise_exception then null;
          end;
        end loop;
      end $$`);
      await eu.sql('begin; insert into nested values (4, null); rollback');
      await world.everywhere("select * from nested where v <> 'loop' order by id", [
        ['1', 'inner'],
        ['3', 'outer'],
        ['10', 'outer'],
        ['12', 'caught'],
      ]);
      await world.everywhere("select count(*), sum(id) from nested where v = 'loop'", [['50', '7450']]);
    },
  );

  trap(
    'a row written under a savepoint is as new as its transaction',
    'create table under_savepoint (id int primary key, v text)',
    async (world) => {
      const { eu, us } = world;
      await eu.sql("insert into under_savepoint values (1, 'old'), (2, 'old')");
      const update = (id: number, v: string): string =>
        `begin; savepoint a; update under_savepoint set v = '${v}' where id = ${id}; release a; savepoint b; commit`;
      await world.apart(async () => {
        await eu.sql(update(1, 'eu'));
        await us.sql("update under_savepoint set v = 'us' where id = 1");
        await us.sql("update under_savepoint set v = 'us' where id = 2");
        await eu.sql(update(2, 'eu'));
      });
      await world.resumeAll();
      await world.everywhere('select * from under_savepoint order by id', [
        ['1', 'us'],
        ['2', 'eu'],
      ]);
    },
  );

  trap(
    'a prepared transaction is published when it is committed, and holds up only those who need its rows',
    'create table prepared (id int primary key, v text); create table beside (id int primary key)',
    async (world) => {
      const { eu, us, ap } = world;
      await eu.sql("insert into prepared values (1, 'old'), (2, 'old'), (3, 'old')");
      await world.settle();
      await eu.sql(
        "begin; update prepared set v = 'prepared' where id in (1, 2); insert into prepared values (4, 'new'); prepare transaction 'kept'",
      );
      await eu.sql("begin; insert into prepared values (5, 'gone'); prepare transaction 'given up'");
      // It is not heard of elsewhere, and what is committed later passes it.
      await eu.sql("update prepared set v = 'meanwhile' where id = 3");
      await world.everywhere('select * from prepared order by id', [
        ['1', 'old'],
        ['2', 'old'],
        ['3', 'meanwhile'],
      ]);
      // Another region writes a row that it has locked: that waits, and the third region's events do not.
      await world.pause('us:ap');
      await us.sql("update prepared set v = 'us' where id = 2");
      await ap.sql('insert into beside values (1)');
      await world.arrived(ap, eu);
      assert.equal(await eu.one('select count(*) from beside'), '1');
      assert.equal(await eu.one('select v from prepared where id = 2'), 'old');
      await world.resume('us:ap');
      await eu.sql("rollback prepared 'given up'");
      await eu.sql("commit prepared 'kept'");
      await world.everywhere('select * from prepared order by id', [
        ['1', 'prepared'],
        ['2', 'prepared'],
        ['3', 'meanwhile'],
        ['4', 'new'],
      ]);
    },
  );

  trap(
    'a transaction on five tables is seen whole or not at all',
    [1, 2, 3, 4, 5].map((n) => `create table whole_${n} (id int primary key, v int)`).join('; '),
    async (world) => {
      const { eu, us, ap } = world;
      const sums = [1, 2, 3, 4, 5].map((n) => `(select coalesce(sum(v), 0) from whole_${n})`).join(', ');
      const torn: (string | null)[][] = [];
      const watch = async (region: ClusterRegion): Promise<number> => {
        const seen = new Set<string | null>();
        while (!seen.has('60')) {
          const [row = []] = await region.sql(`select ${sums}`);
          if (new Set(row).size > 1) torn.push(row);
          seen.add(row[0] ?? null);
        }
        return seen.size;
      };
      const write = async (): Promise<void> => {
        const session = await eu.session();
        for (let round = 1; round <= 60; round += 1) {
          const statements = [1, 2, 3, 4, 5].map(
            (n) =>
              `insert into whole_${n} values (${round % 7}, 1) on conflict (id) do update set v = whole_${n}.v + 1`,
          );
          await session.query(`begin; ${statements.join('; ')}; commit`);
        }
        await session.end();
      };
      const [steps] = await Promise.all([watch(us), watch(ap), write()]);
      assert.deepEqual(torn, [], 'no transaction is seen in part');
      assert.ok(steps > 1, 'the watcher saw the rows come');
      await world.everywhere(`select ${sums}`, [['60', '60', '60', '60', '60']]);
    },
  );

  trap(
    "an origin's transactions are seen in their order, whatever they do to which rows",
    'create table ordered (id int primary key, n int); create table ordered_last (id int primary key, n int)',
    async (world) => {
      const { eu, us, ap } = world;
      await eu.sql('insert into ordered_last values (1, 0)');
      await world.settle();
      const broken: string[] = [];
      const rounds = 150;
      const watch = async (region: ClusterRegion): Promise<void> => {
        for (let last = 0; last < rounds; ) {
          const [row = []] = await region.sql(
            'select n, (select count(*) from ordered), (select max(n) from ordered) from ordered_last',
          );
          const [n, count, highest] = row.map(Number);
          // Round n inserts its own row; every third is deleted by the next round.
          const expected = (n ?? 0) - Math.floor(Math.max(0, (n ?? 0) - 1) / 3);
          if (count !== expected || highest !== n || (n ?? 0) < last) broken.push(row.join(' '));
          last = n ?? 0;
        }
      };
      const write = async (): Promise<void> => {
        const session = await eu.session();
        for (let n = 1; n <= rounds; n += 1) {
          const gone = n > 1 && (n - 1) % 3 === 0 ? `delete from ordered where n = ${n - 1};` : '';
          await session.query(
            `begin; insert into ordered values (${rounds - n}, ${n}); ${gone} update ordered_last set n = ${n}; commit`,
          );
        }
        await session.end();
      };
      await Promise.all([watch(us), watch(ap), write()]);
      assert.deepEqual(broken, []);
      await world.everywhere('select count(*), max(n) from ordered', [['101', '150']]);
    },
  );

  trap(
    'a hundred thousand rows in one statement, and all of them again in the next',
    'create table bulk (id int primary key, v text, n int)',
    async (world) => {
      const { eu } = world;
      await eu.sql("insert into bulk select id, 'row ' || id, 0 from generate_series(1, 100000) id");
      await eu.sql('update bulk set n = n + id');
      await world.everywhere('select count(*), sum(n), md5(string_agg(v, null order by id)) from bulk', [
        [
          '100000',
          '5000050000',
          await eu.one("select md5(string_agg('row ' || id, null order by id)) from generate_series(1, 100000) id"),
        ],
      ]);
    },
  );
});
