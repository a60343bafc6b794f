/**
 * Writers that keep a journal of their own, outside of any database: what was acknowledged to a client, and what was
 * lost in mid-commit.
 *
 * Every transaction has a unique token. It writes the token into one or two rows that all regions fight for, and for
 * each of them inserts a row into `ledger` that tells whose token it found there. `ledger` is only ever inserted into,
 * so once regions are settled it holds every transaction that took place, acknowledged or not, and what each of its
 * writes had seen in place.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { PostgresClient } from '../../src/platform/postgres.ts';
import { type Random, seededRandom } from '../../src/platform/random.ts';
import type { ClusterRegion } from './cluster.ts';
import { waitFor } from './wait-for.ts';

const ROWS = 16;
const ROWS_OF_TRANSACTION_MAX = 2;
/** A client thinks for up to so long, so that agents get their share of the processors. */
const THINKING_MS_MAX = 25;
const RECONNECT_MS = 50;
const COMMITS_LIMIT_MS = 300_000;

export const JOURNAL_SCHEMA = `
create table contended (id int primary key, token text not null);
insert into contended select id, 'start' from generate_series(1, ${ROWS}) as id;
create table ledger (token text, row_id int, prior text not null, region text not null, primary key (token, row_id));
`;

export type Attempt = {
  readonly token: string;
  readonly region: string;
  /** `open`: the commit was never sent. `unknown`: it was sent, and no answer came. */
  outcome: 'open' | 'unknown' | 'acknowledged';
};

/** Errors of the foreground that no crash explains. */
export type Surprise = { readonly region: string; readonly state: string; readonly message: string };

export class Journal {
  readonly attempts = new Map<string, Attempt>();
  readonly surprises: Surprise[] = [];
  #acknowledged = 0;

  begin(token: string, region: string): Attempt {
    const attempt: Attempt = { token, region, outcome: 'open' };
    this.attempts.set(token, attempt);
    return attempt;
  }

  acknowledge(attempt: Attempt): void {
    attempt.outcome = 'acknowledged';
    this.#acknowledged += 1;
  }

  get acknowledged(): number {
    return this.#acknowledged;
  }

  /** Waits until so many commits more than now were acknowledged, in whichever region. */
  async moreAcknowledged(count: number): Promise<void> {
    const wanted = this.#acknowledged + count;
    await waitFor(() => this.#acknowledged >= wanted, { what: `${count} more commits`, limitMs: COMMITS_LIMIT_MS });
  }
}

export class JournalWriters implements AsyncDisposable {
  readonly #stop = new AbortController();
  readonly #clients: Promise<void>[];

  constructor(regions: readonly ClusterRegion[], journal: Journal, options: { clients: number; seed: number }) {
    this.#clients = regions.flatMap((region, place) =>
      Array.from({ length: options.clients }, async (_, number) => {
        const seed = options.seed * 1_000 + place * 100 + number;
        const name = `${region.name}-${options.seed}-${number}`;
        const random = seededRandom(seed);
        let written = 0;
        await workUntil(this.#stop.signal, region, journal, random, async (client) => {
          written += 1;
          await writeOnce(client, journal, journal.begin(`${name}-${written}`, region.name), random);
        });
      }),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#clients);
  }
}

/** A client that does its work again and again, and connects anew where a server was lost; what else fails is a surprise. */
export async function workUntil(
  stop: AbortSignal,
  region: ClusterRegion,
  journal: Journal,
  random: Random,
  work: (client: PostgresClient) => Promise<void>,
): Promise<void> {
  let client: PostgresClient | null = null;
  while (!stop.aborted) {
    try {
      client ??= await region.session();
      await work(client);
      await delay(random.below(THINKING_MS_MAX));
    } catch (error) {
      const state = error instanceof Error && 'code' in error ? String(error.code) : 'none';
      if (!isLoss(state)) journal.surprises.push({ region: region.name, state, message: String(error) });
      client?.destroy();
      client = null;
      await delay(RECONNECT_MS);
    }
  }
  await client?.end();
}

async function writeOnce(client: PostgresClient, journal: Journal, attempt: Attempt, random: Random): Promise<void> {
  const { token, region } = attempt;
  const rows = new Set(Array.from({ length: 1 + random.below(ROWS_OF_TRANSACTION_MAX) }, () => 1 + random.below(ROWS)));
  await client.query('begin');
  for (const row of [...rows].sort((a, b) => a - b)) {
    const found = await client.query('select token from contended where id = $1 for no key update', [String(row)]);
    await client.query('update contended set token = $2 where id = $1', [String(row), token]);
    const prior = found.rows[0]?.token ?? '';
    await client.query('insert into ledger values ($1, $2, $3, $4)', [token, String(row), prior, region]);
  }
  attempt.outcome = 'unknown';
  await client.commit();
  journal.acknowledge(attempt);
}

/**
 * What nothing explains where clocks are set back under load, or servers stand still. PostgreSQL's timers go by the wall
 * clock: the lane's early look at deadlocks is put off by the step, or is due together with a user's, which may come first.
 */
export function besideDeadlocks(surprises: readonly Surprise[]): Surprise[] {
  return surprises.filter(({ state }) => state !== '40P01');
}

/** A server that is killed, or not up yet: no other error is to be expected. */
export function isLoss(state: string): boolean {
  return state === 'SYN-P009' || state.startsWith('08') || state.startsWith('57P');
}
