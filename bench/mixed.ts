/**
 * What two regions can take together: TPC-B in both at once, as fast as their clients are answered, of which one transaction in
 * a hundred takes the one row of each table that the other region writes too. The figure is all transactions by the time from the first one until
 * both regions have everything, so that what a side puts off counts as well.
 *
 * PostgreSQL's own replication does not converge where both regions write one row: its apply takes whatever arrives last, and so each
 * region ends with the write of the other one. How many rows are unequal in the end is counted for both sides; for Syncline
 * another number than 0 is a defect, and fails the benchmark. Where rows are unequal, fewer than all writes were applied in the
 * sense that counts here, which the comparison gives PostgreSQL for nothing.
 */
import type { PostgresClient } from '../src/platform/postgres.ts';
import { TPCB_TABLES, tpcbSchema } from '../test/support/tpcb.ts';
import { startLoad } from './load.ts';
import type { Measured } from './measured.ts';
import { peaks } from './memory.ts';
import { NativePair, type Pair, SynclinePair, untilBothThere } from './pairs.ts';

const CLIENTS_OF_REGION = 4;
const WARM_UP_SECONDS = 3;
const REGIONS = 2;
/** As many branches as clients for the rows of each region; of as many again, both take one. */
const SCALE = CLIENTS_OF_REGION * (REGIONS + 1);
const SHARED_PERCENT = 1;

export async function measureMixed(seconds: number, rounds: number): Promise<Measured[]> {
  await using stack = new AsyncDisposableStack();
  const ours = stack.use(await SynclinePair.start(tpcbSchema(SCALE)));
  const peer = stack.use(await NativePair.start(tpcbSchema(SCALE)));
  const runs: Measured[] = [];
  // The first round warms up.
  for (let round = 0; round <= rounds; round += 1) {
    for (const pair of [ours, peer]) {
      const measured = await measure(pair, round === 0 ? WARM_UP_SECONDS : seconds, round);
      if (round > 0) runs.push(...measured.map((each) => ({ side: pair.side, ...each })));
    }
  }
  await ours.settle();
  for (const pair of [ours, peer]) {
    const unequal = await unequalRows(pair);
    runs.push({ side: pair.side, metric: 'unequal_rows', value: unequal });
    if (pair === ours && unequal > 0) throw new Error(`the regions of Syncline differ in ${unequal} rows`);
  }
  runs.push(...(await peaks(ours)));
  return runs;
}

async function measure(pair: Pair, seconds: number, seed: number): Promise<Omit<Measured, 'side'>[]> {
  const loads = await Promise.all(
    [pair.sourceUrl, pair.targetUrl].map(async (url, place) => {
      const part = { scale: SCALE, place, of: REGIONS, sharedPercent: SHARED_PERCENT };
      const tpcb = { region: `region ${place}`, part };
      return await startLoad({ url, clients: CLIENTS_OF_REGION, seconds, seed: 10 * seed + place, rate: null, tpcb });
    }),
  );
  const figures = await Promise.all(loads.map(async ({ done }) => await done));
  const endedMs = performance.now();
  await untilBothThere(pair);
  const catchUpSeconds = (performance.now() - endedMs) / 1_000;
  const done = figures.reduce((sum, { transactions }) => sum + transactions, 0);
  const runSeconds = Math.max(...figures.map((each) => each.seconds));
  const failed = figures.flatMap(({ failures }) => Object.values(failures)).reduce((sum, count) => sum + count, 0);
  return [
    { metric: 'sustained_transactions_per_s', value: done / (runSeconds + catchUpSeconds) },
    { metric: 'transactions_per_s', value: done / runSeconds },
    { metric: 'catch_up_s', value: catchUpSeconds },
    { metric: 'failed_transactions', value: failed },
  ];
}

/** Rows that one region has and the other has not, or has otherwise, each counted once. */
async function unequalRows({ source, target }: Pair): Promise<number> {
  let unequal = 0;
  for (const table of TPCB_TABLES) {
    const [here, there] = await Promise.all([source, target].map(async (client) => await rowsOf(client, table)));
    if (here === undefined || there === undefined) throw new Error('a pair has two ends');
    for (const [key, row] of here) if (there.get(key) !== row) unequal += 1;
    for (const key of there.keys()) if (!here.has(key)) unequal += 1;
  }
  return unequal;
}

const KEYS: Readonly<Record<(typeof TPCB_TABLES)[number], string>> = {
  pgbench_accounts: 'aid',
  pgbench_branches: 'bid',
  pgbench_tellers: 'tid',
  pgbench_history: `region || ' ' || id`,
};

/** By their key, a digest of each row. */
async function rowsOf(client: PostgresClient, table: (typeof TPCB_TABLES)[number]): Promise<Map<string, string>> {
  const sql = `select (${KEYS[table]})::text, md5(t::text) from public.${table} as t`;
  const { rows } = await client.queryArrays(sql);
  return new Map(rows.map(([key, digest]) => [String(key), String(digest)]));
}
