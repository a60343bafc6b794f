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
 * in each round anew, with the lane at rest, since a machine has moods; sides take turns at being first. A transaction of a user that fails fails the
 * benchmark.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { seededRandom } from '../src/platform/random.ts';
import { agentStatus, setLink } from '../test/support/agent-client.ts';
import { Cluster, type ClusterRegion } from '../test/support/cluster.ts';
import { allRows, runTpcb, tpcbSchema, transactOnce } from '../test/support/tpcb.ts';
import { quantile } from './quantile.ts';
import type { Measured } from './run.ts';

const CLIENTS = 8;
/** As many branches as clients, as pgbench wants it. */
const SCALE = CLIENTS;
const CALIBRATION_SECONDS = 3;
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
  const runs: Measured[] = [];
  const failures: string[] = [];
  const measure = async (side: string, perSecond: number, phaseSeconds: number, seed: number): Promise<Measured[]> => {
    await setLink('us', eu, 'active');
    await cluster.settle(CATCH_UP_LIMIT_MS);
    if (side === AT_REST) await setLink('us', eu, 'paused');
    const before = await applied(eu);
    const load = { clients: CLIENTS, perSecond, seconds: phaseSeconds, seed };
    const [figures, others] = await Promise.all([
      atRate(eu, load),
      atRate(us, { ...load, perSecond: perSecond * SHARE_OF_OTHER, seed: seed + CLIENTS }),
    ]);
    const laneEvents = (await applied(eu)) - before;
    failures.push(...figures.failures, ...others.failures);
    const took = figures.tookMs.toSorted((a, b) => a - b);
    return [
      { side, metric: 'transaction_p50_ms', value: quantile(took, 0.5) },
      { side, metric: 'transaction_p99_ms', value: quantile(took, 0.99) },
      { side, metric: 'transactions_per_s', value: took.length / phaseSeconds },
      { side, metric: 'applied_events_per_s', value: laneEvents / phaseSeconds },
      { side, metric: 'failed_transactions', value: figures.failures.length },
    ];
  };
  // The first round warms up.
  for (let round = 0; round <= rounds; round += 1) {
    const seed = 100 * round;
    await setLink('us', eu, 'paused');
    const { tps } = await runTpcb(eu, { clients: CLIENTS, seconds: CALIBRATION_SECONDS, seed, scale: SCALE });
    const sides = round % 2 === 0 ? [AT_WORK, AT_REST] : [AT_REST, AT_WORK];
    for (const side of sides) {
      const measured = await measure(side, tps / 2, round === 0 ? CALIBRATION_SECONDS : seconds, seed + 2 * CLIENTS);
      if (round > 0) runs.push(...measured);
    }
    if (round > 0) runs.push({ side: AT_REST, metric: 'reached_transactions_per_s', value: tps });
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
        await transactOnce(session, region.name, random, allRows(SCALE));
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
