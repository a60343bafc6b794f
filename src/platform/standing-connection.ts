// A connection for occasional statements: made when one comes, made again after it was lost, and
// closed after a rest, so that an idle agent keeps no backend busy for nobody.
//
// A statement whose connection breaks is not repeated: it may have been carried out, and only the
// caller knows whether it bears that. Statements queue in the connection's pipeline; their number is
// bounded, so that a database that hangs turns callers away at once instead of gathering them.

import { fail } from './errors.ts';
import { type ConnectOptions, connect, type PostgresClient, type TextResult, type TextValue } from './postgres.ts';

/** What runs a statement: a connection, or something that finds one. */
export interface Queryable {
  query(sql: string, values?: readonly TextValue[]): Promise<TextResult>;
}

export interface StandingOptions extends ConnectOptions {
  /** How long an unused connection stays open. */
  readonly idleMs?: number;
  /** How many statements may wait for answers. */
  readonly pendingMax?: number;
}

type Connect = (url: string, options: ConnectOptions) => Promise<PostgresClient>;

const IDLE_MS = 60_000;
const PENDING_MAX = 64;

export class StandingConnection implements Queryable, AsyncDisposable {
  readonly #url: string;
  readonly #options: StandingOptions;
  readonly #connect: Connect;
  #opening: Promise<PostgresClient> | undefined;
  #client: PostgresClient | undefined;
  #pending = 0;
  #idle: NodeJS.Timeout | undefined;
  #ended = false;

  constructor(url: string, options: StandingOptions, connectTo: Connect = connect) {
    this.#url = url;
    this.#options = options;
    this.#connect = connectTo;
  }

  /** SYN-T009 where too many statements wait already. */
  async query(sql: string, values: readonly TextValue[] = []): Promise<TextResult> {
    if (this.#ended) throw fail('SYN-P009', 'the connection was closed');
    if (this.#pending >= (this.#options.pendingMax ?? PENDING_MAX)) {
      throw fail('SYN-T009', `${this.#pending} statements wait for the database`);
    }
    this.#pending += 1;
    clearTimeout(this.#idle);
    try {
      const client = await this.#open();
      return await client.query(sql, values);
    } finally {
      this.#pending -= 1;
      if (this.#pending === 0 && !this.#ended) this.#rest();
    }
  }

  /** Ends the connection after what is in flight. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended = true;
    clearTimeout(this.#idle);
    await this.#close();
  }

  /** Decides without waiting, so that callers who come together share one connection. */
  #open(): Promise<PostgresClient> {
    if (this.#opening !== undefined && this.#client?.lost.aborted !== true) return this.#opening;
    this.#client = undefined;
    const opening = this.#connect(this.#url, this.#options);
    this.#opening = opening;
    opening.then(
      (client) => {
        if (this.#opening === opening) this.#client = client;
      },
      () => {
        if (this.#opening === opening) this.#opening = undefined;
      },
    );
    return opening;
  }

  #rest(): void {
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => void this.#close(), this.#options.idleMs ?? IDLE_MS);
    this.#idle.unref();
  }

  async #close(): Promise<void> {
    const opening = this.#opening;
    this.#opening = undefined;
    this.#client = undefined;
    const client = await opening?.catch(() => undefined);
    await client?.end();
  }
}
