/**
 * One region's part for tables that are published late, on a real server: the other regions are the words that they have said.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import {
  captureName,
  ensurePublication,
  type PublicationReport,
  reconcilePublication,
} from '../../src/capture/tables/publication.ts';
import type { PublicationSpec } from '../../src/capture/tables/publication-plan.ts';
import { createLogger } from '../../src/platform/logger.ts';
import { migrate } from '../../src/platform/migrations.ts';
import { connect, type PostgresClient } from '../../src/platform/postgres.ts';
import { StandingConnection } from '../../src/platform/standing-connection.ts';
import { tellRows } from '../../src/transfer/row-teller.ts';
import { TransferKeeper } from '../../src/transfer/transfer-keeper.ts';
import { readTableState, readWords, type TableWord } from '../../src/transfer/transfer-store.ts';
import { PostgresServer } from '../support/postgres-server.ts';
import { waitFor } from '../support/wait-for.ts';

const NAME = { applicationName: 'syncline test' };
const PUBLICATION = captureName('eu');
const SPEC: PublicationSpec = {
  name: PUBLICATION,
  include: ['public.*'],
  exclude: [],
  identity: 'full',
  transfers: 'eu',
};
const SEALED_AT = '4000000000000000000';
const SINCE = BigInt(SEALED_AT);
const MEMBERS = ['eu', 'us'];
const limitMs = 60_000;

let server: PostgresServer;
before(async () => {
  server = await PostgresServer.start({ settings: { fsync: 'off' } });
});
after(async () => await server[Symbol.asyncDispose]());

/** A database of eu, which has begun to replicate. */
async function made(sql: string): Promise<{ url: string; client: PostgresClient; report: PublicationReport }> {
  const url = server.url(await server.createDatabase());
  const client = await connect(url, NAME);
  await migrate(client);
  const report = await ensurePublication(client, SPEC, { mayCreate: true });
  await client.query(`
    insert into syncline.meta (key, value)
    values ('epoch', '1'), ('began', '1'), ('slot_start_lsn', '0/0'), ('began_tables', '[]'), ('decision_secret', 's'),
           ('began_snapshot', pg_current_snapshot()::text)
        on conflict (key) do update set value = excluded.value`);
  await client.query(sql);
  return { url, client, report };
}

/** Both regions have sealed the table and are ready, so eu has its rows to tell. */
async function ready(client: PostgresClient, table: string): Promise<void> {
  await client.query(`alter publication ${PUBLICATION} add table public.${table}`);
  await client.query(
    `insert into syncline.transfer (schema_name, table_name, region, generation, state, sealed_at)
     select 'public', '${table}', region, 1, 'ready', ${SEALED_AT} from unnest('{eu,us}'::text[]) as region`,
  );
  await client.query(
    `insert into syncline.transfer_hold (rel, generation, sealed, above)
     values ('"public"."${table}"', 1, pg_current_snapshot()::text, 1)`,
  );
  await client.query(`insert into syncline.meta (key, value) values ('transfer_epoch:"public"."${table}"', '1')`);
}

/** Runs eu's keeper until the work is done. */
async function kept(url: string, work: (keeper: TransferKeeper) => Promise<void>, lines: string[] = []): Promise<void> {
  await using database = new StandingConnection(url, NAME);
  const keeper = new TransferKeeper({
    ...NAME,
    region: 'eu',
    members: MEMBERS,
    url,
    database,
    publication: PUBLICATION,
    isIncluded: () => true,
    isCaptured: () => true,
    stable: () => 2n * SINCE,
    highest: () => 0n,
    echoedLsn: () => 2n ** 63n,
    logger: createLogger({ destination: { write: (line) => void lines.push(line) } }),
  });
  keeper.heard('us');
  const stop = new AbortController();
  const running = keeper.run(stop.signal);
  try {
    await work(keeper);
  } finally {
    stop.abort();
    await running;
  }
}

async function wordOf(client: PostgresClient, table: string): Promise<TableWord | undefined> {
  return (await readWords(client)).find((word) => word.table === table && word.region === 'eu');
}

test('a table whose rows cannot be told for now is told with a code, and holds up no other', async () => {
  const { url, client } = await made(`
    create table public.a_locked (id int primary key);
    create table public.b_broken (id int primary key);
    create table public.c_sound (id int primary key);
    insert into public.a_locked select generate_series(1, 10);
    insert into public.b_broken select generate_series(1, 10);
    insert into public.c_sound select generate_series(1, 10)`);
  await using _ = client;
  for (const table of ['a_locked', 'b_broken', 'c_sound']) await ready(client, table);
  await client.query(`update syncline.transfer_hold set sealed = 'none' where rel like '%broken%'`);
  await using user = await connect(url, NAME);
  await user.query('begin');
  await user.query('lock table public.a_locked in access exclusive mode');
  await kept(url, async (keeper) => {
    const told = (): string[] =>
      keeper.problems.filter(({ code }) => code === 'SYN-K034').map(({ table }) => table ?? '');
    await waitFor(async () => (await wordOf(client, 'c_sound'))?.state === 'done', {
      what: 'the table behind them to be told',
      limitMs,
    });
    await waitFor(() => told().sort().join() === 'public.a_locked,public.b_broken', {
      what: () => `the two to be told of: ${JSON.stringify(keeper.problems)}`,
      limitMs,
    });
    await user.query('commit');
    await waitFor(async () => (await wordOf(client, 'a_locked'))?.state === 'done', {
      what: 'the table to be told that is not locked any more',
      limitMs,
    });
    await waitFor(() => told().join() === 'public.b_broken', { what: 'only the other one to be told of', limitMs });
  });
});

test('whether rows can be told is known of a partitioned table too, also while a user has a partition to himself', async () => {
  const { url, client } = await made(`
    create table public.p (id int primary key, v int) partition by range (id);
    create table public.p1 partition of public.p for values from (1) to (2);
    create table public.p2 partition of public.p for values from (2) to (9) partition by range (id);
    create table public.p22 partition of public.p2 for values from (2) to (3)`);
  await using _ = client;
  await using user = await connect(url, NAME);
  const refusal = async (): Promise<string | null> =>
    (await readTableState(client, PUBLICATION, { schema: 'public', table: 'p' })).refusal;
  await client.query(`set statement_timeout = ${limitMs}`);
  await user.query('begin; lock table public.p1 in access exclusive mode');
  assert.equal(await refusal(), null);
  await client.query('create unique index on public.p22 (v)');
  assert.equal(await refusal(), 'it has a unique index or an exclusion constraint beside its key');
  await user.query('rollback');
});

describe('a chunk', () => {
  const LARGE = 'x'.repeat(300_000);
  const TABLE = 'create table public.t (id int primary key, v text)';

  test('of rows of 300 kB stays within a bound in bytes, however many rows are asked for', async () => {
    const { client } = await made(TABLE);
    await using _ = client;
    await client.query(`insert into public.t select g, $1 from generate_series(1, 12) g`, [LARGE]);
    await ready(client, 't');
    const own = (await wordOf(client, 't')) as TableWord;
    const chunks: number[] = [];
    for (;;) {
      const told = await tellRows(client, own, MEMBERS, SINCE, 2_000);
      assert.ok(told !== null);
      if (told.isEnd) break;
      assert.ok(told.rows === 1 || told.bytes < 2 * 1024 * 1024, `${told.rows} rows of ${told.bytes} bytes`);
      chunks.push(told.rows);
    }
    assert.deepEqual(chunks, [3, 3, 3, 3]);
    assert.equal((await wordOf(client, 't'))?.rows_told, 12);
  });

  test('takes more rows once the last ones were told, and large ones that follow small ones do no harm', async () => {
    const { url, client } = await made(TABLE);
    await using _ = client;
    await client.query(`insert into public.t select g, 'small' from generate_series(1, 5000) g`);
    await client.query(`insert into public.t select g, $1 from generate_series(5001, 5010) g`, [LARGE]);
    await client.query(`insert into public.t select g, 'small' from generate_series(5011, 6000) g`);
    await ready(client, 't');
    await kept(url, async () => {
      await waitFor(async () => (await wordOf(client, 't'))?.state === 'done', {
        what: 'all rows to be told',
        limitMs,
      });
    });
    const { rows_told, rows_total } = (await wordOf(client, 't')) as TableWord;
    assert.deepEqual({ rows_told, rows_total }, { rows_told: 6_000, rows_total: 6_000 });
  });

  test('waits for the lock of a user without making a victim of him', async () => {
    const { url, client } = await made(TABLE);
    await using _ = client;
    await client.query(`insert into public.t values (1, 'small')`);
    await ready(client, 't');
    const own = (await wordOf(client, 't')) as TableWord;
    await using user = await connect(url, { applicationName: 'user' });
    await user.query('begin');
    await user.query('lock table public.t in exclusive mode');
    const telling = assert.rejects(tellRows(client, own, MEMBERS, SINCE, 2_000), { code: '55P03' });
    await waitFor(
      async () => {
        const { rows } = await user.query(
          "select count(*) from pg_locks where relation = 'public.t'::regclass and not granted",
        );
        return rows[0]?.count === '1';
      },
      { what: 'the teller to wait', limitMs },
    );
    await user.query('lock table public.t in access exclusive mode');
    await telling;
    await user.query('commit');
    assert.equal((await tellRows(client, own, MEMBERS, SINCE, 2_000))?.rows, 1);
  });

  test('with a row that no event can hold refuses the table, and names the row', async () => {
    const { client } = await made(TABLE);
    await using _ = client;
    await client.query(`insert into public.t values (1, 'small'), (2, $1), (3, 'small')`, [LARGE]);
    await ready(client, 't');
    const own = (await wordOf(client, 't')) as TableWord;
    const limits = { chunkBytes: 1_000, rowBytes: 100_000 };
    assert.equal((await tellRows(client, own, MEMBERS, SINCE, 2_000, limits))?.rows, 1);
    await assert.rejects(tellRows(client, own, MEMBERS, SINCE, 2_000, limits), {
      code: 'SYN-K031',
      message: /the row with id = 2 takes 300001 bytes/,
    });
  });
});

for (const [size, value] of Object.entries({
  'as it is': `repeat('x', 140000000)`,
  'once it is escaped': `repeat(chr(1), 50000000)`,
})) {
  test(`a table with a row that no event can hold ${size} is refused for all regions, and told with the reason`, async () => {
    const { url, client } = await made('create table public.t (id int primary key, v text)');
    await using _ = client;
    await client.query(`insert into public.t values (1, 'small'), (2, ${value}), (3, 'small')`);
    await ready(client, 't');
    await kept(url, async (keeper) => {
      await waitFor(() => keeper.problems.find(({ code }) => code === 'SYN-K031')?.detail.includes('id = 2'), {
        what: () => `the row to be told of: ${JSON.stringify(keeper.problems)}`,
        limitMs,
      });
    });
    const { state, reason, rows_told } = (await wordOf(client, 't')) as TableWord;
    assert.deepEqual({ state, rows_told }, { state: 'refused', rows_told: 1 });
    assert.match(String(reason), /the row with id = 2 takes \d+ bytes/);
  });
}

describe('a table that is renamed', () => {
  /** What us says, which follows eu through all states; rows that it told in between do not matter here. */
  const said = async (client: PostgresClient, table: string, state: string, isFormer = false): Promise<void> => {
    await client.query(
      `insert into syncline.transfer (schema_name, table_name, region, generation, state, sealed_at, is_former)
       values ('public', $1, 'us', 1, $2, ${SEALED_AT}, $3::boolean)
           on conflict (schema_name, table_name, region) do update set state = excluded.state, is_former = excluded.is_former`,
      [table, state, String(isFormer)],
    );
  };
  const states = async (client: PostgresClient): Promise<string[]> =>
    (await readWords(client))
      .filter(({ region }) => region === 'eu')
      .map(({ table, state, is_former }) => `${table} ${state}${is_former ? ', former' : ''}`);

  for (const agent of ['that sees it', 'that is started since']) {
    test(`while its rows are told is told under its new name, by an agent ${agent}`, async () => {
      const { url, client, report } = await made(`
        create table public.t_new (id int primary key, v text);
        insert into public.t_new select g, 'v' from generate_series(1, 10000) g`);
      await using _ = client;
      const published = await reconcilePublication(client, SPEC, report);
      assert.deepEqual(await states(client), ['t_new published']);
      await said(client, 't_new', 'ready');
      const lines: string[] = [];
      await kept(
        url,
        async () => {
          await waitFor(async () => ((await wordOf(client, 't_new'))?.rows_told ?? 0) > 0, {
            what: 'rows to be told',
            limitMs,
          });
          await client.transaction(async () => {
            await client.query('alter table public.t_new rename to t');
            // Where it was renamed before; this region does not take part before it knows which table that is.
            await said(client, 't', 'published');
          });
          await waitFor(async () => (await wordOf(client, 't_new'))?.state === 'absent', {
            what: 'the keeper to have looked',
            limitMs,
          });
          assert.deepEqual(await states(client), ['t_new absent, former']);
          if (agent === 'that sees it') await reconcilePublication(client, SPEC, published);
          else await ensurePublication(client, SPEC, { mayCreate: false });
          assert.match((await states(client)).join(), /^t (published|sealed),t_new absent, former$/);
          await said(client, 't_new', 'absent', true);
          assert.deepEqual(lines, []);
          await said(client, 't', 'ready');
          await waitFor(async () => (await wordOf(client, 't'))?.state === 'done', {
            what: 'all rows to be told',
            limitMs,
          });
          assert.equal((await wordOf(client, 't'))?.rows_told, 10_000);
          await said(client, 't', 'done');
          await waitFor(() => lines.length > 0, { what: 'the end to be logged', limitMs });
        },
        lines,
      );
      assert.deepEqual(
        lines.map((line) => (JSON.parse(line) as { table: string }).table),
        ['"public"."t"'],
      );
    });
  }

  test('once all regions are done with it is told of no more', async () => {
    const { client, report } = await made('create table public.t_new (id int primary key)');
    await using _ = client;
    const published = await reconcilePublication(client, SPEC, report);
    await client.query(`update syncline.transfer set state = 'done'`);
    await said(client, 't_new', 'done');
    await client.query('alter table public.t_new rename to t');
    const renamed = await reconcilePublication(client, SPEC, published);
    assert.deepEqual(await states(client), ['t_new done']);
    await client.query('alter table public.t rename to u');
    await reconcilePublication(client, SPEC, renamed);
    assert.deepEqual(await states(client), ['t_new done']);
  });

  test('into the place of one that was published is refused, which is told', async () => {
    const { url, client, report } = await made('create table public.t (id int primary key)');
    await using _ = client;
    const first = await reconcilePublication(client, SPEC, report);
    await client.query(`update syncline.transfer set state = 'done'`);
    await said(client, 't', 'done');
    await client.query('create table public.t_new (id int primary key)');
    const published = await reconcilePublication(client, SPEC, first);
    await said(client, 't_new', 'published');
    await client.query('alter table public.t rename to t_old; alter table public.t_new rename to t');
    await reconcilePublication(client, SPEC, published);
    assert.deepEqual(await states(client), ['t absent, former', 't_new absent, former']);
    await kept(url, async (keeper) => {
      await waitFor(() => keeper.problems.some(({ code, table }) => code === 'SYN-K031' && table === 'public.t'), {
        what: 'the table to be told of that is another',
        limitMs,
      });
    });
  });
});

test('words of regions that are no members any more are neither progress nor a reason to stop', async () => {
  const { url, client } = await made(
    'create table public.t (id int primary key); create table public.u (id int primary key)',
  );
  await using _ = client;
  await client.query(`
    insert into syncline.transfer (schema_name, table_name, region, generation, state, sealed_at, reason)
    values ('public', 't', 'eu', 1, 'done', 1, null), ('public', 't', 'us', 1, 'done', 1, null),
           ('public', 't', 'gone', 2, 'published', null, null),
           ('public', 'u', 'eu', 1, 'published', null, null), ('public', 'u', 'us', 1, 'refused', null, 'rows merge'),
           ('public', 'u', 'gone', 2, 'refused', null, 'it left')`);
  await client.query(`alter publication ${PUBLICATION} add table public.t, public.u`);
  await kept(url, async (keeper) => {
    await waitFor(() => keeper.problems.length > 0, { what: 'the table to be told that us refuses', limitMs });
    assert.deepEqual(keeper.problems, [
      {
        code: 'SYN-K031',
        detail: 'rows of public.u from before it was published are not sent: us: rows merge',
        table: 'public.u',
      },
    ]);
    assert.deepEqual(
      keeper.progress.map(({ table, region }) => `${table} ${region}`),
      ['public.u eu', 'public.u us'],
    );
  });
});
