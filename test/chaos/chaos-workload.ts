/**
 * What users do in a run of chaos, besides the journal's contended rows (test/support/journal.ts): counters, a set, rows that
 * claim unique values, removals and changes of keys, and pairs of rows that are only ever written together.
 *
 * Each transaction that changes a counter or a set says so in `deltas`, which is only ever inserted into. So once regions
 * are settled, sums and members follow from it, and it follows from what clients were acknowledged.
 */
import { sqlStateOf } from '../../src/platform/errors.ts';
import type { PostgresClient } from '../../src/platform/postgres.ts';
import { type Random, seededRandom } from '../../src/platform/random.ts';
import type { Cluster, ClusterRegion } from '../support/cluster.ts';
import { type Journal, workUntil } from '../support/journal.ts';
import { registerMerge, untilMerge } from '../support/merge-client.ts';

const COUNTERS = 4;
const CARTS = 4;
const HANDLES = 6;
/** Fewer than there are rows, so that rows have to make room for each other. */
const VALUES = 5;
const ITEMS = 30;
/** A set grows with every member, and each event carries all of them. */
const MEMBERS_OF_CLIENT_MAX = 150;

export const CHAOS_SCHEMA = `
create table counters (id int primary key, amount bigint not null);
insert into counters select id, 1000 from generate_series(1, ${COUNTERS}) as id;
create table carts (id int primary key, members text[] not null);
insert into carts select id, '{}' from generate_series(1, ${CARTS}) as id;
create table deltas (token text primary key, counter int, amount bigint, cart int);
create table handles (id int primary key, handle text not null unique, token text not null);
create table items (id int primary key, token text not null);
create table paired (client text, half int, n bigint not null, primary key (client, half));
create table bulk (load text, id int, filler text, primary key (load, id));
`;

export const CHAOS_TABLES: Readonly<Record<string, string>> = {
  counters: 'id',
  carts: 'id',
  deltas: 'token',
  handles: 'id',
  items: 'id',
  paired: 'client, half',
  bulk: 'load, id',
};

/** Counters add up, and carts keep what was put in: from the first transaction on. */
export async function registerRules(cluster: Cluster): Promise<void> {
  const [first] = cluster.regions;
  if (first === undefined) throw new Error('a cluster has regions');
  for (const [table, columns] of [
    ['public.counters', { amount: 'counter' }],
    ['public.carts', { members: 'set' }],
  ] as const) {
    const { version_id } = await registerMerge(first, { table, strategy: 'lww', columns });
    await untilMerge(cluster.regions, version_id, 'active');
  }
}

export class ChaosClients implements AsyncDisposable {
  readonly #stop = new AbortController();
  readonly #clients: Promise<void>[];

  constructor(regions: readonly ClusterRegion[], journal: Journal, options: { clients: number; seed: number }) {
    this.#clients = regions.flatMap((region, place) =>
      Array.from({ length: options.clients }, async (_, number) => {
        const random = seededRandom(options.seed * 1_000 + 500 + place * 100 + number);
        const client = new ChaosClient(region, journal, `${region.name}+${options.seed}+${number}`, random);
        await client.run(this.#stop.signal);
      }),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#clients);
  }
}

class ChaosClient {
  readonly #region: ClusterRegion;
  readonly #journal: Journal;
  readonly #name: string;
  readonly #random: Random;
  #members = 0;
  #number = 0;

  constructor(region: ClusterRegion, journal: Journal, name: string, random: Random) {
    this.#region = region;
    this.#journal = journal;
    this.#name = name;
    this.#random = random;
  }

  async run(stop: AbortSignal): Promise<void> {
    await workUntil(stop, this.#region, this.#journal, this.#random, async (client) => await this.#transact(client));
  }

  async #transact(client: PostgresClient): Promise<void> {
    const dice = this.#random.below(100);
    if (dice < 30) await this.#addTo(client, 'counter');
    else if (dice < 40 && this.#members < MEMBERS_OF_CLIENT_MAX) await this.#addTo(client, 'cart');
    else if (dice < 60) await this.#claim(client);
    else if (dice < 80) await this.#change(client);
    else await this.#pair(client);
  }

  async #addTo(client: PostgresClient, what: 'counter' | 'cart'): Promise<void> {
    const random = this.#random;
    const attempt = this.#journal.begin(this.#token(), this.#region.name);
    await client.query('begin');
    if (what === 'counter') {
      const id = String(1 + random.below(COUNTERS));
      const amount = String(random.below(21) - 10);
      await client.query('update counters set amount = amount + $2 where id = $1', [id, amount]);
      await client.query('insert into deltas values ($1, $2, $3)', [attempt.token, id, amount]);
    } else {
      const id = String(1 + random.below(CARTS));
      await client.query('update carts set members = members || $2::text where id = $1', [id, attempt.token]);
      await client.query('insert into deltas (token, cart) values ($1, $2)', [attempt.token, id]);
      this.#members += 1;
    }
    attempt.outcome = 'unknown';
    await client.commit();
    this.#journal.acknowledge(attempt);
  }

  /** A row that takes a unique value, which it may have to leave to another one. */
  async #claim(client: PostgresClient): Promise<void> {
    const random = this.#random;
    const values = [String(1 + random.below(HANDLES)), `h${random.below(VALUES)}`, this.#token()];
    try {
      await client.query(
        `insert into handles values ($1, $2, $3)
         on conflict (id) do update set handle = excluded.handle, token = excluded.token`,
        values,
      );
    } catch (error) {
      forgive(error);
    }
  }

  async #change(client: PostgresClient): Promise<void> {
    const random = this.#random;
    const id = String(1 + random.below(ITEMS));
    const dice = random.below(10);
    if (dice < 4) {
      const values = [id, this.#token()];
      await client.query(
        'insert into items values ($1, $2) on conflict (id) do update set token = excluded.token',
        values,
      );
    } else if (dice < 7) await client.query('delete from items where id = $1', [id]);
    else {
      const to = String(1 + random.below(ITEMS));
      // To a key that nobody has here.
      const sql = 'update items set id = $2, token = $3 where id = $1 and not exists (select from items where id = $2)';
      await client.query(sql, [id, to, this.#token()]).catch(forgive);
    }
  }

  /** Two rows of its own, which no other client writes: whoever sees one sees the other as it was then. */
  async #pair(client: PostgresClient): Promise<void> {
    const n = String(this.#next());
    await client.query('begin');
    for (const half of this.#random.shuffle(['1', '2'])) {
      await client.query(
        'insert into paired values ($1, $2, $3) on conflict (client, half) do update set n = excluded.n',
        [this.#name, half, n],
      );
    }
    await client.commit();
  }

  #next(): number {
    this.#number += 1;
    return this.#number;
  }

  #token(): string {
    return `${this.#name}+${this.#next()}`;
  }
}

/** A value or a key that is taken here, or that two clients want of each other: what an application expects. */
function forgive(error: unknown): void {
  const state = sqlStateOf(error);
  if (state !== '23505' && state !== '40P01') throw error;
}
