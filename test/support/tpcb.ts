/**
 * A TPC-B of our own, after pgbench's: its tables, and its transaction from several clients of every region
 * at once. At scale 1, one branch and ten tellers are all that there is, so regions overwrite each other's rows all the time.
 *
 * Its history has a key, which the original has not: rows without one cannot be told apart. A client sends each
 * statement on its own and waits for the answer, as pgbench does, so that its locks span several round trips.
 */
import type { PostgresClient } from '../../src/platform/postgres.ts';
import { type Random, seededRandom } from '../../src/platform/random.ts';
import type { ClusterRegion } from './cluster.ts';

const ACCOUNTS = 100_000;
const TELLERS_OF_BRANCH = 10;
const DELTA_MAX = 5_000;

export const TPCB_TABLES = ['pgbench_accounts', 'pgbench_branches', 'pgbench_tellers', 'pgbench_history'] as const;

/** The scale is how many branches there are; there are as many accounts at any scale. */
export const tpcbSchema = (scale: number): string => `
create table pgbench_branches (bid int primary key, bbalance int not null, filler char(88)) with (fillfactor = 100);
create table pgbench_tellers (tid int primary key, bid int not null, tbalance int not null, filler char(84))
  with (fillfactor = 100);
create table pgbench_accounts (aid int primary key, bid int not null, abalance int not null, filler char(84))
  with (fillfactor = 100);
create table pgbench_history (region text, id bigint generated always as identity, tid int not null, bid int not null,
  aid int not null, delta int not null, mtime timestamp not null, filler char(22), primary key (region, id));
insert into pgbench_branches select bid, 0 from generate_series(1, ${scale}) as bid;
insert into pgbench_tellers select tid, 1 + tid % ${scale}, 0 from generate_series(1, ${scale * TELLERS_OF_BRANCH}) as tid;
insert into pgbench_accounts select aid, 1 + aid % ${scale}, 0, '' from generate_series(1, ${ACCOUNTS}) as aid;
`;

export const TPCB_SCHEMA = tpcbSchema(1);

/** Whose rows a transaction takes, where regions are not to meet on all of them. */
export type TpcbPart = {
  readonly scale: number;
  /** Which of so many regions this is, from 0. */
  readonly place: number;
  readonly of: number;
  /** The share of transactions that takes rows which all regions take, instead of rows of its own. */
  readonly sharedPercent: number;
};

export type TpcbFigures = {
  readonly region: string;
  readonly transactions: number;
  readonly tps: number;
  /** Failed transactions by SQLSTATE; empty in a good run. */
  readonly failures: Readonly<Record<string, number>>;
};

type TpcbLoad = {
  readonly clients: number;
  readonly seconds: number;
  readonly seed: number;
  readonly scale?: number;
};

/** Runs the transaction from some clients of one region until the time is over. */
export async function runTpcb(
  region: ClusterRegion,
  { clients, seconds, seed, scale = 1 }: TpcbLoad,
): Promise<TpcbFigures> {
  const startedMs = performance.now();
  const endMs = startedMs + seconds * 1_000;
  const failures: Record<string, number> = {};
  let transactions = 0;
  const client = async (random: Random): Promise<void> => {
    await using session = await region.session();
    while (performance.now() < endMs) {
      try {
        await transactOnce(session, region.name, random, allRows(scale));
        transactions += 1;
      } catch (error) {
        const state = error instanceof Error && 'code' in error ? String(error.code) : String(error);
        failures[state] = (failures[state] ?? 0) + 1;
      }
    }
  };
  await Promise.all(Array.from({ length: clients }, async (_, place) => await client(seededRandom(seed + place))));
  const tps = Math.round((transactions * 1_000) / (performance.now() - startedMs));
  return { region: region.name, transactions, tps, failures };
}

export const allRows = (scale: number): TpcbPart => ({ scale, place: 0, of: 1, sharedPercent: 0 });

export async function transactOnce(
  session: PostgresClient,
  region: string,
  random: Random,
  part: TpcbPart,
): Promise<void> {
  await session.transaction(async () => {
    for (const [sql, values] of statements(region, random, part)) await session.query(sql, values, { prepare: true });
  });
}

function statements(region: string, random: Random, part: TpcbPart): [string, string[]][] {
  const rowOf = rowsOf(random, part);
  const aid = rowOf(ACCOUNTS);
  const tid = rowOf(part.scale * TELLERS_OF_BRANCH);
  const bid = rowOf(part.scale);
  const delta = String(random.below(2 * DELTA_MAX + 1) - DELTA_MAX);
  return [
    ['update pgbench_accounts set abalance = abalance + $1 where aid = $2', [delta, aid]],
    ['select abalance from pgbench_accounts where aid = $1', [aid]],
    ['update pgbench_tellers set tbalance = tbalance + $1 where tid = $2', [delta, tid]],
    ['update pgbench_branches set bbalance = bbalance + $1 where bid = $2', [delta, bid]],
    [
      `insert into pgbench_history (region, tid, bid, aid, delta, mtime)
       values ($1, $2, $3, $4, $5, current_timestamp)`,
      [region, tid, bid, aid, delta],
    ],
  ];
}

/** One of so many rows of the region's own, or the one that all take, for a whole transaction. */
function rowsOf(random: Random, { place, of, sharedPercent }: TpcbPart): (count: number) => string {
  if (of === 1) return (count) => String(1 + random.below(count));
  if (random.below(100) < sharedPercent) return () => String(1 + of);
  return (count) => String(1 + place + (of + 1) * random.below(Math.floor(count / (of + 1))));
}
