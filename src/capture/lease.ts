/**
 * The lease of a region: one row that says which agent serves it.
 *
 * The holder renews its row every second. Another agent stands back while the lease is young, and takes it over once it
 * is not: then the holder is dead, or so paused that nobody can tell the difference. What is young is decided by the
 * database's clock alone. An agent that finds the lease young watches it for a while: a holder that lives renews, and
 * the agent gives up; one that was killed does not, and its successor takes over without anybody's help.
 *
 * The lease is a courtesy that keeps two agents from fighting; safety does not rest on it. A holder that was paused may
 * go on for a moment without knowing. Runs make what it still appends void, and numbers of runs are handed out here,
 * only to the holder, so that no two agents ever have the same one. Its backends, which may hold the slot and the
 * replication origins, are terminated by whoever takes over.
 */
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { fail, type SynclineError, sqlStateOf } from '../platform/errors.ts';
import { connect, type PostgresClient } from '../platform/postgres.ts';
import { unlessAborted } from '../platform/unless-aborted.ts';

export type LeaseLimits = {
  readonly renewMs: number;
  /** A lease that was not renewed for so long may be taken over. */
  readonly expiryMs: number;
  /** How long a taker waits for terminated backends to be gone. */
  readonly terminateMs: number;
};

export const LEASE_LIMITS: LeaseLimits = { renewMs: 1_000, expiryMs: 6_000, terminateMs: 10_000 };

export type LeaseOptions = {
  readonly url: string;
  readonly region: string;
  /** The replication slot, whose user may be a backend of the holder before. */
  readonly slot: string;
  readonly limits?: Partial<LeaseLimits>;
  /** Ends the wait for the lease, and for the word that it is held. */
  readonly signal?: AbortSignal;
};

/** One row: an agent serves one region, and a database is one region. */
const NAME = 'agent';
const POLL_MS = 100;
/** A renewal that hangs is worth nothing: its connection is given up and made anew. */
const PATIENCE = { statementTimeoutMs: 5_000 };
/** A database that does not answer gets nothing back: the lease expires by itself. */
const GIVE_BACK_MS = 2_000;
/** A holder's name in application_name: enough of its id to tell it from others. */
const HOLDER_CHARACTERS = 8;

export class Lease implements AsyncDisposable {
  readonly #options: LeaseOptions;
  readonly #limits: LeaseLimits;
  readonly #id = randomUUID();
  readonly #lost = new AbortController();
  #client: PostgresClient | undefined;
  #connecting: Promise<PostgresClient> | undefined;
  #renewing: Promise<void> | undefined;
  readonly #stop = new AbortController();
  /** Cuts the connection, whatever it waits for. */
  readonly #cut = new AbortController();

  private constructor(options: LeaseOptions) {
    this.#options = options;
    this.#limits = { ...LEASE_LIMITS, ...options.limits };
  }

  /** Takes the lease, or refuses with SYN-K005. */
  static async acquire(options: LeaseOptions): Promise<Lease> {
    const lease = new Lease(options);
    try {
      await unlessAborted(lease.#take(), options.signal);
      lease.#renewing = lease.#renewForEver();
      return lease;
    } catch (error) {
      await lease[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Names the connections of this holder, so that a successor finds them. */
  applicationName(role: string): string {
    return `${prefixOf(this.#options.region)}${this.#id.slice(0, HOLDER_CHARACTERS)}/${role}`;
  }

  /** Aborted once another agent has the lease: this one has to end. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /** Makes sure that the lease is held at this moment. Throws SYN-L005 where another agent has it. */
  async assertHeld(): Promise<void> {
    await unlessAborted(this.#renew(), this.#options.signal);
  }

  /** The highest run that this database has handed out. */
  async lastRun(): Promise<number> {
    const { rows } = await (await this.#connected()).query('select run from syncline.lease where name = $1', [NAME]);
    return Number(rows[0]?.run ?? 0);
  }

  /** A number for a new run, above all that were handed out and above `highest`. */
  async nextRun(highest: number): Promise<number> {
    const { rows } = await (await this.#connected()).query(
      `update syncline.lease set run = greatest(run, $3::bigint) + 1 where name = $1 and holder = $2 returning run`,
      [NAME, this.#holder, String(highest)],
    );
    if (rows[0]?.run == null) throw this.#lose();
    return Number(rows[0].run);
  }

  /** Gives the lease back, so that the next agent need not wait for its expiry. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(fail('SYN-P009', 'the lease is being given back'));
    const limit = setTimeout(() => this.#cut.abort(), GIVE_BACK_MS);
    await this.#renewing;
    await this.#connecting?.catch(() => undefined);
    if (this.#client?.lost.aborted === false) await this.#giveBack(this.#client).catch(() => undefined);
    await this.#client?.end();
    clearTimeout(limit);
  }

  async #giveBack(client: PostgresClient): Promise<void> {
    // A statement whose connection was cut goes on in the server until it has something to say.
    await client.query(
      `select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid() and starts_with(application_name, $1)`,
      [this.applicationName('')],
    );
    // The row stays: it knows the highest run.
    await client.query(`update syncline.lease set renewed_at = '-infinity' where name = $1 and holder = $2`, [
      NAME,
      this.#holder,
    ]);
  }

  get #holder(): string {
    return `${this.#id} pid ${process.pid} on ${hostname()}`;
  }

  async #take(): Promise<void> {
    let seen: string | null = null;
    for (;;) {
      const { rows } = await (await this.#connected()).query(
        `insert into syncline.lease as l (name, holder, run, backend_pids) values ($1, $2, 0, array[pg_backend_pid()])
         on conflict (name) do update
           set holder = excluded.holder, backend_pids = excluded.backend_pids,
               taken_at = clock_timestamp(), renewed_at = clock_timestamp()
           where not l.renewed_at between clock_timestamp() - $3::interval and clock_timestamp() + $3::interval
         returning holder`,
        [NAME, this.#holder, `${this.#limits.expiryMs} milliseconds`],
      );
      if (rows[0] !== undefined) {
        await this.#terminateOthers();
        return;
      }
      const { holder, renewed_at } = await this.#holderNow();
      if (seen !== null && renewed_at !== seen) {
        throw fail('SYN-K005', `region ${this.#options.region} is served by ${holder}`, { context: { holder } });
      }
      seen = renewed_at;
      await delay(POLL_MS);
    }
  }

  async #holderNow(): Promise<{ holder: string; renewed_at: string | null }> {
    const client = await this.#connected();
    const { rows } = await client.query('select holder, renewed_at from syncline.lease where name = $1', [NAME]);
    return { holder: rows[0]?.holder ?? 'nobody', renewed_at: rows[0]?.renewed_at ?? null };
  }

  /** Ends every backend of earlier holders, and of the slot, and waits until they are gone. */
  async #terminateOthers(): Promise<void> {
    const { region, slot } = this.#options;
    const others = `
      from pg_stat_activity a
     where a.datname = current_database() and a.pid <> pg_backend_pid()
       and not starts_with(a.application_name, $2)
       and (starts_with(a.application_name, $1)
            or a.pid = (select active_pid from pg_replication_slots where slot_name = $3))`;
    const values = [prefixOf(region), this.applicationName(''), slot];
    const end = performance.now() + this.#limits.terminateMs;
    for (;;) {
      const client = await this.#connected();
      const { rows } = await client
        .query(`select a.pid, pg_terminate_backend(a.pid) ${others}`, values)
        .catch(async (cause: unknown) => await this.#mayNotEnd(`select a.pid, a.usename ${others}`, values, cause));
      if (rows.length === 0) return;
      if (performance.now() > end) {
        const pids = rows.map(({ pid }) => pid).join(', ');
        throw fail('SYN-K004', `backends ${pids} of an earlier agent do not end`, { context: { pids } });
      }
      await delay(POLL_MS);
    }
  }

  /** A backend of a role that this one may not end is somebody else's. */
  async #mayNotEnd(sql: string, values: readonly string[], cause: unknown): Promise<never> {
    if (sqlStateOf(cause) !== '42501') throw cause;
    const { rows } = await (await this.#connected()).query(sql, values);
    const holders = rows.map(({ pid, usename }) => `backend ${pid} of ${usename}`).join(', ');
    const detail = `slot ${this.#options.slot} is held by ${holders}, which this role may not end`;
    throw fail('SYN-K004', detail, { cause, context: { slot: this.#options.slot } });
  }

  async #renewForEver(): Promise<void> {
    while (!this.#stop.signal.aborted && !this.#lost.signal.aborted) {
      await delay(this.#limits.renewMs, undefined, { signal: this.#stop.signal }).catch(() => undefined);
      // A database that is away is tried again with the next round; whether the lease is lost only it can tell.
      if (!this.#stop.signal.aborted) await this.#renew().catch(() => undefined);
    }
  }

  async #renew(): Promise<void> {
    const sql = 'update syncline.lease set renewed_at = clock_timestamp() where name = $1 and holder = $2';
    const { rowCount } = await (await this.#connected()).query(sql, [NAME, this.#holder], { prepare: true });
    if (rowCount === 0) throw this.#lose();
  }

  /** The connection, made where there is none or it was lost; whoever asks meanwhile waits for the same one. */
  async #connected(): Promise<PostgresClient> {
    this.#lost.signal.throwIfAborted();
    this.#stop.signal.throwIfAborted();
    if (this.#client?.lost.aborted === false) return this.#client;
    this.#connecting ??= connect(this.#options.url, {
      applicationName: this.applicationName('lease'),
      ...PATIENCE,
      signal: this.#cut.signal,
    }).finally(() => {
      this.#connecting = undefined;
    });
    const client = await this.#connecting;
    this.#client = client;
    this.#stop.signal.throwIfAborted();
    return client;
  }

  #lose(): SynclineError {
    const { region } = this.#options;
    const lost = fail('SYN-L005', `another agent has taken over region ${region}`, { context: { region } });
    if (!this.#lost.signal.aborted) this.#lost.abort(lost);
    return lost;
  }
}

function prefixOf(region: string): string {
  return `syncline/${region}/`;
}
