// A connection in replication mode: first for commands, then, after start(), for one stream.
//
// The client library logs in and runs the commands. It does not run the stream: it would hand out
// views of a buffer that it reuses, and has no backpressure. So the socket changes hands. This
// happens while the server waits for a command, before START_REPLICATION is sent, when no byte is
// under way: whatever the server answers, the switch to streaming and the first rows in one chunk
// included, meets our framing. (Taking over once the library reports the switch loses what came
// with it.) With TLS the socket is the one that the library has wrapped, so nothing changes.

import { Client, type ClientConfig, DatabaseError } from 'pg';
import { lsnFromText, lsnToText } from '../../change/position.ts';
import { invariant } from '../../platform/assert.ts';
import { type ErrorContext, fail } from '../../platform/errors.ts';
import { connectError, describeUrl, PINNED, quoteIdent, quoteLiteral, type TextRow } from '../../platform/postgres.ts';
import type { AppliedWork } from './applied-work.ts';
import { FRAME_BYTES_MAX_DEFAULT } from './copy-framing.ts';
import { clientFailure, type ReplicationPhase } from './replication-errors.ts';
import { ReplicationStream, type StreamLimits } from './replication-stream.ts';

export interface ReplicationConnectionOptions {
  readonly url: string;
  /** Shown in pg_stat_replication, and the name that synchronous_standby_names may list. */
  readonly applicationName?: string;
  readonly connectTimeoutMs?: number;
}

export interface SystemIdentity {
  readonly systemId: string;
  readonly timeline: number;
  /** End of the WAL that is flushed. */
  readonly walFlushLsn: bigint;
  readonly database: string;
}

/** PostgreSQL 17: a standby can keep copies of its primary's logical slots. */
const FAILOVER_VERSION_NUM = 170_000;

export interface CreateSlotOptions {
  readonly slot: string;
  /** An exported snapshot lives until the next command on this connection. */
  readonly snapshot: 'export' | 'none';
  /** A temporary slot ends with the connection. */
  readonly temporary?: boolean;
}

export interface CreatedSlot {
  readonly slot: string;
  /** Everything that commits after this position is in the stream, all before it in the snapshot. */
  readonly consistentPoint: bigint;
  readonly snapshotName: string | undefined;
}

export interface StartOptions extends Partial<StreamLimits> {
  readonly slot: string;
  readonly publications: readonly string[];
  /** Where to begin; not given, or before the slot's confirmed position, the stream begins there. */
  readonly startLsn?: bigint;
  /** Tells the transactions whose row changes are left out of the stream, undecoded. */
  readonly applied?: AppliedWork;
  /** Whether that process of the server still streams, asked where it says nothing; unless given, silence means that it is lost. */
  readonly isAtWork?: (pid: number) => Promise<boolean>;
}

const MIB = 1024 * 1024;

const STREAM_LIMITS: StreamLimits = {
  queueBytesMax: 4 * MIB,
  frameBytesMax: FRAME_BYTES_MAX_DEFAULT,
  statusIntervalMs: 1000,
  confirmDelayMs: 50,
  shutdownGraceMs: 5000,
  silenceLimitMs: 60_000,
  stopLimitMs: 2000,
};

const CONNECT_TIMEOUT_MS = 10_000;

// The output plugin prints values as the session is set, so the text of a value must not depend on
// the role's, the database's or the server's settings. client_min_messages must let through the
// warning by which servers from 18 on tell that a publication is missing. The timeouts would cut a
// stream, or the wait for a slot's consistent point, in good health.
const SESSION_SETTINGS = {
  ...PINNED,
  client_min_messages: 'warning',
  statement_timeout: '0',
  lock_timeout: '0',
  idle_in_transaction_session_timeout: '0',
  idle_session_timeout: '0',
};

// One statement, because in replication mode PostgreSQL 14 takes no second one in a query.
const SETUP_SQL = `SELECT ${Object.entries(SESSION_SETTINGS)
  .map(([name, value]) => `pg_catalog.set_config(${quoteLiteral(name)}, ${quoteLiteral(value)}, false)`)
  .join(', ')}`;

export class ReplicationConnection implements AsyncDisposable {
  readonly #client: Client;
  #serverVersionNum = 0;
  #stream: ReplicationStream | undefined;

  private constructor(client: Client) {
    this.#client = client;
  }

  static async connect(options: ReplicationConnectionOptions): Promise<ReplicationConnection> {
    const client = makeClient(options);
    const connection = new ReplicationConnection(client);
    try {
      await client.connect();
      await client.query(SETUP_SQL);
      connection.#serverVersionNum = Number(
        text(await connection.#row('SHOW server_version_num'), 'server_version_num'),
      );
      return connection;
    } catch (error) {
      client.connection.stream.destroy();
      if (!(error instanceof DatabaseError)) throw connectError(error, options.url);
      throw clientFailure(error, 'connect', { database: describeUrl(options.url) });
    }
  }

  get hasFailoverSlots(): boolean {
    return this.#serverVersionNum >= FAILOVER_VERSION_NUM;
  }

  /** As in server_version_num: 180004 is 18.4. */
  get serverVersionNum(): number {
    return this.#serverVersionNum;
  }

  async identifySystem(): Promise<SystemIdentity> {
    const row = await this.#row('IDENTIFY_SYSTEM');
    return {
      systemId: text(row, 'systemid'),
      timeline: Number(text(row, 'timeline')),
      walFlushLsn: lsnFromText(text(row, 'xlogpos')),
      database: text(row, 'dbname'),
    };
  }

  /** Waits until every transaction that is running now has ended. */
  async createSlot(options: CreateSlotOptions): Promise<CreatedSlot> {
    const temporary = options.temporary === true ? 'TEMPORARY ' : '';
    const snapshot = options.snapshot === 'export' ? 'EXPORT_SNAPSHOT' : 'NOEXPORT_SNAPSHOT';
    // The form without parentheses is understood from 14 to 18; the newer one from 15 on, failover from 17 on.
    const isKept = this.hasFailoverSlots && options.temporary !== true;
    const how = isKept
      ? `(SNAPSHOT '${options.snapshot === 'export' ? 'export' : 'nothing'}', FAILOVER true)`
      : snapshot;
    const sql = `CREATE_REPLICATION_SLOT ${quoteIdent(options.slot)} ${temporary}LOGICAL pgoutput ${how}`;
    const row = await this.#row(sql, 'create-slot', { slot: options.slot });
    return {
      slot: text(row, 'slot_name'),
      consistentPoint: lsnFromText(text(row, 'consistent_point')),
      snapshotName: row.snapshot_name ?? undefined,
    };
  }

  /** Lets standbys that keep in step with this server have a copy of the slot, so that it outlives a failover. */
  async letFailOver(slot: string): Promise<void> {
    await this.#rows(`ALTER_REPLICATION_SLOT ${quoteIdent(slot)} (FAILOVER true)`, 'start', { slot });
  }

  /** Hands the connection over to the stream, and resolves once the server has begun to stream. */
  async start(options: StartOptions): Promise<ReplicationStream> {
    this.#assertCommandMode();
    invariant(options.publications.length > 0, 'a stream needs a publication');
    const { slot, startLsn = 0n } = options;
    const socket = this.#client.connection.stream;
    // Only the library's parser goes: its other listeners notice when the connection ends.
    socket.removeAllListeners('data');
    const context = { slot, publications: options.publications, startLsn: lsnToText(startLsn) };
    const { applied, isAtWork } = options;
    const stream = new ReplicationStream(socket, startLsn, withDefaults(options), context, {
      applied,
      isAtWork: isAtWork && (() => isAtWork(this.#pid)),
    });
    this.#stream = stream;
    this.#client.connection.query(this.#startCommand(options));
    await stream.started;
    return stream;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#stream !== undefined) {
      await this.#stream.stop();
      return;
    }
    const { stream: socket } = this.#client.connection;
    const timer = setTimeout(() => socket.destroy(), STREAM_LIMITS.stopLimitMs);
    await this.#client.end();
    clearTimeout(timer);
  }

  /** Of the server's process. */
  get #pid(): number {
    const { processID: pid } = this.#client as Client & { readonly processID: number | null };
    invariant(pid !== null, 'a server says which process serves a connection');
    return pid;
  }

  #startCommand(options: StartOptions): string {
    const names = options.publications.map((name) => quoteIdent(name)).join(',');
    const plugin = [`proto_version '1'`, `publication_names ${quoteLiteral(names)}`, `messages 'true'`];
    const slot = quoteIdent(options.slot);
    return `START_REPLICATION SLOT ${slot} LOGICAL ${lsnToText(options.startLsn ?? 0n)} (${plugin.join(', ')})`;
  }

  async #row(sql: string, phase: ReplicationPhase = 'command', context: ErrorContext = {}): Promise<TextRow> {
    const [row] = await this.#rows(sql, phase, context);
    if (row === undefined) throw fail('SYN-K006', `the server answered ${sql} with no row`, { context });
    return row;
  }

  async #rows(sql: string, phase: ReplicationPhase, context: ErrorContext): Promise<TextRow[]> {
    this.#assertCommandMode();
    try {
      return (await this.#client.query<TextRow>(sql)).rows;
    } catch (error) {
      throw clientFailure(error, phase, context);
    }
  }

  #assertCommandMode(): void {
    invariant(this.#stream === undefined, 'the connection runs a stream and takes no commands');
  }
}

const AS_TEXT: NonNullable<ClientConfig['types']> = { getTypeParser: () => (value: string) => value };

function makeClient(options: ReplicationConnectionOptions): Client {
  const config: ClientConfig & { replication: 'database' } = {
    connectionString: options.url,
    replication: 'database',
    types: AS_TEXT,
    application_name: options.applicationName ?? 'syncline',
    connectionTimeoutMillis: options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
  };
  let client: Client;
  try {
    client = new Client(config);
  } catch (cause) {
    // The message of the cause may quote the URL, and with it the password.
    throw fail('SYN-C004', `database: not a valid PostgreSQL URL (${cause instanceof Error ? cause.name : 'error'})`);
  }
  if (!client.password) {
    const ask = (): never => {
      throw fail('SYN-P008', 'the server asks for a password, and neither the URL nor PGPASSWORD has one');
    };
    Object.defineProperty(client, 'password', { value: ask, enumerable: false, writable: true });
  }
  // A connection that breaks between commands is reported by the next one.
  client.on('error', () => undefined);
  return client;
}

function withDefaults(options: Partial<StreamLimits>): StreamLimits {
  return {
    queueBytesMax: options.queueBytesMax ?? STREAM_LIMITS.queueBytesMax,
    frameBytesMax: options.frameBytesMax ?? STREAM_LIMITS.frameBytesMax,
    statusIntervalMs: options.statusIntervalMs ?? STREAM_LIMITS.statusIntervalMs,
    confirmDelayMs: options.confirmDelayMs ?? STREAM_LIMITS.confirmDelayMs,
    shutdownGraceMs: options.shutdownGraceMs ?? STREAM_LIMITS.shutdownGraceMs,
    silenceLimitMs: options.silenceLimitMs ?? STREAM_LIMITS.silenceLimitMs,
    stopLimitMs: options.stopLimitMs ?? STREAM_LIMITS.stopLimitMs,
  };
}

function text(row: TextRow, column: string): string {
  const value = row[column];
  if (value === null || value === undefined) throw fail('SYN-K006', `the server's answer lacks ${column}`);
  return value;
}
