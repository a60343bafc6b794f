// What a region sets aside and applies later, when others have gone on: it must end as a region that took all of it at once.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { freezeEverything } from '../support/forgotten.ts';
import { LaneTarget, type MadeChange, stampOf } from '../support/lane-target.ts';
import { ORIGINS_MAX } from '../support/postgres-majors.ts';
import { PostgresServer } from '../support/postgres-server.ts';

const NOT_YET = { confirmedLsn: 0n, echoedLsn: 0n };
const CLAIMING = `create table public.t (id int primary key, u text unique, n int);
  alter table public.t add constraint small check (n < 100)`;
const DROP = 'alter table public.t drop constraint small';
const ROWS = 'select id, u, n from public.t order by id';

describe('what is set aside, and applied later', () => {
  let server: PostgresServer;
  before(async () => {
    server = await PostgresServer.start({ settings: { [ORIGINS_MAX]: '60' } });
  });
  after(() => server[Symbol.asyncDispose]());

  test('stays while its table is missing', async () => {
    await using home = await LaneTarget.start(server, '');
    await home.apply('eu', 1, 't', [{ insert: { id: '1', u: 'x', n: '1' } }]);
    assert.deepEqual(await home.retry(), ['SYN-A003']);
    assert.deepEqual(await home.setAside(), [['INSERT', '1', '42P01']]);
    await home.target.client.query('create table public.t (id int primary key, u text, n int)');
    assert.deepEqual(await home.retry(), [null]);
    assert.deepEqual(await home.rows(ROWS), [['1', 'x', '1']]);
  });

  for (const first of ['truncate', { remove: { id: '1', u: 'old', n: '1' } }] as const) {
    test(`is a parked row that its transaction made behind a ${first === 'truncate' ? first : 'removal'}`, async () => {
      await using home = await LaneTarget.start(server, CLAIMING);
      await home.apply('eu', 1, 't', [{ insert: { id: '1', u: 'old', n: '1' } }]);
      await home.apply('ap', 900, 't', [{ insert: { id: '2', u: 'x', n: '2' } }]);
      await home.apply('eu', 500, 't', [first, { insert: { id: '1', u: 'x', n: '500' } }]);
      assert.deepEqual(await home.rows('select key from syncline.parked'), [['["1"]']]);
      await home.apply('ap', 950, 't', [{ update: { id: '2', u: 'x', n: '2' }, to: { id: '2', u: 'y', n: '2' } }]);
      await home.lane.settle();
      assert.deepEqual(await home.setAside(), [['INSERT', '1', '23514']]);
      await home.target.client.query(DROP);
      assert.deepEqual(await home.retry(), [null]);
      assert.deepEqual(await home.rows(ROWS), [
        ['1', 'x', '500'],
        ['2', 'y', '2'],
      ]);
    });
  }

  test('is a parked row that a later change of its transaction was set aside for, and which undoes none of that', async () => {
    await using home = await LaneTarget.start(server, CLAIMING);
    await home.apply('ap', 900, 't', [{ insert: { id: '2', u: 'x', n: '2' } }]);
    const [first, second] = [
      { id: '1', u: 'x', n: '7' },
      { id: '1', u: 'z', n: '500' },
    ];
    await home.apply('eu', 500, 't', [{ insert: first }, { update: first, to: second }]);
    assert.deepEqual(await home.setAside(), [['UPDATE', '1', '23514']]);
    await home.target.client.query(
      'alter table public.t drop constraint small, add constraint large check (n > 100) not valid',
    );
    await home.apply('ap', 950, 't', [{ remove: { id: '2', u: 'x', n: '2' } }]);
    await home.lane.settle();
    assert.deepEqual(await home.setAside(), [
      ['INSERT', '1', '23514'],
      ['UPDATE', '1', '23514'],
    ]);
    await home.target.client.query('alter table public.t drop constraint large');
    assert.deepEqual(await home.retry("event->>'operation' = 'UPDATE'"), [null]);
    assert.deepEqual(await home.retry(), [null]);
    assert.deepEqual(await home.rows(ROWS), [['1', 'z', '500']]);
  });

  test('is a parked row that something unseen calls a duplicate for ever, and the others come back', async () => {
    await using home = await LaneTarget.start(
      server,
      'create table public.t (id int primary key, u text unique, n int)',
    );
    await home.apply('ap', 900, 't', [
      { insert: { id: '8', u: 'x', n: '8' } },
      { insert: { id: '9', u: 'y', n: '9' } },
    ]);
    await home.apply('eu', 500, 't', [{ insert: { id: '1', u: 'x', n: '9' } }]);
    await home.apply('eu', 400, 't', [{ insert: { id: '2', u: 'y', n: '2' } }]);
    assert.equal((await home.rows('select from syncline.parked')).length, 2);
    // The lane does not know of it: what a trigger refuses is in no catalog.
    await home.target.client.query(`
      create function public.refuse() returns trigger language plpgsql as
        $$ begin raise unique_violation using message = 'a duplicate'; end $$;
      create trigger refuse before insert on public.t for each row when (new.id = 1) execute function public.refuse();
      alter table public.t enable always trigger refuse`);
    await home.apply('ap', 950, 't', [
      { remove: { id: '8', u: 'x', n: '8' } },
      { remove: { id: '9', u: 'y', n: '9' } },
    ]);
    for (let look = 0; look < 40; look += 1) await home.lane.settle();
    assert.deepEqual(await home.setAside(), [['INSERT', '1', '23505']]);
    assert.deepEqual(await home.rows('select id from public.t order by id'), [['2']]);
  });

  test('is no row of a table of which a partition has an index by itself: the stream stops there until that is gone', async () => {
    await using home = await LaneTarget.start(
      server,
      `create table public.t (id int primary key, u text, n int) partition by range (id);
       create table public.t_0 partition of public.t for values from (0) to (10)`,
    );
    await home.apply('ap', 900, 't', [{ insert: { id: '2', u: 'x', n: '2' } }]);
    await home.target.client.query('create unique index own on public.t_0 (u)');
    const claiming = home.apply('eu', 500, 't', [{ insert: { id: '1', u: 'x', n: '1' } }]);
    await assert.rejects(claiming, { code: 'SYN-P058' });
    const free: MadeChange = { insert: { id: '3', u: 'y', n: '3' } };
    await assert.rejects(home.apply('ba', 500, 't', [free]), { code: 'SYN-P058' });
    assert.deepEqual(await home.setAside(), []);
    await home.target.client.query('drop index public.own');
    await home.apply('ap', 950, 't', [free]);
    assert.deepEqual(await home.rows(ROWS), [
      ['2', 'x', '2'],
      ['3', 'y', '3'],
    ]);
  });

  test('is told apart from rivals whose stamps are above their versions, however old these are by then', async () => {
    await using home = await LaneTarget.start(server, CLAIMING);
    await home.together('ap', 't', [
      [10, [{ insert: { id: '1', u: 'x', n: '1' } }]],
      [900, [{ insert: { id: '9', u: 'y', n: '9' } }]],
    ]);
    await home.apply('eu', 500, 't', [{ insert: { id: '2', u: 'x', n: '500' } }]);
    assert.deepEqual(await home.setAside(), [['INSERT', '2', '23514']]);
    await home.target.port.prune(stampOf(1_000), NOT_YET, 1_000);
    await home.target.client.query(DROP);
    assert.deepEqual(await home.retry(), [null]);
    assert.deepEqual(await home.rows(ROWS), [
      ['2', 'x', '500'],
      ['9', 'y', '9'],
    ]);
    assert.deepEqual(await home.rows('select key from syncline.parked'), [['["1"]']]);
  });

  test('is a parked row that the table has no column for any more, and nothing else waits for it', async () => {
    await using home = await LaneTarget.start(server, CLAIMING);
    await home.apply('ap', 900, 't', [{ insert: { id: '2', u: 'x', n: '2' } }]);
    await home.apply('eu', 500, 't', [{ insert: { id: '1', u: 'x', n: '1' } }]);
    await home.target.client.query('alter table public.t drop column n');
    home.target.port.forgetShapes();
    await home.apply('ap', 950, 't', [{ remove: { id: '2', u: 'x' } }]);
    await home.lane.settle();
    assert.deepEqual(await home.setAside(), [['INSERT', '1', 'XX000']]);
    assert.equal(home.lane.isUnsettled, false);
    await home.target.client.query('alter table public.t add column n int');
    assert.deepEqual(await home.retry(), [null]);
    assert.deepEqual(await home.rows(ROWS), [['1', 'x', '1']]);
  });

  test('a TRUNCATE takes no parked row that came behind it in its transaction', async () => {
    await using home = await LaneTarget.start(server, '');
    await home.apply('eu', 500, 't', ['truncate', { insert: { id: '1', u: 'x', n: '1' } }]);
    await home.target.client.query('create table public.t (id int primary key, u text unique, n int)');
    await home.apply('ap', 900, 't', [{ insert: { id: '2', u: 'x', n: '2' } }]);
    assert.deepEqual(await home.retry("event->>'operation' = 'INSERT'"), [null]);
    assert.deepEqual(await home.rows('select key from syncline.parked'), [['["1"]']]);
    assert.deepEqual(await home.retry(), [null]);
    assert.deepEqual(await home.rows('select key from syncline.parked'), [['["1"]']]);
  });

  test('of two TRUNCATEs of a transaction the later one stands over what came between them', async () => {
    await using home = await LaneTarget.start(server, '');
    const made = (id: string): MadeChange => ({ insert: { id, u: null, n: null } });
    await home.apply('eu', 500, 't', ['truncate', made('1'), 'truncate', made('2')]);
    await home.target.client.query('create table public.t (id int primary key, u text, n int)');
    for (const index of [2, 0, 1, 3]) await home.retry(`event->'transaction'->>'index' = '${index}'`);
    assert.deepEqual(await home.setAside(), []);
    assert.deepEqual(await home.rows('select id from public.t'), [['2']]);
  });

  test('comes behind a removal and a TRUNCATE of its transaction, in whatever order they were tried', async () => {
    await using home = await LaneTarget.start(server, '');
    const image = { id: '1', u: 'x', n: '1' };
    await home.apply('eu', 500, 't', [
      { remove: image },
      { insert: image },
      'truncate',
      { insert: { ...image, id: '2' } },
    ]);
    await home.target.client.query('create table public.t (id int primary key, u text, n int)');
    assert.deepEqual(await home.retry("event->>'operation' = 'DELETE'"), [null]);
    assert.deepEqual(await home.retry("event->>'operation' = 'TRUNCATE'"), [null]);
    assert.deepEqual(await home.retry(), [null, null]);
    assert.deepEqual(await home.rows(ROWS), [['2', 'x', '1']]);
  });

  test('waits where a row may be newer of which the time is forgotten', async () => {
    // Of its own: every database of a server is frozen.
    await using frozen = await PostgresServer.start();
    await using home = await LaneTarget.start(frozen, CLAIMING);
    await home.apply('eu', 500, 't', [{ insert: { id: '1', u: 'x', n: '500' } }]);
    await home.target.client.query("insert into public.t values (1, 'newer', 1)");
    await freezeEverything(frozen);
    await home.target.client.query(DROP);
    assert.deepEqual(await home.retry(), ['SYN-A011']);
    assert.deepEqual(await home.rows(ROWS), [['1', 'newer', '1']]);
    await home.target.client.query('update public.t set n = 2');
    assert.deepEqual(await home.retry(), [null]);
    assert.deepEqual(await home.rows(ROWS), [['1', 'newer', '2']]);
  });
});
