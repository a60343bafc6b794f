/**
 * Users first: whatever locks users take, in whichever order, and whatever isolation level or DDL they use, no transaction of
 * theirs fails because of what the lane writes beside it. The lane gives way and comes back.
 *
 * One thing is not the lane's to spare them: who asks for REPEATABLE READ or SERIALIZABLE gets 40001 where a row that he is
 * to write was changed by somebody else since his snapshot, be that another user or another region.
 *
 * Each meeting is arranged: the lane is known to wait, holding what it has written of a batch so far, before the user takes
 * the lock that closes the circle. The server's deadlock_timeout is its default.
 */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import type { PostgresClient } from '../../src/platform/postgres.ts';
import { Cluster, type ClusterRegion } from '../support/cluster.ts';
import { endsWell, twoTables } from '../support/two-tables.ts';
import { waitFor } from '../support/wait-for.ts';

const ROWS = 40;
const TRANSACTIONS = 40;
const ROUNDS = 4;

const ROW_LOCKS = ['for update', 'for no key update', 'for share', 'for key share'] as const;
/** By whether they keep others from writing to the table. */
const TABLE_LOCKS = {
  'access share': false,
  'row share': false,
  'row exclusive': false,
  'share update exclusive': false,
  share: true,
  'share row exclusive': true,
  exclusive: true,
  'access exclusive': true,
} as const;

let cluster: Cluster;
let eu: ClusterRegion;
let us: ClusterRegion;
before(async () => {
  cluster = await Cluster.start({
    regions: ['eu', 'us'],
    schema: twoTables(ROWS),
  });
  [eu, us] = cluster.regions as [ClusterRegion, ClusterRegion];
});
after(async () => await cluster?.[Symbol.asyncDispose]());

afterEach(async () => await endsWell(cluster));

async function arrives(table: string, id: number, value: string): Promise<void> {
  const sql = `select v from ${table} where id = ${id}`;
  await waitFor(async () => (await us.one(sql)) === value, { what: `${value} in ${table} at us` });
}

/** Waits until the lane of us waits for a lock. */
async function laneWaits(): Promise<void> {
  const sql = `select count(*) from pg_stat_activity
    where application_name like 'syncline/%/apply' and wait_event_type = 'Lock'`;
  await waitFor(async () => (await us.one(sql)) !== '0', { what: 'the lane to wait for a lock' });
}

async function waits(query: string): Promise<void> {
  const sql = `select count(*) from pg_stat_activity where query like '${query}%' and wait_event_type = 'Lock'`;
  await waitFor(async () => (await us.one(sql)) !== '0', { what: `${query} to wait` });
}

/** A batch of both rows, and of both tables. */
async function writeBoth(value: string): Promise<void> {
  await eu.sql(`begin; update item set v = '${value}' where id in (5, 6); update other set v = '${value}' where id in (5, 6);
    commit`);
}

describe('rows', () => {
  for (const lock of ROW_LOCKS) {
    test(`that a user locks ${lock}, in the opposite order and amid a batch, are his until he commits`, async () => {
      await using user = await us.session();
      for (const [first, second] of [
        [6, 5],
        [5, 6],
      ]) {
        await user.query('begin');
        await user.query(`select from other where id = ${first} ${lock}`);
        const value = `${lock} ${first}`;
        await writeBoth(value);
        // A lock of the key alone lets others change the rest of a row.
        if (lock === 'for key share') await arrives('other', 6, value);
        else await laneWaits();
        await user.query(`select from other where id = ${second} ${lock}`);
        await user.query(`select from item where id = ${second} ${lock}`);
        await user.query(`select from item where id = ${first} ${lock}`);
        await user.query(`update item set v = 'user' where id = ${second}`);
        await user.commit();
      }
    });
  }
});

describe('tables', () => {
  for (const [mode, keepsOut] of Object.entries(TABLE_LOCKS)) {
    test(`that a user locks in ${mode} mode, in either order and amid a batch, are his until he commits`, async () => {
      await using user = await us.session();
      for (const [first, second] of [
        ['item', 'other'],
        ['other', 'item'],
      ]) {
        const value = `${mode} ${first}`;
        await user.query('begin');
        await user.query(`lock table ${first} in ${mode} mode`);
        await writeBoth(value);
        if (keepsOut) await laneWaits();
        else await arrives('other', 6, value);
        await user.query(`lock table ${second} in ${mode} mode`);
        await user.query(`update ${second} set v = 'user' where id = 5`);
        await user.query(`update ${first} set v = 'user' where id = 5`);
        await user.commit();
        await arrives(first ?? '', 6, value);
      }
    });
  }
});

describe('a user who asks for', () => {
  for (const level of ['repeatable read', 'serializable']) {
    test(`${level} is told by 40001 of a row that another region has changed since, and of no other`, async () => {
      await using user = await us.session();
      const begin = async (): Promise<void> => {
        await user.query(`begin isolation level ${level}`);
        await user.query('select from item');
      };
      await begin();
      await eu.sql(`update item set v = 'remote, ${level}' where id = 10`);
      await arrives('item', 10, `remote, ${level}`);
      await user.query(`update item set v = 'local, ${level}' where id = 11`);
      await assert.rejects(user.query(`update item set v = 'local' where id = 10`), { code: '40001' });
      await user.query('rollback');

      await begin();
      await user.query(`update item set v = 'mine, ${level}' where id = 10`);
      await eu.sql(`update item set v = 'later, ${level}' where id = 10`);
      await laneWaits();
      await user.query(`update item set v = 'mine, ${level}' where id = 12`);
      await user.commit();
    });

    test(`${level} gets through by trying again, against batches in the opposite order`, async (t) => {
      let retries = 0;
      const writeUp = async (session: PostgresClient, value: string): Promise<void> => {
        await session.transaction(async () => {
          for (const id of ['20', '21', '22']) await session.query('update item set v = $1 where id = $2', [value, id]);
          for (const id of ['20', '21', '22'])
            await session.query('update other set v = $1 where id = $2', [value, id]);
        });
      };
      const writeDown = async (session: PostgresClient, value: string): Promise<void> => {
        await session.transaction(async () => {
          for (const id of ['22', '21', '20'])
            await session.query('update other set v = $1 where id = $2', [value, id]);
          for (const id of ['22', '21', '20']) await session.query('update item set v = $1 where id = $2', [value, id]);
        }, `begin isolation level ${level}`);
      };
      const writers = [
        (async () => {
          await using session = await eu.session();
          for (let number = 1; number <= TRANSACTIONS; number += 1) await writeUp(session, `eu ${number}`);
        })(),
        (async () => {
          await using session = await us.session();
          for (let number = 1; number <= TRANSACTIONS; ) {
            try {
              await writeDown(session, `us ${number}`);
              number += 1;
            } catch (error) {
              // Anything else fails the test, a deadlock (40P01) above all.
              if (!(error instanceof Error && 'code' in error && error.code === '40001')) throw error;
              retries += 1;
            }
          }
        })(),
      ];
      await Promise.all(writers);
      t.diagnostic(`${TRANSACTIONS} transactions, ${retries} tried again`);
    });
  }
});

describe('a statement that wants a table for itself', () => {
  const STATEMENTS: readonly (readonly string[])[] = [
    ['vacuum full item'],
    ['create index item_v on item (v)', 'drop index item_v'],
    ['reindex table item'],
    ['cluster item using item_pkey'],
    ['truncate other'],
    ['alter table item add constraint known check (v is not null)', 'alter table item drop constraint known'],
  ];

  for (const statements of STATEMENTS) {
    test(`is carried out amid a batch: ${statements[0]}`, async () => {
      await using user = await us.session();
      await using owner = await us.session();
      for (const [round, statement] of statements.entries()) {
        const table = statement.includes('other') ? 'other' : 'item';
        await user.query('begin');
        await user.query(`select from ${table} where id = 31 for update`);
        const value = `${statement.slice(0, 12)} ${round}`;
        await eu.sql(`update ${table} set v = '${value}' where id in (30, 31)`);
        // The lane has row 30 by now, and waits for row 31.
        await laneWaits();
        const done = owner.query(statement);
        await waits(statement.slice(0, 10));
        await user.query(`select from ${table} where id = 30 for update`);
        await user.commit();
        await done;
        if (table === 'item') await arrives('item', 31, value);
      }
    });
  }

  test('gets through while another region writes without a pause', async () => {
    const stop = new AbortController();
    const writing = (async () => {
      await using session = await eu.session();
      for (let number = 1; !stop.signal.aborted; number += 1) {
        const id = String(1 + (number % ROWS));
        await session.query('update item set v = $1 where id = $2', [`eu ${number}`, id], { prepare: true });
      }
    })();
    try {
      await using owner = await us.session();
      for (let round = 1; round <= ROUNDS; round += 1) {
        for (const statement of STATEMENTS.flat()) if (!statement.startsWith('truncate')) await owner.query(statement);
      }
    } finally {
      stop.abort();
      await writing;
    }
  });
});
