// Statements whose trace in the WAL is easily misread: TRUNCATE, COPY, MERGE, cascades and triggers.

import { DEFAULT_MAJOR } from '../support/postgres-majors.ts';
import { traps } from '../support/traps.ts';

const OPTIONS = { tables: "{ include: ['public.*'], exclude: ['public.local_*'] }" };

/** MERGE, where there is one: since 15. */
const MERGED =
  DEFAULT_MAJOR >= 15
    ? `merge into loaded t using (values (4, 'merged'), (5, null), (2002, 'merged')) s (id, v) on t.id = s.id
         when matched and s.v is null then delete
         when matched then update set v = s.v, n = t.n + 10
         when not matched then insert values (s.id, s.v, 20)`
    : `delete from loaded where id = 5; update loaded set v = 'merged', n = n + 10 where id = 4;
         insert into loaded values (2002, 'merged', 20)`;

traps('statements', OPTIONS, (trap) => {
  trap(
    'TRUNCATE of one table, of several, of all that refer to it, with its sequence, and before new rows',
    `create table emptied (id int primary key); create table emptied_too (id int primary key);
     create table parent (id int primary key);
     create table child (id int generated always as identity primary key, parent_id int references parent)`,
    async (world) => {
      const { eu, us, ap } = world;
      await eu.sql(`insert into emptied select generate_series(1, 100); insert into emptied_too values (1);
        insert into parent values (1), (2); insert into child (parent_id) values (1), (2)`);
      await world.settle();
      await us.sql('truncate emptied, emptied_too');
      await ap.sql('truncate parent restart identity cascade');
      await world.everywhere(
        `select (select count(*) from emptied), (select count(*) from emptied_too), (select count(*) from parent),
           (select count(*) from child)`,
        [['0', '0', '0', '0']],
      );
      await ap.sql('insert into parent values (7); insert into child (parent_id) values (7)');
      await eu.sql(
        'begin; insert into emptied values (1); truncate emptied; insert into emptied values (2), (3); commit',
      );
      await us.sql('begin; insert into emptied_too values (5); truncate emptied_too; rollback');
      await world.everywhere('select * from child', [['1', '7']]);
      await world.everywhere('select * from emptied order by id', [['2'], ['3']]);
      await world.everywhere('select * from emptied_too', []);
    },
  );

  for (const order of ['first', 'last'] as const) {
    trap(
      `TRUNCATE against what other regions insert and update at the same time, arriving ${order}`,
      `create table swept_${order} (id int primary key, v text)`,
      async (world) => {
        const { eu, us, ap } = world;
        const table = `swept_${order}`;
        await eu.sql(`insert into ${table} values (1, 'old'), (2, 'old'), (3, 'old')`);
        await world.apart(async () => {
          await eu.sql(`insert into ${table} values (4, 'before')`);
          await eu.sql(`update ${table} set v = 'before' where id = 1`);
          await us.sql(`truncate ${table}`);
          await us.sql(`insert into ${table} values (5, 'behind')`);
          await eu.sql(`insert into ${table} values (6, 'after')`);
          await eu.sql(`update ${table} set v = 'after' where id = 2`);
          await eu.sql(`delete from ${table} where id = 3`);
        });
        await world.arriveInOrder(ap, order === 'first' ? [us, eu] : [eu, us]);
        await world.everywhere(`select * from ${table} order by id`, [
          ['2', 'after'],
          ['5', 'behind'],
          ['6', 'after'],
        ]);
      },
    );
  }

  trap(
    'COPY, INSERT … ON CONFLICT and MERGE',
    'create table loaded (id int primary key, v text, n int default 0)',
    async (world) => {
      const { eu, us, ap } = world;
      await eu.sql("copy loaded (id, v) from program 'seq 1 1000 | sed ''s/$/\\tcopied/'''");
      await world.everywhere("select count(*), sum(id) from loaded where v = 'copied' and n = 0", [['1000', '500500']]);
      await us.sql(`insert into loaded values (1, 'inserted'), (2, 'inserted'), (2000, 'inserted')
        on conflict (id) do update set v = 'upserted', n = loaded.n + 1`);
      await us.sql("insert into loaded values (3, 'never'), (2001, 'inserted') on conflict do nothing");
      await ap.sql(MERGED);
      await world.everywhere("select * from loaded where v <> 'copied' or id in (3, 5) order by id", [
        ['1', 'upserted', '1'],
        ['2', 'upserted', '1'],
        ['3', 'copied', '0'],
        ['4', 'merged', '10'],
        ['2000', 'inserted', '0'],
        ['2001', 'inserted', '0'],
        ['2002', 'merged', '20'],
      ]);
    },
  );

  trap(
    'cascades of foreign keys happen where the user wrote, and travel as rows',
    `create table owner (id int primary key);
     create table owned (id int primary key, owner_id int references owner on delete cascade on update cascade);
     create table lent (id int primary key, owner_id int default 9 references owner on delete set null)`,
    async (world) => {
      const { eu, us, ap } = world;
      await eu.sql(`insert into owner values (1), (2), (3); insert into owned values (1, 1), (2, 2), (3, 3);
        insert into lent values (1, 1), (2, 2), (3, 3)`);
      await world.settle();
      await us.sql('delete from owner where id = 1');
      await ap.sql('delete from lent where id = 2');
      await ap.sql('update owner set id = 20 where id = 2');
      await world.everywhere('select * from owner order by id', [['3'], ['20']]);
      await world.everywhere('select * from owned order by id', [
        ['2', '20'],
        ['3', '3'],
      ]);
      await world.everywhere('select * from lent order by id', [
        ['1', null],
        ['3', '3'],
      ]);
      // A parent deleted here while a child is inserted there: the same orphan everywhere.
      await world.apart(async () => {
        await eu.sql('delete from owner where id = 3');
        await us.sql('insert into owned values (4, 3)');
      });
      await world.resumeAll();
      await world.everywhere('select * from owned order by id', [
        ['2', '20'],
        ['4', '3'],
      ]);
      await world.everywhere('select * from owner', [['20']]);
    },
  );

  trap(
    "a user's triggers fire where the user wrote, and those that are always enabled everywhere",
    `create table watched (id int primary key, v text);
     create table audit (id text primary key, v text);
     create table local_echo (region text default current_setting('application_name'), id int, v text);
     create function upper_v() returns trigger language plpgsql as
       $$ begin new.v := upper(new.v) || '!'; return new; end $$;
     create function to_audit() returns trigger language plpgsql as
       $$ begin insert into public.audit values (new.id || ' ' || new.v, tg_op); return null; end $$;
     create function to_local() returns trigger language plpgsql security definer as
       $$ begin insert into public.local_echo (id, v) values (new.id, new.v); return null; end $$;
     create trigger upper_v before insert or update on watched for each row execute function upper_v();
     create trigger to_audit after insert or update on watched for each row execute function to_audit();
     create trigger to_local after insert on watched for each row execute function to_local();
     alter table watched enable always trigger to_local`,
    async (world) => {
      const { eu, us } = world;
      await eu.sql("insert into watched values (1, 'a')");
      await world.settle();
      await us.sql('update watched set v = v where id = 1');
      await world.everywhere('select * from watched', [['1', 'A!!']]);
      await world.everywhere('select * from audit order by id', [
        ['1 A!', 'INSERT'],
        ['1 A!!', 'UPDATE'],
      ]);
      await world.everywhere('select id, v from local_echo', [['1', 'A!']]);
    },
  );
});
