// What happens to single rows when several regions write them: large values that an update leaves alone, events that
// arrive before what they build on, deletes against updates, rows that come back, keys that change.

import assert from 'node:assert/strict';
import { traps } from '../support/traps.ts';

/** A value that does not fit into its row, and is not compressed. */
const large = (seed: string): string => `(select string_agg(md5('${seed}' || g), '') from generate_series(1, 3000) g)`;

traps('rows that several regions write', {}, (trap) => {
  trap(
    'a large value that an update does not touch travels with it to two other regions',
    `create table documents (id int primary key, big text, small int);
     alter table documents alter column big set storage external`,
    async (world) => {
      const { eu, us, ap } = world;
      const first = await eu.one(`select md5(${large('first')})`);
      const second = await eu.one(`select md5(${large('second')})`);
      await eu.sql(`insert into documents select id, ${large('first')}, 1 from generate_series(1, 4) id`);
      await world.everywhere('select count(*), min(md5(big)) from documents', [['4', first]]);
      // In turn.
      await us.sql('update documents set small = 2 where id = 1');
      await world.settle();
      await ap.sql(`update documents set big = ${large('second')} where id = 1`);
      await world.settle();
      await eu.sql('update documents set small = 3 where id = 1');
      // At once: the later write takes the whole row, the large value that it saw included.
      await world.apart(async () => {
        await eu.sql(`update documents set big = ${large('second')} where id = 2`);
        await us.sql('update documents set small = 9 where id = 2');
        await us.sql('update documents set small = 9 where id = 3');
        await ap.sql(`update documents set big = ${large('second')} where id = 3`);
        await ap.sql('update documents set id = 40 where id = 4');
      });
      await world.resumeAll();
      await world.everywhere('select id, md5(big), length(big), small from documents order by id', [
        ['1', second, '96000', '3'],
        ['2', first, '96000', '9'],
        ['3', second, '96000', '1'],
        ['40', first, '96000', '1'],
      ]);
      const identities = await world.cluster.equal("select relreplident from pg_class where relname = 'documents'");
      assert.deepEqual(identities, [['f']], 'it is the full identity that fills in what an update leaves alone');
    },
  );

  trap(
    'of a batch that takes several statements, each leaves the rows that are newer where it is applied',
    'create table many (id int primary key, v text)',
    async (world) => {
      const { eu, us } = world;
      await eu.sql("insert into many select id, 'first' from generate_series(1, 3000) id");
      await world.settle();
      await world.apart(async () => {
        await eu.sql("update many set v = 'early'");
        await us.sql("update many set v = 'late' where id % 7 = 0");
      });
      await world.resumeAll();
      await world.everywhere('select v, count(*), sum(id) from many group by v order by v', [
        ['early', '2572', String((3000 * 3001) / 2 - (7 * 428 * 429) / 2)],
        ['late', '428', String((7 * 428 * 429) / 2)],
      ]);
    },
  );

  trap(
    'an update and a delete that arrive before the insert they follow',
    'create table early (id int primary key, v text)',
    async (world) => {
      const { eu, us, ap } = world;
      await world.settle();
      await world.pause('eu:ap');
      await eu.sql("insert into early values (1, 'inserted'), (2, 'inserted'), (3, 'inserted')");
      await world.arrived(eu, us);
      await us.sql("update early set v = 'updated' where id = 1");
      await us.sql('delete from early where id = 2');
      await us.sql('update early set id = 30 where id = 3');
      await world.arrived(us, ap);
      const after = [
        ['1', 'updated'],
        ['30', 'inserted'],
      ];
      assert.deepEqual(await ap.sql('select * from early order by id'), after);
      await world.resume('eu:ap');
      await world.everywhere('select * from early order by id', after);
    },
  );

  for (const order of ['as they happened', 'the other way round'] as const) {
    trap(
      `a delete against a concurrent update of another region, arriving ${order}`,
      `create table contested_${order.length} (id int primary key, v text)`,
      async (world) => {
        const { eu, us, ap } = world;
        const table = `contested_${order.length}`;
        await eu.sql(`insert into ${table} select id, 'old' from generate_series(1, 4) id`);
        await world.apart(async () => {
          await eu.sql(`update ${table} set v = 'updated first' where id = 1`);
          await eu.sql(`delete from ${table} where id = 2`);
          await us.sql(`delete from ${table} where id = 1`);
          await us.sql(`update ${table} set v = 'updated last' where id = 2`);
          await us.sql(`delete from ${table} where id = 3`);
          await eu.sql(`delete from ${table} where id = 3`);
        });
        await world.arriveInOrder(ap, order === 'as they happened' ? [eu, us] : [us, eu]);
        await world.everywhere(`select * from ${table} order by id`, [
          ['2', 'updated last'],
          ['4', 'old'],
        ]);
      },
    );

    trap(
      `a row deleted and inserted again against an update of another region, arriving ${order}`,
      `create table returned_${order.length} (id int primary key, v text)`,
      async (world) => {
        const { eu, us, ap } = world;
        const table = `returned_${order.length}`;
        await eu.sql(`insert into ${table} select id, 'old' from generate_series(1, 6) id`);
        await world.apart(async () => {
          await us.sql(`update ${table} set v = 'older update' where id in (1, 2)`);
          await eu.sql(`begin; delete from ${table} where id = 1; insert into ${table} values (1, 'back'); commit`);
          await eu.sql(`delete from ${table} where id in (2, 3)`);
          await us.sql(`update ${table} set v = 'between' where id = 3`);
          await eu.sql(`insert into ${table} values (2, 'back'), (3, 'back')`);
          await eu.sql(`begin; delete from ${table} where id = 4; insert into ${table} values (4, 'back'); commit`);
          await eu.sql(`delete from ${table} where id = 5`);
          await eu.sql(`insert into ${table} values (5, 'back')`);
          await us.sql(`update ${table} set v = 'newer update' where id in (4, 5)`);
          await us.sql(`delete from ${table} where id = 6`);
          await eu.sql(`begin; delete from ${table} where id = 6; insert into ${table} values (6, 'back'); commit`);
        });
        await world.arriveInOrder(ap, order === 'as they happened' ? [us, eu] : [eu, us]);
        await world.everywhere(`select * from ${table} order by id`, [
          ['1', 'back'],
          ['2', 'back'],
          ['3', 'back'],
          ['4', 'newer update'],
          ['5', 'newer update'],
          ['6', 'back'],
        ]);
      },
    );
  }

  trap(
    'a row deleted in one region and inserted again in another',
    'create table moved (id int primary key, v text)',
    async (world) => {
      const { eu, us, ap } = world;
      await eu.sql("insert into moved values (1, 'eu'), (2, 'eu')");
      await world.settle();
      await world.pause('eu:ap');
      await eu.sql('delete from moved');
      await world.arrived(eu, us);
      await us.sql("insert into moved values (1, 'us')");
      await world.arrived(us, ap);
      await world.waitForValue(ap, 'select v from moved where id = 1', 'us');
      await world.resume('eu:ap');
      await world.everywhere('select * from moved', [['1', 'us']]);
      await ap.sql(
        'begin; delete from moved; insert into moved values (1, null), (2, null); delete from moved where id = 1; commit',
      );
      await world.everywhere('select * from moved', [['2', null]]);
    },
  );

  trap(
    'a key that changes: to a new one, onto one that the same transaction deletes, and two that trade places',
    'create table keyed (id int primary key, v text)',
    async (world) => {
      const { eu, us, ap } = world;
      await eu.sql("insert into keyed select id, 'v' || id from generate_series(1, 9) id");
      await world.settle();
      await us.sql('update keyed set id = 10 where id = 1');
      await us.sql('begin; delete from keyed where id = 3; update keyed set id = 3 where id = 2; commit');
      await ap.sql(`begin; update keyed set id = -1 where id = 4; update keyed set id = 4 where id = 5;
        update keyed set id = 5 where id = -1; commit`);
      // Each row moves onto the key of the next, which has just left it.
      await eu.sql(`begin; delete from keyed where id = 9; update keyed set id = 9 where id = 8;
        update keyed set id = 8 where id = 7; update keyed set id = 7 where id = 6; commit`);
      await world.everywhere('select * from keyed order by id', [
        ['3', 'v2'],
        ['4', 'v5'],
        ['5', 'v4'],
        ['7', 'v6'],
        ['8', 'v7'],
        ['9', 'v8'],
        ['10', 'v1'],
      ]);
    },
  );

  trap(
    'a key that changes against a concurrent update of the old one',
    'create table rekeyed (id int primary key, v text)',
    async (world) => {
      const { eu, us, ap } = world;
      await eu.sql("insert into rekeyed select id, 'old' from generate_series(1, 4) id");
      await world.apart(async () => {
        await eu.sql('update rekeyed set id = 10 where id = 1');
        await us.sql("update rekeyed set v = 'later' where id = 1");
        await us.sql("update rekeyed set v = 'earlier' where id = 2");
        await eu.sql('update rekeyed set id = 20 where id = 2');
        await us.sql('update rekeyed set id = 30 where id = 3');
        await ap.sql('update rekeyed set id = 31 where id = 3');
        await eu.sql("insert into rekeyed values (5, 'inserted')");
        await us.sql('update rekeyed set id = 5 where id = 4');
      });
      await world.resumeAll();
      // A change of key is the end of one row and the beginning of another; each key is decided by itself.
      await world.everywhere('select * from rekeyed order by id', [
        ['1', 'later'],
        ['5', 'old'],
        ['10', 'old'],
        ['20', 'old'],
        ['30', 'old'],
        ['31', 'old'],
      ]);
    },
  );

  trap(
    'a row that one transaction writes several times',
    'create table rewritten (id int primary key, v text, n int)',
    async (world) => {
      const { eu, us } = world;
      await eu.sql("insert into rewritten values (1, 'old', 0), (2, 'old', 0)");
      await world.settle();
      await us.sql(`begin;
        update rewritten set v = 'a' where id = 1; update rewritten set n = 1 where id = 1;
        update rewritten set v = null where id = 1;
        delete from rewritten where id = 2; insert into rewritten values (2, 'b', 2); delete from rewritten where id = 2;
        insert into rewritten values (3, 'c', 3); update rewritten set v = 'd' where id = 3;
        insert into rewritten values (4, 'e', 4); delete from rewritten where id = 4;
        insert into rewritten values (4, 'f', 5); update rewritten set n = 6 where id = 4; commit`);
      await world.everywhere('select * from rewritten order by id', [
        ['1', null, '1'],
        ['3', 'd', '3'],
        ['4', 'f', '6'],
      ]);
    },
  );

  trap(
    'unique values that trade places within a transaction, and pass from row to row across transactions',
    'create table unique_values (id int primary key, email text unique, seat int unique)',
    async (world) => {
      const { eu, us, ap } = world;
      await eu.sql("insert into unique_values values (1, 'a', 1), (2, 'b', 2), (3, 'c', 3), (4, 'd', 4), (5, 'e', 5)");
      await world.settle();
      await us.sql(`begin; update unique_values set email = 'parked' where id = 1;
        update unique_values set email = 'a' where id = 2; update unique_values set email = 'b' where id = 1; commit`);
      await world.settle();
      await ap.sql(`begin; update unique_values set seat = null where id = 3; update unique_values set seat = 3 where id = 4;
        update unique_values set seat = 4 where id = 5; update unique_values set seat = 5 where id = 3; commit`);
      await world.settle();
      await eu.sql(
        `begin; delete from unique_values where id = 5; insert into unique_values values (6, 'e', 4); commit`,
      );
      // Several transactions, likely to be applied as one batch: the later row has the lower key.
      await eu.sql('update unique_values set seat = null, email = null where id = 6');
      await eu.sql("update unique_values set seat = 4, email = 'e' where id = 1");
      await eu.sql("update unique_values set seat = 1, email = 'b' where id = 6");
      await world.everywhere('select * from unique_values order by id', [
        ['1', 'e', '4'],
        ['2', 'a', '2'],
        ['3', 'c', '5'],
        ['4', 'd', '3'],
        ['6', 'b', '1'],
      ]);
    },
  );

  trap(
    'an agent that was away publishes old writes late, and they lose against newer ones',
    'create table away (id int primary key, v text)',
    async (world) => {
      const { eu, us } = world;
      await eu.sql("insert into away select id, 'old' from generate_series(1, 4) id");
      for (const [id, held] of [
        [1, 'us:eu'],
        [2, 'eu:us'],
      ] as const) {
        await world.settle();
        await world.pause(held);
        await eu.stopAgent();
        await eu.sql(`update away set v = 'eu, older' where id = ${id}`);
        await us.sql(`update away set v = 'us, newer' where id in (${id})`);
        await us.sql(`update away set v = 'us, older' where id = ${id + 2}`);
        await eu.sql(`update away set v = 'eu, newer' where id = ${id + 2}`);
        eu.startAgent();
        await eu.agentReady();
        await world.arrived(...((held === 'us:eu' ? [eu, us] : [us, eu]) as [typeof eu, typeof us]));
        await world.resume(held);
      }
      await world.everywhere('select * from away order by id', [
        ['1', 'us, newer'],
        ['2', 'us, newer'],
        ['3', 'eu, newer'],
        ['4', 'eu, newer'],
      ]);
    },
  );
});
