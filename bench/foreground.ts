/**
 * What the lane costs the users of its region: TPC-B at half of the load that its clients can reach, while the lane writes what
 * another region commits to the same tables, and while it rests.
 *
 * Both regions have real servers and real agents, and on both sides of the comparison everything is at work but the lane: the other region
 * commits the same at the same rate, capture publishes, and the link that ends here is paused or not. So the ratio has what
 * the lane adds, its locks and its use of the machine, and nothing else. The other region's transactions write the same branches and tellers
 * and mostly other accounts.
 *
 * The load is fixed: when a transaction is due does not depend on how long the one before it took, and its time runs from
 * when it was due, so that a client that was held up counts what waited behind it as well. What can be reached is measured
 * once, with the lane at rest. Sides take turns. A transaction of a user that fails fails the benchmark.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { seededRandom } from '../src/platform/random.ts';
import { agentStatus, setLink } from '../test/support/agent-client.ts';
import { Cluster, type ClusterRegion } from '../test/support/cluster.ts';
import { runTpcb, tpcbSchema, transactOnce } from '../test/support/tpcb.ts';
import type { Measured } from './run.ts';

const CLIENTS = 8;
/** As many branches as clients, as pgbench wants it. */
const SCALE = CLIENTS;
const WARM_UP_SECONDS = 3;
/** Of the load here, so much comes from the other region. */
const SHARE_OF_OTHER = 0.5;
const CATCH_UP_LIMIT_MS = 120_000;

const AT_WORK = 'lane at work';
const AT_REST = 'lane at rest';

type Load = { readonly clients: number; readonly perSecond: number; readonly seconds: number; readonly seed: number };
type Figures = { readonly tookMs: readonly number[]; readonly failures: readonly string[] };

export async function measureForeground(seconds: number, rounds: number): Promise<Measured[]> {
  await using cluster = await Cluster.start({ regions: ['eu', 'us'], schema: tpcbSchema(SCALE) });
  const [eu, us] = cluster.regions as [ClusterRegion, ClusterRegion];
  await setLink('us', eu, 'paused');
  await runTpcb(eu, { clients: CLIENTS, seconds: WARM_UP_SECONDS, seed: 1, scale: SCALE });
  const reached = (await runTpcb(eu, { clients: CLIENTS, seconds, seed: 2, scale: SCALE })).tps;
  const perSecond = Math.floor(reached / 2);
  console.log(
    `foreground: ${reached} transactions/s can be reached, ${perSecond} are due, and ${perSecond * SHARE_OF_OTHER} in the other region`,
  );

  const runs: Measured[] = [{ side: AT_REST, metric: 'reached_transactions_per_s', value: reached }];
  const failures: string[] = [];
  // The first round warms up.
  for (let round = 0; round <= rounds; round += 1) {
    for (const side of [AT_REST, AT_WORK]) {
      await setLink('us', eu, 'active');
      await cluster.settle(CATCH_UP_LIMIT_MS);
      if (side === AT_REST) await setLink('us', eu, 'paused');
      const before = await applied(eu);
      const load = { clients: CLIENTS, perSecond, seconds: round === 0 ? WARM_UP_SECONDS : seconds, seed: 100 * round };
      const [figures, others] = await Promise.all([
        atRate(eu, load),
        atRate(us, { ...load, perSecond: perSecond * SHARE_OF_OTHER, seed: load.seed + 50 }),
      ]);
      const laneEvents = (await applied(eu)) - before;
      failures.push(...figures.failures, ...others.failures);
      if (round === 0) continue;
      const took = figures.tookMs.toSorted((a, b) => a - b);
      const add = (metric: string, value: number): void => {
        runs.push({ side, metric, value });
      };
      add('transaction_p50_ms', quantile(took, 0.5));
      add('transaction_p99_ms', quantile(took, 0.99));
      add('transactions_per_s', took.length / seconds);
      add('applied_events_per_s', laneEvents / seconds);
      add('failed_transactions', figures.failures.length);
    }
  }
  if (failures.length > 0)
    throw new Error(`${failures.length} transactions of users failed: ${failures.slice(0, 10).join('; ')}`);
  return runs;
}

/** Each client has its own times at which a transaction is due; those of all are spread evenly. */
async function atRate(region: ClusterRegion, { clients, perSecond, seconds, seed }: Load): Promise<Figures> {
  const tookMs: number[] = [];
  const failures: string[] = [];
  const startedMs = performance.now();
  const client = async (place: number): Promise<void> => {
    await using session = await region.session();
    const random = seededRandom(seed + place);
    for (let number = 0; ; number += 1) {
      const dueMs = startedMs + ((number * clients + place) * 1_000) / perSecond;
      if (dueMs > startedMs + seconds * 1_000) return;
      const restMs = dueMs - performance.now();
      if (restMs > 0) await delay(restMs);
      try {
        await transactOnce(session, region.name, random, SCALE);
        tookMs.push(performance.now() - dueMs);
      } catch (error) {
        failures.push(`${region.name}: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
  };
  await Promise.all(Array.from({ length: clients }, async (_, place) => await client(place)));
  return { tookMs, failures };
}

async function applied(region: ClusterRegion): Promise<number> {
  return (await agentStatus(region)).links.reduce((sum, { events_applied }) => sum + events_applied, 0);
}

function quantile(ascending: readonly number[], share: number): number {
  return ascending[Math.min(ascending.length - 1, Math.floor(ascending.length * share))] ?? Number.NaN;
}
