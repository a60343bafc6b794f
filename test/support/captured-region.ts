// A database whose changes are captured into a log, for tests of the whole way from a commit to a record.
//
//   await using region = await CapturedRegion.make(server);
//   await region.sql.query('create table public.t (id int primary key)');
//   await using capture = await region.capture();
//   const [transaction] = await region.transactions(1);

import assert from 'node:assert/strict';
import { Capture, type CaptureState } from '../../src/capture/capture.ts';
import { Lease, type LeaseOptions } from '../../src/capture/lease.ts';
import type { CaptureOptions } from '../../src/capture/session-start.ts';
import { captureName, type PublicationReport } from '../../src/capture/tables/publication.ts';
import type { ChangeEvent } from '../../src/change/change-event.ts';
import { NotesLedger } from '../../src/clock/notes-ledger.ts';
import { Stability } from '../../src/clock/stability.ts';
import type { EventLog } from '../../src/log/event-log.ts';
import { MemoryLog } from '../../src/log/memory-log.ts';
import type { GiantItem, HeartbeatItem, RunItem, TransactionItem } from '../../src/log/stream-item.ts';
import { TransactionReader } from '../../src/log/transaction-reader.ts';
import { type ErrorCode, SynclineError } from '../../src/platform/errors.ts';
import { migrate } from '../../src/platform/migrations.ts';
import { connect, type PostgresClient } from '../../src/platform/postgres.ts';
import type { PostgresServer } from './postgres-server.ts';
import { waitFor } from './wait-for.ts';

export type StreamContent = {
  readonly transactions: readonly TransactionItem[];
  readonly heartbeats: readonly HeartbeatItem[];
  readonly runs: readonly RunItem[];
};

/** Leases of tests expire soon, so that a takeover takes no minute. */
export const LEASE_TEST_LIMITS = { renewMs: 100, expiryMs: 1_500 };

export type CaptureOverrides = Partial<CaptureOptions> & { readonly lease?: Lease };

/** A capture with the lease that it holds. */
export class RunningCapture implements AsyncDisposable {
  readonly capture: Capture;
  readonly lease: Lease;
  readonly states: readonly CaptureState[];
  readonly reports: readonly PublicationReport[];

  constructor(capture: Capture, lease: Lease, states: readonly CaptureState[], reports: readonly PublicationReport[]) {
    this.capture = capture;
    this.lease = lease;
    this.states = states;
    this.reports = reports;
  }

  async streaming(): Promise<void> {
    const isDecided = (): boolean => this.capture.state.kind === 'streaming' || this.capture.state.kind === 'stopped';
    await waitFor(isDecided, { what: 'capture streams' });
    if (this.capture.state.kind === 'stopped') throw this.capture.state.error;
  }

  /** Waits until it has stopped by itself, and checks why. */
  async stoppedWith(code: ErrorCode): Promise<SynclineError> {
    await waitFor(() => this.capture.state.kind === 'stopped', { what: `capture stops with ${code}` });
    return errorOf(this.capture.state, code);
  }

  /** Waits until it tries again because of that. */
  async retryingWith(code: ErrorCode): Promise<SynclineError> {
    await waitFor(() => this.states.some((state) => state.kind === 'retrying' && hasCode(state.error, code)), {
      what: `capture retries because of ${code}`,
    });
    return errorOf(
      this.states.findLast((state) => state.kind === 'retrying' && hasCode(state.error, code)),
      code,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.capture.stop();
    await this.lease[Symbol.asyncDispose]();
  }
}

const hasCode = (error: unknown, code: ErrorCode): boolean => error instanceof SynclineError && error.code === code;

function errorOf(state: CaptureState | undefined, code: ErrorCode): SynclineError {
  const error = state !== undefined && 'error' in state ? state.error : undefined;
  assert.ok(error instanceof SynclineError, `${String(error)} ${error instanceof Error ? error.stack : ''}`);
  assert.equal(error.code, code, error.message);
  return error;
}

export class CapturedRegion implements AsyncDisposable {
  readonly region: string;
  readonly database: string;
  readonly url: string;
  readonly sql: PostgresClient;
  log: EventLog;

  private constructor(database: string, url: string, sql: PostgresClient, log: EventLog) {
    this.region = database.replaceAll('_', '-');
    this.database = database;
    this.url = url;
    this.sql = sql;
    this.log = log;
  }

  static async make(server: PostgresServer, log: EventLog = new MemoryLog()): Promise<CapturedRegion> {
    const database = await server.createDatabase();
    const url = server.url(database);
    const sql = await connect(url, { applicationName: 'test' });
    await migrate(sql);
    return new CapturedRegion(database, url, sql, log);
  }

  get slot(): string {
    return captureName(this.region);
  }

  leaseOptions(more: Partial<LeaseOptions> = {}): LeaseOptions {
    return { url: this.url, region: this.region, slot: this.slot, limits: LEASE_TEST_LIMITS, ...more };
  }

  options(lease: Lease, overrides: Partial<CaptureOptions> = {}): CaptureOptions {
    return {
      region: this.region,
      url: this.url,
      log: this.log,
      lease,
      ledger: new NotesLedger(),
      stability: new Stability(this.region, []),
      publication: { name: this.slot, include: ['*.*'], exclude: [], identity: 'full' },
      slot: this.slot,
      baseline: 'trust',
      heartbeatMs: 50,
      members: () => [this.region],
      ...overrides,
    };
  }

  /** Starts capturing, and resolves once it streams. */
  async capture(overrides: CaptureOverrides = {}): Promise<RunningCapture> {
    const running = await this.startCapture(overrides);
    await running.streaming();
    return running;
  }

  async startCapture(overrides: CaptureOverrides = {}): Promise<RunningCapture> {
    const lease = overrides.lease ?? (await Lease.acquire(this.leaseOptions()));
    const states: CaptureState[] = [];
    const reports: PublicationReport[] = [];
    const capture = Capture.start(this.options(lease, overrides), {
      onState: (state) => states.push(state),
      onPublication: (report) => reports.push(report),
    });
    return new RunningCapture(capture, lease, states, reports);
  }

  /** Everything that the stream holds now, by the rules of readers; checks that each names the one before it. */
  async stream(): Promise<StreamContent> {
    await using reader = await this.log.reader(this.region);
    const items = new TransactionReader(reader, 0, { rows_max: 2_000_000, bytes_max: 2 ** 40 });
    const transactions: TransactionItem[] = [];
    const heartbeats: HeartbeatItem[] = [];
    const runs: RunItem[] = [];
    let predecessor: string | null = null;
    for await (const item of items.items()) {
      if (item.kind === 'run') {
        runs.push(item);
        continue;
      }
      const { position, predecessor: named } = item.kind === 'heartbeat' ? item.heartbeat : item;
      assert.equal(named, predecessor);
      predecessor = position;
      if (item.kind === 'heartbeat') heartbeats.push(item);
      else if (item.kind === 'transaction') transactions.push(item);
      else transactions.push({ ...item, kind: 'transaction', events: await eventsOf(item) });
    }
    return { transactions, heartbeats, runs };
  }

  /** The first transactions of the stream, once so many are there. */
  async transactions(count: number): Promise<readonly TransactionItem[]> {
    return await waitFor(
      async () => {
        const { transactions } = await this.stream();
        return transactions.length >= count && transactions;
      },
      { what: `${count} transactions are published` },
    );
  }

  /** The events of the transaction with that number, from 0. */
  async events(place: number): Promise<readonly ChangeEvent[]> {
    return (await this.transactions(place + 1))[place]?.events ?? [];
  }

  /** Waits until everything that is committed now is in the stream. */
  async settled(): Promise<StreamContent> {
    const { rows } = await this.sql.query('select pg_current_wal_insert_lsn() as lsn');
    const lsn = rows[0]?.lsn ?? '';
    await waitFor(
      async () => {
        const found = await this.sql.query(
          'select confirmed_flush_lsn >= $2::pg_lsn as reached from pg_replication_slots where slot_name = $1',
          [this.slot, lsn],
        );
        return found.rows[0]?.reached === 't';
      },
      { what: 'the slot is confirmed up to here', limitMs: 120_000 },
    );
    return await this.stream();
  }

  /** Waits until the database holds that note. */
  async noted(key: string): Promise<void> {
    await waitFor(
      async () => (await this.sql.query('select from syncline.meta where key = $1', [key])).rows.length > 0,
      { what: `the note ${key}` },
    );
  }

  async slotColumn(column: 'confirmed_flush_lsn' | 'active_pid'): Promise<string | null> {
    const sql = `select ${column} from pg_replication_slots where slot_name = $1`;
    return (await this.sql.query(sql, [this.slot])).rows[0]?.[column] ?? null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.sql.end();
  }
}

async function eventsOf(giant: GiantItem): Promise<readonly ChangeEvent[]> {
  const events: ChangeEvent[] = [];
  for await (const piece of giant.chunks()) events.push(...piece);
  return events;
}
