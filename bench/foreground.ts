/**
 * What the lane costs the users of its region: TPC-B at half of the load that its clients can reach, while the lane writes what
 * another region commits to the same tables, and while it rests.
 *
 * Both regions have real servers and real agents, and on both sides of the comparison everything is at work but the lane: the other region
 * commits the same at half of the rate, capture publishes, and the link that ends here is paused or not. So the ratio has what
 * the lane adds, its locks and its use of the machine, and nothing else. The other region's transactions write the same branches and tellers
 * and mostly other accounts.
 *
 * The load is fixed: when a transaction is due does not depend on how long the one before it took, and its time runs from
 * when it was due, so that a client that was held up counts what waited behind it as well. What can be reached is measured
 * in each round anew, since a machine has moods, and with all at work that shares the processors: both regions' clients, as fast as they
 * are answered, agents and lanes. Sides take turns at being first. A transaction of a user that fails fails the benchmark.
 */
import { agentStatus, setLink } from '../test/support/agent-client.ts';
import { Cluster, type ClusterRegion } from '../test/support/cluster.ts';
import { allRows, tpcbSchema } from '../test/support/tpcb.ts';
import { type LoadFigures, startLoad } from './load.ts';
import type { Measured } from './measured.ts';

const CLIENTS = 8;
/** As many branches as clients, as pgbench wants it. */
const SCALE = CLIENTS;
const CALIBRATION_SECONDS = 3;
/** Of the load here, so much comes from the other region. */
const SHARE_OF_OTHER = 0.5;
const CATCH_UP_LIMIT_MS = 120_000;

const AT_WORK = 'lane at work';
const AT_REST = 'lane at rest';

/** `perSecond` is null for as many as are reached. */
type Load = { readonly perSecond: number | null; readonly seconds: number; readonly seed: number };

export async function measureForeground(seconds: number, rounds: number): Promise<Measured[]> {
  await using cluster = await Cluster.start({ regions: ['eu', 'us'], schema: tpcbSchema(SCALE) });
  const [eu, us] = cluster.regions as [ClusterRegion, ClusterRegion];
  const runs: Measured[] = [];
  const measure = async (side: string, load: Load): Promise<LoadFigures & { readonly laneEvents: number }> => {
    await setLink('us', eu, 'active');
    await cluster.settle(CATCH_UP_LIMIT_MS);
    if (side === AT_REST) await setLink('us', eu, 'paused');
    const before = await applied(eu);
    const [figures] = await loadBoth(eu, us, load);
    return { ...figures, laneEvents: (await applied(eu)) - before };
  };
  // The first round warms up.
  for (let round = 0; round <= rounds; round += 1) {
    const seed = 100 * round;
    const reached = await measure(AT_WORK, { perSecond: null, seconds: CALIBRATION_SECONDS, seed });
    const perSecond = reached.transactions / reached.seconds / 2;
    const sides = round % 2 === 0 ? [AT_WORK, AT_REST] : [AT_REST, AT_WORK];
    for (const side of sides) {
      const load = { perSecond, seconds: round === 0 ? CALIBRATION_SECONDS : seconds, seed: seed + 2 * CLIENTS };
      const { tookMs, transactions, laneEvents, seconds: took } = await measure(side, load);
      if (round === 0) continue;
      runs.push(
        { side, metric: 'transaction_p50_ms', value: tookMs.p50 },
        { side, metric: 'transaction_p99_ms', value: tookMs.p99 },
        { side, metric: 'transactions_per_s', value: transactions / took },
        { side, metric: 'applied_events_per_s', value: laneEvents / took },
      );
    }
    if (round > 0) runs.push({ side: AT_WORK, metric: 'reached_transactions_per_s', value: 2 * perSecond });
  }
  return runs;
}

/** Of this region and of the other one, from processes of their own; throws where a transaction failed. */
async function loadBoth(
  here: ClusterRegion,
  other: ClusterRegion,
  { perSecond, seconds, seed }: Load,
): Promise<[LoadFigures, LoadFigures]> {
  const start = async (region: ClusterRegion, share: number): Promise<{ readonly done: Promise<LoadFigures> }> =>
    await startLoad({
      url: region.url,
      clients: CLIENTS * share,
      seconds,
      seed: seed + CLIENTS * share,
      rate: perSecond === null ? null : perSecond * share,
      tpcb: { region: region.name, part: allRows(SCALE) },
    });
  const loads = [await start(here, 1), await start(other, SHARE_OF_OTHER)] as const;
  const figures = await Promise.all([loads[0].done, loads[1].done]);
  for (const [place, { failures }] of figures.entries()) {
    if (Object.keys(failures).length === 0) continue;
    throw new Error(`transactions of users of ${[here, other][place]?.name} failed: ${JSON.stringify(failures)}`);
  }
  return figures;
}

async function applied(region: ClusterRegion): Promise<number> {
  return (await agentStatus(region)).links.reduce((sum, { events_applied }) => sum + events_applied, 0);
}
