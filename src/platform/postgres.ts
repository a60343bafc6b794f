// One connection to a PostgreSQL database, through the client library `pg`.
//
// Text. Every value comes back as the server's own text output, and goes in as text: a date or a
// number that became a JavaScript value on the way would lose microseconds or digits. The session
// settings that decide how text looks are pinned after each connect, since a role, a database or
// the URL may carry others. search_path is pg_catalog alone, so SQL names every schema; mind that
// an operator of an extension's type (citext, for example) then needs OPERATOR(schema.=).
//
// Pipelining. The library's pipeline mode is on: query() sends at once, without waiting for the
// answers before it, and answers come in order. Each query ends with its own Sync, so a failed one
// does not stop the next ones by itself. Inside a transaction block the server refuses them (25P02)
// and answers COMMIT with the tag ROLLBACK, as a success: so a commit counts only if its tag is
// COMMIT, which commit() checks. Outside of a block they run, each on its own: so nothing may be
// sent behind a BEGIN before the BEGIN is confirmed, or a cancel that hits the BEGIN turns a
// transaction into autocommit. transaction() keeps to that. A value that the library failed to
// encode would silently leave out one statement of a block: so all values are checked before.
//
// Loss. A lost connection fails every query in flight with SYN-P009 and aborts `lost`. A network
// that swallows packets closes nothing, so a connection that owes an answer and is silent for
// longer than its statement timeout allows is cut from this side.

import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { Client, type ClientConfig, DatabaseError, type QueryResult } from 'pg';
import { invariant } from './assert.ts';
import { fail, isInfrastructure, SynclineError, sqlStateOf } from './errors.ts';
import { replaceEach } from './replace-each.ts';
import { writeAsReplica } from './replica-role.ts';

export interface ConnectOptions {
  /** Shown in pg_stat_activity, so that an operator can tell connections apart. */
  readonly applicationName: string;
  /** `apply` writes as a replica: no triggers, no foreign-key checks. */
  readonly role?: 'apply' | 'control';
  readonly connectTimeoutMs?: number;
  /** 0 means none, and then silence is not limited either. */
  readonly statementTimeoutMs?: number;
  readonly lockTimeoutMs?: number;
  /** Cuts the connection once it aborts, also while it is being made; what is under way fails with SYN-P009 then. */
  readonly signal?: AbortSignal;
}

/** A value in PostgreSQL's text form, or NULL. */
export type TextValue = string | null;
export type TextRow = Record<string, TextValue>;

export interface TextResult<Row = TextRow> {
  readonly rows: Row[];
  /** Rows that the command returned or changed. */
  readonly rowCount: number;
  /** The command's tag without its count: SELECT, INSERT, COMMIT, ROLLBACK … */
  readonly command: string;
}

export interface QueryOptions {
  /** Parse once per connection and reuse the plan: for statements that run again and again. */
  readonly prepare?: boolean;
}

const CONNECT_TIMEOUT_MS = 10_000;
const STATEMENT_TIMEOUT_MS = 60_000;
const SILENCE_MARGIN_MS = 15_000;
const SILENCE_POLL_MS = 1_000;
const END_LIMIT_MS = 2_000;
const PARAMETERS_MAX = 65_535;
const PREPARED_MAX = 1_000;
const GATHERED_BYTES_MAX = 64 * 1024;

const RAW_TEXT = { getTypeParser: () => (value: string) => value } as unknown as NonNullable<ClientConfig['types']>;

/** How text looks, and what a session may meet: the same in every session, whoever makes it. */
export const PINNED = {
  client_encoding: 'UTF8',
  datestyle: 'ISO, YMD',
  intervalstyle: 'postgres',
  timezone: 'UTC',
  extra_float_digits: '3',
  bytea_output: 'hex',
  xmlbinary: 'base64',
  lc_monetary: 'C',
  search_path: 'pg_catalog',
  standard_conforming_strings: 'on',
  transform_null_equals: 'off',
  default_transaction_isolation: 'read committed',
  // A policy that would hide rows from the agent is an error instead of a silent half.
  row_security: 'off',
  // Short statements lose more to compilation than they gain.
  jit: 'off',
  // A vanished agent must not hold its row locks until somebody notices.
  tcp_keepalives_idle: '10',
  tcp_keepalives_interval: '5',
  tcp_keepalives_count: '4',
} as const;

/** Connects, pins the session's settings and tells failures apart by code. */
export async function connect(url: string, options: ConnectOptions): Promise<PostgresClient> {
  const statementTimeoutMs = options.statementTimeoutMs ?? STATEMENT_TIMEOUT_MS;
  const client = makeClient(url, options);
  const connection = new PostgresClient(client, statementTimeoutMs);
  try {
    const { signal } = options;
    signal?.throwIfAborted();
    signal?.addEventListener('abort', () => connection.destroy(), { once: true, signal: connection.lost });
    await client.connect();
    await connection.query(sessionSettings({ ...options, statementTimeoutMs }));
    if (options.role === 'apply') await writeAsReplica(connection, 'session');
    return connection;
  } catch (error) {
    connection.destroy();
    throw connectError(error, url);
  }
}

function makeClient(url: string, options: ConnectOptions): Client {
  let client: Client;
  try {
    client = new Client({
      connectionString: url,
      types: RAW_TEXT,
      pipeline: true,
      keepAlive: true,
      keepAliveInitialDelayMillis: 10_000,
      connectionTimeoutMillis: options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS,
    });
  } catch (cause) {
    // The message of the cause may quote the URL, and with it the password.
    const reason = cause instanceof Error ? cause.name : 'error';
    throw fail('SYN-C004', `database: not a valid PostgreSQL URL (${reason})`);
  }
  if (!client.password) {
    const ask = (): never => {
      throw fail('SYN-P008', 'the server asks for a password, and neither the URL nor PGPASSWORD has one');
    };
    Object.defineProperty(client, 'password', { value: ask, enumerable: false, writable: true });
  }
  return client;
}

/** The statements that pin a session, also for connections that are made elsewhere. */
export function sessionSettings(options: ConnectOptions): string {
  const settings: Record<string, string> = {
    ...PINNED,
    application_name: options.applicationName,
    statement_timeout: String(options.statementTimeoutMs ?? STATEMENT_TIMEOUT_MS),
    lock_timeout: String(options.lockTimeoutMs ?? 0),
  };
  return Object.entries(settings)
    .map(([name, value]) => `set ${name} = ${quoteLiteral(value)}`)
    .join('; ');
}

export function connectError(error: unknown, url: string): SynclineError {
  if (error instanceof SynclineError && error.code !== 'SYN-P009') return error;
  const where = describeUrl(url);
  const message = error instanceof Error ? error.message || error.name : String(error);
  const made = (code: Parameters<typeof fail>[0]): SynclineError =>
    fail(code, `${where}: ${message}`, { cause: error, context: { database: where } });
  const state = sqlStateOf(error);
  if (state?.startsWith('28')) return made('SYN-P008');
  if (state === '3D000') return made('SYN-P010');
  if (state === '42501')
    return made(/* of what a session begins with, only the replica role needs a grant */ 'SYN-P005');
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  if (/CERT|TLS|SSL|SIGNATURE/.test(code)) return made('SYN-P016');
  if (state === undefined || isInfrastructure(state)) return made('SYN-P009');
  return made('SYN-P011');
}

/** Host, port and database, for messages: never the password. */
export function describeUrl(url: string): string {
  const parsed = URL.parse(url);
  return parsed === null ? 'database' : `${parsed.host}${parsed.pathname}`;
}

export class PostgresClient {
  readonly #client: Client;
  readonly #lost = new AbortController();
  readonly #silence: NodeJS.Timeout | undefined;
  #prepared = new Map<string, string>();
  #preparedCount = 0;
  #pending = 0;
  #ending = false;
  #isGathering = false;

  constructor(client: Client, statementTimeoutMs: number) {
    this.#client = client;
    client.on('error', (error) => this.#lose(error));
    client.on('end', () => this.#lose(undefined));
    if (statementTimeoutMs > 0) this.#silence = this.#watchSilence(statementTimeoutMs + SILENCE_MARGIN_MS);
  }

  /** Aborted, with the error as its reason, once the connection is gone, also by end(). */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /** The pid of the server's backend. */
  get processId(): number | undefined {
    return (this.#client as unknown as { processID: number | null }).processID ?? undefined;
  }

  /** Rows as objects from column name to text. */
  async query<Row extends TextRow = TextRow>(
    sql: string,
    values: readonly TextValue[] = [],
    options: QueryOptions = {},
  ): Promise<TextResult<Row>> {
    return await this.#send<Row>(sql, values, options, undefined);
  }

  /** Rows as arrays: cheaper for many rows, and right where two columns share a name. */
  async queryArrays<Row extends readonly TextValue[] = readonly TextValue[]>(
    sql: string,
    values: readonly TextValue[] = [],
    options: QueryOptions = {},
  ): Promise<TextResult<Row>> {
    return await this.#send<Row>(sql, values, options, 'array');
  }

  /** Runs the work in a transaction block; the block is rolled back if the work or the commit fails. */
  async transaction<T>(work: () => Promise<T>, begin = 'begin'): Promise<T> {
    try {
      // Also when BEGIN fails: a cancel can hit it after the block was opened.
      await this.query(begin);
      const result = await work();
      await this.commit();
      return result;
    } catch (error) {
      if (!this.lost.aborted) await this.query('rollback').catch(() => undefined);
      throw error;
    }
  }

  /** Commits the open block, or throws SYN-A002 if the server rolled it back. */
  async commit(): Promise<void> {
    const { command } = await this.query('commit');
    if (command !== 'COMMIT') throw fail('SYN-A002', `COMMIT was answered with ${command}`);
  }

  /** Drops all prepared statements, whose result types no longer fit after DDL (0A000). */
  async forgetPrepared(): Promise<void> {
    this.#prepared = new Map();
    await this.query('deallocate all');
  }

  /** Says goodbye after what is in flight; cuts the connection if that takes too long. */
  async end(): Promise<void> {
    this.#ending = true;
    if (!this.lost.aborted) {
      const limit = new AbortController();
      await Promise.race([
        this.#client.end(),
        delay(END_LIMIT_MS, undefined, { signal: limit.signal }).catch(() => undefined),
      ]);
      limit.abort();
    }
    this.destroy();
  }

  /** Cuts the connection at once. */
  destroy(): void {
    this.#ending = true;
    this.#client.connection.stream.destroy();
    this.#lose(undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
  }

  async #send<Row>(
    sql: string,
    values: readonly TextValue[],
    options: QueryOptions,
    rowMode: 'array' | undefined,
  ): Promise<TextResult<Row>> {
    invariant(values.length <= PARAMETERS_MAX, `a statement takes at most ${PARAMETERS_MAX} parameters`);
    for (const value of values) invariant(value === null || typeof value === 'string', 'parameters are text or null');
    if (this.lost.aborted) throw this.lost.reason;
    const name = options.prepare === true ? this.#nameOf(sql) : undefined;
    this.#pending += 1;
    this.#gather();
    try {
      const answer: QueryResult | QueryResult[] = await this.#client.query({
        text: sql,
        values: values as TextValue[],
        ...(name === undefined ? {} : { name }),
        ...(rowMode === undefined ? {} : { rowMode }),
      });
      // Several statements in one text give several results; the last one stands for them.
      const result = Array.isArray(answer) ? answer.at(-1) : answer;
      invariant(result !== undefined, 'a query has a result');
      return { rows: result.rows as Row[], rowCount: result.rowCount ?? 0, command: result.command };
    } catch (error) {
      if (error instanceof DatabaseError) throw error;
      throw this.#lostError(error);
    } finally {
      this.#pending -= 1;
    }
  }

  /** What is sent in one turn of the event loop goes out together: each write by itself wakes the server anew. */
  #gather(): void {
    const { stream } = this.#client.connection;
    if (this.#isGathering) {
      // Enough for the server to begin with.
      if (stream.writableLength < GATHERED_BYTES_MAX) return;
      stream.uncork();
      stream.cork();
      return;
    }
    this.#isGathering = true;
    stream.cork();
    process.nextTick(() => {
      this.#isGathering = false;
      stream.uncork();
    });
  }

  #nameOf(sql: string): string | undefined {
    const known = this.#prepared.get(sql);
    if (known !== undefined || this.#prepared.size >= PREPARED_MAX) return known;
    this.#preparedCount += 1;
    const name = `s${this.#preparedCount}`;
    this.#prepared.set(sql, name);
    return name;
  }

  #lose(cause: Error | undefined): void {
    clearInterval(this.#silence);
    if (!this.#lost.signal.aborted) this.#lost.abort(this.#lostError(cause));
  }

  #lostError(cause: unknown): SynclineError {
    if (cause instanceof SynclineError) return cause;
    const what = this.#ending ? 'the connection was closed' : 'the connection was lost';
    return fail('SYN-P009', cause instanceof Error ? `${what}: ${cause.message}` : what, { cause });
  }

  /** Cuts the connection if it owes an answer and no byte has come for the limit. */
  #watchSilence(limitMs: number): NodeJS.Timeout {
    let bytesSeen = -1;
    let since = 0;
    const timer = setInterval(() => {
      const { bytesRead } = this.#client.connection.stream as Socket;
      if (this.#pending === 0 || bytesRead !== bytesSeen) {
        bytesSeen = bytesRead;
        since = performance.now();
      } else if (performance.now() - since > limitMs) {
        this.#client.connection.stream.destroy(new Error(`no answer for ${limitMs} ms`));
      }
    }, SILENCE_POLL_MS);
    return timer.unref();
  }
}

/** An SQL identifier, quoted. */
export function quoteIdent(name: string): string {
  invariant(name.length > 0 && !name.includes('\0'), 'an identifier has characters, none of them NUL');
  return `"${name.replaceAll('"', '""')}"`;
}

/** An SQL string literal, whatever standard_conforming_strings says. */
export function quoteLiteral(text: string): string {
  invariant(!text.includes('\0'), 'a literal holds no NUL');
  const quoted = `'${text.replaceAll("'", "''")}'`;
  return text.includes('\\') ? ` E${quoted.replaceAll('\\', '\\\\')}` : quoted;
}

/** The text of a one-dimensional array, so that one parameter carries a whole column of a batch. */
export function arrayText(values: readonly TextValue[]): string {
  // One text that grows: a list of texts to be joined costs twice as much.
  let text = '{';
  for (let place = 0; place < values.length; place += 1) {
    const value = values[place];
    if (place > 0) text += ',';
    if (value == null) text += 'NULL';
    // Few values hold what needs escaping, and looking for it first is several times faster.
    else text += `"${/["\\]/.test(value) ? replaceEach(value, /["\\]/g, '\\$&') : value}"`;
  }
  return `${text}}`;
}
