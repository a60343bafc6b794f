// Rows that one region cannot take: they are set aside there with the reason, everything else flows on, and they are
// applied once what was in the way is mended.

import assert from 'node:assert/strict';
import type { ClusterRegion } from '../support/cluster.ts';
import { linksOf, traps } from '../support/traps.ts';
import { waitFor } from '../support/wait-for.ts';

const QUARANTINE =
  'select table_name, row_pk::text, sqlstate from syncline.quarantine order by table_name, hlc, row_pk::text';

traps('rows that a region cannot take', {}, (trap) => {
  trap(
    'a CHECK in one region alone: its link is degraded and says so, the rest flows, and a retry mends it',
    'create table limited (id int primary key, n int); create table unlimited (id int primary key)',
    async (world) => {
      const { eu, us, ap } = world;
      await us.sql('alter table limited add constraint small check (n < 100)');
      await eu.sql(
        'begin; insert into limited values (1, 1), (2, 500), (3, 3); insert into unlimited values (1); commit',
      );
      await world.settle();
      assert.deepEqual(await ap.sql('select * from limited order by id'), [
        ['1', '1'],
        ['2', '500'],
        ['3', '3'],
      ]);
      assert.deepEqual(await us.sql('select * from limited order by id'), [
        ['1', '1'],
        ['3', '3'],
      ]);
      assert.deepEqual(await us.sql('select * from unlimited'), [['1']]);
      assert.deepEqual(await us.sql(QUARANTINE), [['limited', '{"id":"2"}', '23514']]);
      await statusOf(us, { 'ap:us': 'active', 'eu:us': 'degraded' });
      await statusOf(ap, { 'eu:ap': 'active', 'us:ap': 'active' });
      // A later event on the row that fits takes the place of those that did not.
      await eu.sql('update limited set n = 600 where id = 2');
      await world.settle();
      assert.deepEqual(await us.sql(QUARANTINE), [
        ['limited', '{"id":"2"}', '23514'],
        ['limited', '{"id":"2"}', '23514'],
      ]);
      await eu.sql('update limited set n = 7 where id = 2');
      await world.everywhere('select * from limited order by id', [
        ['1', '1'],
        ['2', '7'],
        ['3', '3'],
      ]);
      assert.deepEqual(await us.sql(QUARANTINE), []);
      // A row that is deleted before it ever fitted does not come back.
      await eu.sql('insert into limited values (4, 400), (5, 500)');
      await world.settle();
      await eu.sql('delete from limited where id = 4');
      await world.settle();
      assert.deepEqual(await us.sql(QUARANTINE), [['limited', '{"id":"5"}', '23514']]);
      assert.equal((await retry(us))[0]?.applied, false, 'while the constraint stands, a retry tells that it failed');
      await us.sql('alter table limited drop constraint small');
      assert.equal((await retry(us))[0]?.applied, true);
      await statusOf(us, { 'ap:us': 'active', 'eu:us': 'active' });
      await world.everywhere('select * from limited order by id', [
        ['1', '1'],
        ['2', '7'],
        ['3', '3'],
        ['5', '500'],
      ]);
    },
  );

  trap(
    'an event that was set aside is no newer for being applied late',
    'create table outdated (id int primary key, n int)',
    async (world) => {
      const { eu, us, ap } = world;
      await eu.sql('insert into outdated values (1, 1), (2, 1), (3, 1), (4, 1)');
      await world.settle();
      await us.sql('alter table outdated add constraint small check (n < 100)');
      await eu.sql('update outdated set n = 500 where id < 4');
      await world.settle();
      assert.equal((await us.sql(QUARANTINE)).length, 3);
      await us.sql('update outdated set n = 2 where id = 1; delete from outdated where id = 2');
      await world.settle();
      await ap.sql('update outdated set n = 600 where id = 4');
      await world.settle();
      await us.sql('alter table outdated drop constraint small');
      await retry(us);
      await world.everywhere('select * from outdated order by id', [
        ['1', '2'],
        ['3', '500'],
        ['4', '600'],
      ]);
    },
  );

  trap(
    'of one transaction, what a later change of the row makes void is not set aside, and a row that moves leaves its old key',
    'create table moving (id int primary key, n int)',
    async (world) => {
      const { eu, us } = world;
      await eu.sql('insert into moving values (1, 1), (2, 2), (3, 3), (4, 4)');
      await world.settle();
      await us.sql('alter table moving add constraint small check (n < 100)');
      await eu.sql(`begin; update moving set n = 500 where id = 1; update moving set n = 11 where id = 1;
        update moving set n = 500 where id = 2; delete from moving where id = 2;
        update moving set id = 30, n = 500 where id = 3; update moving set id = 40, n = 500 where id = 4; commit`);
      await world.settle();
      assert.deepEqual(await us.sql('select * from moving order by id'), [['1', '11']]);
      assert.deepEqual(await us.sql(QUARANTINE), [
        ['moving', '{"id":"30"}', '23514'],
        ['moving', '{"id":"40"}', '23514'],
      ]);
      // What comes to the new key takes the place of what was set aside, and nothing is left under the old one.
      await eu.sql('update moving set n = 31 where id = 30');
      await world.settle();
      assert.deepEqual(await us.sql(QUARANTINE), [['moving', '{"id":"40"}', '23514']]);
      // Another row under the old key is not what left it.
      await eu.sql('insert into moving values (4, 44)');
      await world.settle();
      await us.sql('alter table moving drop constraint small');
      await retry(us);
      await world.everywhere('select * from moving order by id', [
        ['1', '11'],
        ['4', '44'],
        ['30', '31'],
        ['40', '500'],
      ]);
    },
  );

  trap(
    'a retry in any order, of some before others, undoes nothing that is later',
    'create table reordered (id int primary key, n int)',
    async (world) => {
      const { eu, us } = world;
      await eu.sql('insert into reordered values (1, 1), (2, 2), (3, 3)');
      await world.settle();
      await us.sql('alter table reordered add constraint small check (n < 100)');
      await eu.sql('update reordered set n = 500');
      await eu.sql(
        'begin; update reordered set n = 600 where id < 3; update reordered set n = 700 where id = 1; commit',
      );
      await world.settle();
      const idOf = async (id: number, n: number): Promise<string> =>
        (await us.one(`select event_id from syncline.quarantine
          where row_pk->>'id' = '${id}' and event->'after_image'->>'n' = '${n}'`)) ?? '';
      const [last, first, second] = [await idOf(1, 700), await idOf(1, 600), await idOf(2, 500)];
      await us.sql('alter table reordered drop constraint small');
      for (const id of [last, first, await idOf(2, 600), second]) await retry(us, [id]);
      assert.deepEqual(await us.sql('select row_pk::text from syncline.quarantine'), [['{"id":"3"}']]);
      await retry(us);
      await world.everywhere('select * from reordered order by id', [
        ['1', '700'],
        ['2', '600'],
        ['3', '500'],
      ]);
    },
  );

  trap(
    'a parked row that one region cannot take when its turn comes is set aside, and everything else flows on',
    'create table claiming (id int primary key, code text unique, n int)',
    async (world) => {
      const { eu, us, ap } = world;
      await us.sql('alter table claiming add constraint small check (n < 100)');
      await world.apart(async () => {
        await eu.sql("insert into claiming values (1, 'x', 500)");
        await us.sql("insert into claiming values (2, 'x', 2)");
      });
      await world.resumeAll();
      await world.settle();
      assert.deepEqual(await us.sql('select key from syncline.parked'), [['["1"]']]);
      await us.sql("update claiming set code = 'y' where id = 2; insert into claiming values (3, 'z', 3)");
      await waitFor(async () => (await us.sql(QUARANTINE)).length === 1, { what: 'the parked row is set aside' });
      assert.deepEqual(await us.sql(QUARANTINE), [['claiming', '{"id":"1"}', '23514']]);
      assert.deepEqual(await us.sql('select key from syncline.parked'), []);
      await statusOf(us, { 'ap:us': 'active', 'eu:us': 'degraded' });
      await ap.sql("insert into claiming values (4, 'w', 4)");
      await world.settle();
      assert.deepEqual(await us.sql('select id from claiming order by id'), [['2'], ['3'], ['4']]);
      await us.sql('alter table claiming drop constraint small');
      await retry(us);
      await world.everywhere('select * from claiming order by id', [
        ['1', 'x', '500'],
        ['2', 'y', '2'],
        ['3', 'z', '3'],
        ['4', 'w', '4'],
      ]);
    },
  );

  trap('a table that one region lacks, with everything that happens to its rows', '', async (world) => {
    const { eu, us, ap } = world;
    for (const region of [eu, ap]) await region.sql('create table lacking (id int primary key, v text)');
    for (const region of [eu, ap]) {
      await world.waitForValue(region, "select count(*) from pg_publication_tables where tablename = 'lacking'", '1');
    }
    await eu.sql(
      "insert into lacking values (0, 'z'); truncate lacking; insert into lacking values (1, 'a'), (2, 'b'), (3, 'c')",
    );
    await eu.sql("update lacking set v = 'changed' where id = 1");
    await eu.sql('delete from lacking where id = 2; update lacking set id = 4 where id = 3');
    await world.settle();
    await ap.sql("insert into lacking values (5, 'ap')");
    await world.settle();
    assert.equal((await us.sql(QUARANTINE)).length, 9);
    await us.sql('create table lacking (id int primary key, v text)');
    await world.published('public.lacking');
    for (const outcome of await retry(us)) assert.deepEqual(outcome, { ...outcome, applied: true, error: null });
    await world.everywhere('select * from lacking order by id', [
      ['1', 'changed'],
      ['4', 'c'],
      ['5', 'ap'],
    ]);
  });

  trap(
    'a column that one region lacks, and one that it calls otherwise or takes for another type',
    `create table narrow (id int primary key, a text); create table typed (id int primary key, v text)`,
    async (world) => {
      const { eu, us, ap } = world;
      for (const region of [eu, ap]) await region.sql('alter table narrow add column b int default 1');
      await us.sql('alter table typed alter column v type int using v::int');
      await eu.sql("insert into narrow values (1, 'a', 2); insert into typed values (1, '12'), (2, 'twelve')");
      await us.sql("insert into narrow values (10, 'us')");
      await us.sql('insert into typed values (10, 10)');
      await world.settle();
      assert.deepEqual(await us.sql(QUARANTINE), [
        ['narrow', '{"id":"1"}', await us.one("select sqlstate from syncline.quarantine where table_name = 'narrow'")],
        ['typed', '{"id":"2"}', '22P02'],
      ]);
      assert.deepEqual(await us.sql('select * from typed order by id'), [
        ['1', '12'],
        ['10', '10'],
      ]);
      assert.deepEqual(await ap.sql('select * from narrow order by id'), [
        ['1', 'a', '2'],
        ['10', 'us', '1'],
      ]);
      await us.sql('alter table narrow add column b int default 1; alter table typed alter column v type text');
      await retry(us);
      await world.everywhere('select * from narrow order by id', [
        ['1', 'a', '2'],
        ['10', 'us', '1'],
      ]);
      await world.everywhere('select * from typed order by id', [
        ['1', '12'],
        ['2', 'twelve'],
        ['10', '10'],
      ]);
    },
  );
});

type Outcome = { readonly applied: boolean; readonly error: string | null };

/** These, or everything that is in quarantine, oldest first, in one request. */
async function retry(region: ClusterRegion, some?: readonly string[]): Promise<Outcome[]> {
  const all = await region.sql('select event_id from syncline.quarantine order by event_id');
  const ids = some ?? all.flat();
  const answer = await fetch(`${region.api}/quarantine/retry`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ event_ids: ids }),
  });
  assert.equal(answer.status, 200, `a retry of ${ids.length} events`);
  return ((await answer.json()) as { items: Outcome[] }).items;
}

async function statusOf(region: ClusterRegion, expected: Readonly<Record<string, string>>): Promise<void> {
  await waitFor(
    async () => {
      const links = Object.fromEntries((await linksOf(region)).map(({ link_id, status }) => [link_id, status]));
      assert.deepEqual(links, expected);
      return true;
    },
    { what: `the links of ${region.name}`, limitMs: 10_000 },
  );
}
