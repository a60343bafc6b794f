// Capture that is killed, cut off and started again: nothing is lost, nothing is published twice.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Lease } from '../../src/capture/lease.ts';
import { ReplicationConnection } from '../../src/capture/stream/replication-connection.ts';
import { covers, makePosition, positionEpoch } from '../../src/change/position.ts';
import { NotesLedger } from '../../src/clock/notes-ledger.ts';
import { SqlNoteStore } from '../../src/clock/sql-note-store.ts';
import { EmbeddedLog } from '../../src/log/embedded/embedded-log.ts';
import { MemoryLog } from '../../src/log/memory-log.ts';
import type { TransactionItem } from '../../src/log/stream-item.ts';
import type { ErrorCode } from '../../src/platform/errors.ts';
import { connect } from '../../src/platform/postgres.ts';
import { seededRandom } from '../../src/platform/random.ts';
import { CapturedRegion } from '../support/captured-region.ts';
import { PostgresServer } from '../support/postgres-server.ts';
import { waitFor } from '../support/wait-for.ts';

const PROCESS = join(import.meta.dirname, '../support/capture-process.ts');

type Line = { readonly kind: string; readonly memory_mb?: number; readonly rows?: number };

/** A capture in a process of its own, and what it prints. */
class CaptureProcess implements AsyncDisposable {
  readonly lines: Line[] = [];
  readonly #child: ChildProcess;
  readonly #exit: Promise<unknown>;

  constructor(region: CapturedRegion, folder: string) {
    const args = [PROCESS, region.url, region.region, folder];
    this.#child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#exit = once(this.#child, 'exit');
    if (this.#child.stdout !== null) {
      createInterface({ input: this.#child.stdout }).on('line', (line) => this.lines.push(JSON.parse(line) as Line));
    }
  }

  async streaming(): Promise<void> {
    await waitFor(() => this.lines.some(({ kind }) => kind === 'streaming'), { what: 'the process streams' });
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    this.#child.kill(signal);
    await this.#exit;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await this.end('SIGKILL');
  }
}

/** Clients that insert and change rows until they are told to stop; each row's id is used once. */
function startLoad(region: CapturedRegion, clients: number): { stop(): Promise<number> } {
  const stop = new AbortController();
  let nextId = 1;
  const client = async (): Promise<void> => {
    const sql = await connect(region.url, { applicationName: 'load' });
    while (!stop.signal.aborted) {
      const id = nextId;
      nextId += 2;
      await sql.query(`
        begin;
        insert into public.t values (${id}, 0), (${id + 1}, 0);
        update public.t set n = n + 1 where id in (${id}, ${Math.max(1, id - 20)});
        commit`);
    }
    await sql.end();
  };
  const done = Promise.all(Array.from({ length: clients }, client));
  return {
    stop: async () => {
      stop.abort();
      await done;
      return nextId - 1;
    },
  };
}

/** Plays the stream as a reader would, and checks it against the table: each event once, in an order that explains it. */
async function checkReplay(region: CapturedRegion, transactions: readonly TransactionItem[]): Promise<void> {
  const rows = new Map<string, string>();
  for (const { events } of transactions) {
    for (const { operation, row_pk, before_image, after_image } of events) {
      const id = row_pk.id ?? '';
      assert.equal(operation, rows.has(id) ? 'UPDATE' : 'INSERT');
      assert.equal(before_image?.n, rows.get(id));
      rows.set(id, after_image?.n ?? '');
    }
  }
  const { rows: found } = await region.sql.query('select id, n from public.t');
  assert.deepEqual(rows, new Map(found.map(({ id, n }) => [id ?? '', n ?? ''])));
}

describe('capture', () => {
  let server: PostgresServer;
  let folder: string;
  before(async () => {
    server = await PostgresServer.start();
    folder = await mkdtemp(join(tmpdir(), 'syncline-capture-'));
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  test('killed at any moment under load publishes every transaction once and whole', async () => {
    const directory = join(folder, 'killed');
    await using log = await EmbeddedLog.open(directory);
    await using region = await CapturedRegion.make(server, log);
    await region.sql.query('create table public.t (id int primary key, n int)');
    const random = seededRandom(7);
    {
      await using first = new CaptureProcess(region, directory);
      await first.streaming();
    }
    const load = startLoad(region, 3);
    try {
      for (let kill = 0; kill < 8; kill += 1) {
        await using capture = new CaptureProcess(region, directory);
        if (kill % 3 < 2) await capture.streaming();
        // The moment is what chance decides here; nothing is expected to have happened by then.
        await delay(random.below(500));
      }
    } finally {
      await load.stop();
    }
    await using capture = new CaptureProcess(region, directory);
    await capture.streaming();
    const { transactions, runs } = await region.settled();
    await capture.end('SIGTERM');
    assert.ok(runs.length > 6, `${runs.length} runs`);
    await checkReplay(region, transactions);
  });

  test('survives a crash of its server, and retries for as long as it is down', async () => {
    await using own = await PostgresServer.start();
    await using region = await CapturedRegion.make(own);
    await region.sql.query('create table public.t (id int primary key, n int)');
    await using running = await region.capture();
    await region.sql.query('insert into public.t values (1, 0)');
    await region.transactions(1);
    await own.kill9();
    await running.retryingWith('SYN-P009');
    await own.restart();
    await running.streaming();
    await using sql = await connect(region.url, { applicationName: 'test' });
    await sql.query('insert into public.t values (2, 0)');
    const found = await region.transactions(2);
    assert.deepEqual(
      found.map(({ events }) => events[0]?.row_pk.id),
      ['1', '2'],
    );
    assert.equal(running.capture.counts.rows, 2);
  });

  test('a transaction of a million rows streams through in bounded memory', async () => {
    await using region = await CapturedRegion.make(server);
    await region.sql.query('create table public.t (id int primary key, n int, note text)');
    await using capture = new CaptureProcess(region, 'discard');
    await capture.streaming();
    await region.sql.query(`insert into public.t select id, id, repeat('x', 100) from generate_series(1, 1000000) id`);
    const { rows } = await region.sql.query('select pg_current_wal_insert_lsn() as lsn');
    const sql = 'select confirmed_flush_lsn >= $2::pg_lsn as reached from pg_replication_slots where slot_name = $1';
    await waitFor(
      async () => (await region.sql.query(sql, [region.slot, rows[0]?.lsn ?? ''])).rows[0]?.reached === 't',
      {
        what: 'the transaction is confirmed',
        limitMs: 180_000,
      },
    );
    await capture.end('SIGTERM');
    const done = capture.lines.at(-1);
    assert.equal(done?.kind, 'done');
    assert.equal(done?.rows, 1_000_000);
    assert.ok((done?.memory_mb ?? 9_999) < 400, `${done?.memory_mb} MB`);
  });

  test('a slot that is gone is made anew with an epoch of its own, where nothing was written without it', async () => {
    await using region = await CapturedRegion.make(server);
    await region.sql.query('create table public.t (id int primary key)');
    {
      await using _ = await region.capture();
      await region.sql.query('insert into public.t values (1)');
      await region.settled();
    }
    await region.sql.query('select pg_drop_replication_slot($1)', [region.slot]);
    await using _ = await region.capture();
    await region.sql.query('insert into public.t values (2)');
    const [before, after] = await region.transactions(2);
    assert.ok(before !== undefined && after !== undefined);
    assert.ok(positionEpoch(after.position) > positionEpoch(before.position));
    assert.ok(covers(after.seen, region.region, before.position), 'it has seen what came before');
  });

  test('a slot that somebody made again or moved on is not taken for the one that was there', async () => {
    const makeAgain =
      ({ sql, slot }: CapturedRegion) =>
      async () => {
        await sql.query('select pg_drop_replication_slot($1)', [slot]);
        await sql.query('insert into public.t values (2)');
        await sql.query("select pg_create_logical_replication_slot($1, 'pgoutput')", [slot]);
      };
    const moveOn =
      ({ sql, slot }: CapturedRegion) =>
      async () => {
        await sql.query('insert into public.t values (2)');
        await sql.query('select pg_replication_slot_advance($1, pg_current_wal_lsn())', [slot]);
      };
    for (const make of [makeAgain, moveOn]) {
      await using region = await CapturedRegion.make(server);
      const meddle = make(region);
      await region.sql.query('create table public.t (id int primary key)');
      {
        await using _ = await region.capture();
        await region.sql.query('insert into public.t values (1)');
        await region.settled();
        await region.noted('slot_marked');
      }
      await meddle();
      await region.sql.query('insert into public.t values (3)');
      await using running = await region.startCapture();
      assert.match((await running.stoppedWith('SYN-K023')).message, /2 row\(s\) of public\.t/);
    }
  });

  test('a copy of the slot that lags behind what was confirmed is gone on with', async () => {
    await using region = await CapturedRegion.make(server);
    await region.sql.query('create table public.t (id int primary key)');
    {
      await using _ = await region.capture();
      await region.settled();
      await region.noted('slot_marked');
    }
    // As a tool leaves it on a standby that was behind: without the mark, and below what the database knows.
    await region.sql.query('select pg_replication_slot_advance($1, pg_current_wal_lsn())', [region.slot]);
    await region.sql.query("update syncline.meta set value = pg_current_wal_lsn()::text where key = 'slot_unmarked'");
    await region.sql.query('insert into public.t values (1)');
    await using _ = await region.capture();
    assert.equal((await region.events(0)).length, 1);
  });

  test('what was written while there was no slot stops capture, and leaves no slot behind', async () => {
    await using region = await CapturedRegion.make(server);
    await region.sql.query('create table public.t (id int primary key)');
    {
      await using _ = await region.capture();
      await region.sql.query('insert into public.t values (1), (2)');
      await region.settled();
    }
    await region.sql.query('select pg_drop_replication_slot($1)', [region.slot]);
    await region.sql.query('begin; savepoint s; insert into public.t values (3), (4); release s; commit');
    for (let start = 0; start < 2; start += 1) {
      await using running = await region.startCapture();
      assert.match((await running.stoppedWith('SYN-K023')).message, /2 row\(s\) of public\.t/);
      assert.equal(await region.slotColumn('confirmed_flush_lsn'), null);
    }
    await region.sql.query('delete from public.t where id > 2');
    await using _ = await region.capture();
  });

  test('a slot that is held by another backend is waited for', async () => {
    await using region = await CapturedRegion.make(server);
    await (await region.capture())[Symbol.asyncDispose]();
    const lease = await Lease.acquire(region.leaseOptions());
    await using holder = await ReplicationConnection.connect({ url: region.url });
    const stream = await holder.start({ slot: region.slot, publications: [region.slot] });
    await using running = await region.startCapture({ lease });
    await running.retryingWith('SYN-K004');
    await stream.stop();
    await running.streaming();
  });

  test('a slot of that name in another database is not taken for ours', async () => {
    await using region = await CapturedRegion.make(server);
    const sql = await connect(server.url(), { applicationName: 'test' });
    await sql.query("select pg_create_logical_replication_slot($1, 'pgoutput')", [region.slot]);
    await using running = await region.startCapture();
    const error = await running.retryingWith('SYN-K004');
    assert.match(error.message, /belongs to postgres/);
    await sql.query('select pg_drop_replication_slot($1)', [region.slot]);
    await sql.end();
    await running.streaming();
  });

  test('a log that is lost, or of another history, stops it before anything is confirmed', async () => {
    await using region = await CapturedRegion.make(server);
    await region.sql.query('create table public.t (id int primary key)');
    {
      await using _ = await region.capture();
      await region.sql.query('insert into public.t values (1)');
      await region.settled();
    }
    const confirmed = await region.slotColumn('confirmed_flush_lsn');
    const stops = async (code: ErrorCode, why: RegExp): Promise<void> => {
      await using running = await region.startCapture();
      assert.match((await running.stoppedWith(code)).message, why);
      assert.equal(await region.slotColumn('confirmed_flush_lsn'), confirmed);
    };
    const { log } = region;
    region.log = new MemoryLog();
    await stops('SYN-K009', /the log holds no stream/);

    region.log = log;
    await log.acknowledge(region.region, 'elsewhere', 1_000_000);
    await stops('SYN-K021', /elsewhere has read/);
    await log.acknowledge(region.region, 'elsewhere', 1);

    // As an older copy of the log: the acknowledgements in it are old as well.
    await using reader = await log.reader(region.region);
    const last = (await reader.bounds())?.last ?? 0;
    const mark = async (log_offset: number): Promise<void> => {
      await region.sql.query(
        `insert into syncline.applied (origin, position, event_id, log_offset)
         values ($1, '1000000000000000000:0000000000000001', gen_random_uuid(), $2)
         on conflict (origin) do update set log_offset = excluded.log_offset`,
        [region.region, String(log_offset)],
      );
    };
    await mark(last + 2);
    await stops('SYN-K021', new RegExp(`ends before offset ${last + 1}, which was applied`));
    await mark(last + 1);
    await stops('SYN-K021', new RegExp(`holds .* at offset ${last}, not `));
    await region.sql.query('delete from syncline.applied');

    await region.sql.query("update syncline.meta set value = '1' where key = 'system_id'");
    await stops('SYN-K020', /was served by cluster 1,/);

    await region.sql.query("delete from syncline.meta where key in ('epoch', 'slot_start_lsn')");
    await stops('SYN-K009', /has never published/);
  });

  test('nothing is stamped by notes that its server does not know', async () => {
    await using region = await CapturedRegion.make(server);
    const ledger = new NotesLedger();
    ledger.reset({ rows: [{ lsn: 2n ** 60n, seen: {}, max_hlc: 1n }], end: 0n });
    await using running = await region.startCapture({ ledger });
    await running.retryingWith('SYN-K024');
    ledger.reset({ rows: [], end: 0n });
    await running.streaming();
  });

  test('notes that a ledger does not hold are read when a transaction comes to them', async () => {
    await using region = await CapturedRegion.make(server);
    await region.sql.query('create table public.t (id int primary key)');
    const first = await region.capture();
    await region.settled();
    await first[Symbol.asyncDispose]();
    const seen: string[] = [];
    for (let n = 1; n <= 20; n += 1) {
      seen.push(makePosition('0000000000000000001', BigInt(n)));
      await region.sql.query(
        `insert into syncline.applied_at (xid, lsn, origin, seen, max_hlc)
         values (pg_current_xact_id(), pg_current_wal_insert_lsn(), 'us', $1, 0)`,
        [JSON.stringify({ us: seen.at(-1) })],
      );
      await region.sql.query('insert into public.t values ($1)', [String(n)]);
    }
    const ledger = new NotesLedger(2);
    ledger.reset(await new SqlNoteStore(region.sql).newest());
    await using _ = await region.capture({ ledger });
    const told = (await region.transactions(20)).map((transaction) => transaction.seen.us);
    assert.deepEqual(told, seen);
  });

  test('a first start that ended halfway begins again', async () => {
    await using region = await CapturedRegion.make(server);
    await region.sql.query("select pg_create_logical_replication_slot($1, 'pgoutput')", [region.slot]);
    await region.sql.query('create table public.t (id int primary key)');
    await using _ = await region.capture();
    await region.sql.query('insert into public.t values (1)');
    assert.equal((await region.events(0)).length, 1);
  });

  test('it can be stopped while it waits for a slot to be made', async () => {
    await using region = await CapturedRegion.make(server);
    await using writer = await connect(region.url, { applicationName: 'writer' });
    await writer.query('create table public.t (id int primary key)');
    await writer.query('begin; insert into public.t values (1)');
    const running = await region.startCapture();
    await waitFor(async () => (await region.slotColumn('active_pid')) !== null, { what: 'the slot is being made' });
    await running[Symbol.asyncDispose]();
    assert.equal(running.capture.state.kind, 'stopped');
    await writer.query('commit');
    await using again = await region.capture();
    assert.equal(again.capture.state.kind, 'streaming');
  });
});
