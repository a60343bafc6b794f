/**
 * The baseline of a real region, read at any moment after its stream began: it must be what the tables held then.
 *
 * What is expected is read before the stream begins, when nobody writes.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type BaselineSession, type BaselineState, makeBaseline } from '../../src/capture/baseline.ts';
import { scanTables } from '../../src/capture/baseline-scan.ts';
import { readHistory } from '../../src/capture/slot/slot.ts';
import { compareBaselines, type TableBaseline } from '../../src/change/baseline.ts';
import { parseBaseline } from '../../src/change/stream-record.ts';
import { Snapshot } from '../../src/clock/snapshot.ts';
import { SynclineError, sqlStateOf } from '../../src/platform/errors.ts';
import { connect, type PostgresClient } from '../../src/platform/postgres.ts';
import { systemRandom } from '../../src/platform/random.ts';
import { CapturedRegion, type RunningCapture } from '../support/captured-region.ts';
import { CONTRACT_MAJORS } from '../support/postgres-majors.ts';
import { PostgresServer } from '../support/postgres-server.ts';
import { waitFor } from '../support/wait-for.ts';

const TABLES = `
  create type public.mood as enum ('sad', 'ok');
  create type public.pair as (a int, b text);
  create table public.item (
    id bigint primary key, "order" text, amount numeric, at timestamptz, flag boolean, code char(6), address inet,
    body bytea, doc jsonb, raw json, tags text[], span int4range, m public.mood, p public.pair,
    doubled numeric generated always as (amount * 2) stored);
  create table public.cut (region text, id int, v text, primary key (id, region)) partition by list (region);
  create table public.cut_eu partition of public.cut for values in ('eu');
  create table public.cut_rest partition of public.cut default;
  create table public.empty (id int primary key)`;
const ROWS = `
  insert into public.item
  select g, case g % 4 when 0 then null when 1 then '' when 2 then 'it''s \\ a, "b"' else 'NULL' end, g / 7.0, now(),
         g % 2 = 0, 'ab', '10.0.0.1', '\\xdead'::bytea, '{"a": 1}', '{"b":2,  "b":3}', array['x', null, 'y,z'],
         int4range(g, g + 5), 'ok', case when g % 5 = 0 then row(null, null)::public.pair else row(g, 'x')::public.pair end
    from generate_series(1, 500) g;
  insert into public.cut select case g % 2 when 0 then 'eu' else 'us' end, g, repeat('v', g) from generate_series(1, 200) g`;

/** Everything that the tables hold now. */
async function contentOf(region: CapturedRegion, tables: readonly string[]): Promise<readonly TableBaseline[]> {
  const { rows } = await region.sql.query('select pg_current_snapshot()::text as snapshot');
  const scan = await scanTables(
    {
      url: region.url,
      applicationName: 'test scan',
      tables: tables.map((table) => ({ schema: 'public', table })),
      begin: Snapshot.parse(rows[0]?.snapshot ?? ''),
      onWaiting: () => undefined,
      onProgress: () => undefined,
    },
    new AbortController().signal,
  );
  assert.ok(scan !== null);
  return [...scan.tables.values()].map((tally) => tally.result());
}

async function writeSomething(client: PostgresClient, writer: number, turn: number): Promise<void> {
  const id = systemRandom.below(600);
  await client.query(
    `insert into public.item (id, "order", p) values (${id}, 'n ${writer}', null)
     on conflict (id) do update set "order" = excluded."order", amount = ${turn}`,
  );
  await client.query('savepoint s');
  await client.query(`delete from public.item where id = ${(id * 7) % 600}`);
  if (turn % 2 === 0) await client.query('rollback to s');
  await client.query(`update public.cut set region = 'x${turn}', v = 'y' where id = ${id % 250}`);
}

const NAMES = ['item', 'cut', 'empty'];

/** Reads the baseline now, as a session of capture does, until it is cut off; what was kept before is forgotten first. */
async function readAgain(
  region: CapturedRegion,
  running: RunningCapture,
  cut?: AbortController,
): Promise<BaselineState> {
  let state: BaselineState = { kind: 'starting' };
  const session = await sessionOf(region, running, (next) => {
    state = next;
    if (next.kind === 'scanning') cut?.abort();
  });
  await makeBaseline(session, cut?.signal ?? new AbortController().signal);
  return state;
}

async function sessionOf(
  region: CapturedRegion,
  { capture }: RunningCapture,
  onState: (state: BaselineState) => void,
): Promise<BaselineSession> {
  await region.sql.query(`delete from syncline.meta where key = 'baseline'`);
  const history = await readHistory(region.sql);
  assert.ok(history !== null);
  return {
    region: region.region,
    url: region.url,
    applicationName: 'test baseline',
    mode: 'verify',
    writer: { append: async () => 0 },
    reader: async () => await region.log.reader(region.region),
    run: 1,
    epoch: history.began,
    history,
    members: () => [region.region],
    delays: () => ({}),
    durableLsn: () => capture.durableLsn ?? 0n,
    onState,
  };
}

function assertSame(state: BaselineState, expected: readonly TableBaseline[]): void {
  assert.equal(state.kind, 'known', JSON.stringify(state));
  if (state.kind === 'known') assert.deepEqual(state.tables, expected);
}

for (const version of CONTRACT_MAJORS) {
  describe(`the baseline of PostgreSQL ${version}`, () => {
    let server: PostgresServer;
    before(async () => {
      server = await PostgresServer.start({ version });
    });
    after(async () => await server.stop('immediate'));

    async function filled(): Promise<{ region: CapturedRegion; expected: readonly TableBaseline[] }> {
      const region = await CapturedRegion.make(server);
      await region.sql.query(TABLES);
      await region.sql.query(ROWS);
      return { region, expected: await contentOf(region, NAMES) };
    }

    test('is what the tables held where the stream begins, however late it is read and whatever was written since', async () => {
      const { region, expected } = await filled();
      await using _ = region;
      await using running = await region.capture();
      const stop = new AbortController();
      const writers = Array.from({ length: 3 }, async (_, writer) => {
        await using resources = new AsyncDisposableStack();
        const client = await connect(region.url, { applicationName: 'test writer' });
        resources.defer(async () => await client.end());
        for (let turn = 0; !stop.signal.aborted; turn += 1) {
          await client.query('begin');
          try {
            await writeSomething(client, writer, turn);
            await client.query(turn % 5 === 0 ? 'rollback' : 'commit');
          } catch (error) {
            await client.query('rollback');
            // Writers of many rows in any order meet deadlocks, and rows that move to another partition.
            if (!['40P01', '40001'].includes(sqlStateOf(error) ?? '')) throw error;
          }
        }
      });
      try {
        for (let turn = 0; turn < 6; turn += 1) {
          // Some attempts are cut off amid the reading, and must leave nothing behind.
          if (turn % 2 === 0) assertSame(await readAgain(region, running), expected);
          else assert.equal((await readAgain(region, running, new AbortController())).kind, 'scanning');
        }
      } finally {
        stop.abort();
        await Promise.all(writers);
      }
      assertSame(await readAgain(region, running), expected);
    });

    test('waits for no transaction that began since, and takes it back once it is committed', async () => {
      const { region, expected } = await filled();
      await using _ = region;
      await using running = await region.capture();
      await using resources = new AsyncDisposableStack();
      const open = await connect(region.url, { applicationName: 'test open' });
      resources.defer(async () => await open.end());
      await open.query('begin');
      await open.query('insert into public.empty values (1)');
      assertSame(await readAgain(region, running), expected);
      await open.query('commit');
      assertSame(await readAgain(region, running), expected);
    });

    test('is read with a lock on one partition at a time, so that nobody is in a deadlock with the reader', async () => {
      const { region, expected } = await filled();
      await using _ = region;
      await using user = await connect(region.url, { applicationName: 'test user' });
      await user.query('begin; lock table public.cut_rest in access exclusive mode');
      const scanning = contentOf(region, NAMES);
      const waits = `select from pg_stat_activity
        where datname = current_database() and application_name = 'test scan' and wait_event_type = 'Lock'`;
      await waitFor(async () => (await region.sql.query(waits)).rowCount > 0, { what: 'the scan waits for the user' });
      await user.query('lock table public.cut_eu in access exclusive mode');
      await user.query('commit');
      assert.deepEqual(await scanning, expected);
    });

    test('cannot be told of a table that was truncated or got other columns, and can of the others', async () => {
      const { region, expected } = await filled();
      await using _ = region;
      await using running = await region.capture();
      await region.sql.query('truncate public.cut');
      await region.sql.query(`update public.item set "order" = 'changed' where id < 10`);
      await region.sql.query('alter table public.item add column later int default 7');
      const state = await readAgain(region, running);
      assert.ok(state.kind === 'known');
      const untold = compareBaselines(state.tables, expected).untold;
      assert.deepEqual(
        untold.map(({ table, reason }) => `${table}: ${reason}`),
        ['public.item: its columns have changed since', 'public.cut: it was truncated before it was read'],
      );
      assert.equal(state.tables.find(({ table_name }) => table_name === 'empty')?.untold, null);
    });

    test('cannot be told once something of another region was applied', async () => {
      const { region } = await filled();
      await using _ = region;
      await using running = await region.capture();
      await region.sql.query(
        `insert into syncline.applied values ('us', '1000000000000000000:0000000000000001', gen_random_uuid(), 1)`,
      );
      const state = await readAgain(region, running);
      assert.deepEqual(state, { kind: 'untold', reason: 'rows of other regions were applied before it was read' });
    });

    test('a table that may not be read is told with its code, and read once it may be', async () => {
      const { region, expected } = await filled();
      await using _ = region;
      await using running = await region.capture();
      const role = `reader_${region.database}`;
      await region.sql.query(`create role ${role} login password 'x'`);
      await region.sql.query(`grant usage on schema syncline to ${role}`);
      await region.sql.query(`grant select, insert on syncline.meta, syncline.applied to ${role}`);
      await region.sql.query(`grant select on public.cut, public.cut_eu, public.cut_rest, public.empty to ${role}`);
      const url = new URL(region.url);
      url.username = role;
      url.password = 'x';
      const states: BaselineState[] = [];
      const session = await sessionOf(region, running, (state) => states.push(state));
      const reading = makeBaseline({ ...session, url: url.href }, new AbortController().signal);
      const failed = await waitFor(() => states.find(({ kind }) => kind === 'failed'), { what: 'the reading to fail' });
      assert.ok(failed.kind === 'failed' && failed.error instanceof SynclineError);
      assert.equal(failed.error.code, 'SYN-B004');
      await region.sql.query(`grant select on public.item to ${role}`);
      await reading;
      assertSame(states.at(-1) ?? { kind: 'starting' }, expected);
      await region.sql.query(`drop owned by ${role}; drop role ${role}`);
    });

    test('is in the stream of the first run and of every later one', async () => {
      const { region, expected } = await filled();
      await using _ = region;
      for (const runs of [1, 2]) {
        await using running = await region.capture({ baseline: 'verify' });
        const said = await waitFor(
          async () => {
            await using reader = await region.log.reader(region.region);
            const records = await reader.read(0, { records_max: 10_000, bytes_max: 2 ** 30 });
            const baselines = records.filter(({ kind }) => kind === 'baseline');
            return baselines.length === runs && baselines;
          },
          { what: 'the stream says the baseline' },
        );
        assert.equal(running.capture.baseline.kind, 'known');
        for (const { value } of said) {
          const record = parseBaseline(value);
          assert.deepEqual(record.tables, expected);
          assert.deepEqual([record.trusted, record.untold], [false, null]);
        }
        await region.sql.query(`insert into public.empty values (${runs})`);
      }
    });
  });
}

test('equal rows give equal digests in PostgreSQL 15 and 18, whatever the order of rows and columns', async () => {
  await using one = await PostgresServer.start({ version: 15 });
  await using other = await PostgresServer.start({ version: 18 });
  await using here = await CapturedRegion.make(one);
  await using there = await CapturedRegion.make(other);
  await here.sql.query('create table public.t (id int primary key, a text, b timestamptz)');
  await there.sql.query('create table public.t (b timestamptz, x int, id int, a text, primary key (id))');
  await there.sql.query('alter table public.t drop column x');
  await here.sql.query(
    `insert into public.t select g, 'é ' || g, timestamptz '2026-01-01' + g * interval '1 s' from generate_series(1, 900) g`,
  );
  await there.sql.query(
    `insert into public.t (id, a, b) select g, 'é ' || g, timestamptz '2026-01-01' + g * interval '1 s' from generate_series(900, 1, -1) g`,
  );
  const [a, b] = [await contentOf(here, ['t']), await contentOf(there, ['t'])];
  assert.deepEqual(a, b);
  assert.equal(a[0]?.rows, 900);
});
