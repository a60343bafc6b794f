/**
 * What a wrong clock costs: TPC-B in two regions, with one clock for both and with the clock of one 5 s ahead.
 *
 * The other one is behind then, so each of its writes gets a pushed stamp, and its echo writes the row a second time. Both
 * sides run in turn on the same servers, whose clocks libfaketime moves in both cases; every look at the clock costs the
 * same on both sides, and more than it does without that library. Compare the ratio, and nothing else.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { agentStatus } from '../test/support/agent-client.ts';
import { Cluster } from '../test/support/cluster.ts';
import { runTpcb, TPCB_SCHEMA } from '../test/support/tpcb.ts';
import type { Measured } from './measured.ts';

const SKEW_SECONDS = 5;
const CLIENTS = 4;
/** Until a clock that was set back shows again what it showed before. */
const CAUGHT_UP_MS = (SKEW_SECONDS + 2) * 1_000;

const SKEWED = 'skew of 5 s';
const SANE = 'no skew';

export async function measureClocks(seconds: number, rounds: number): Promise<Measured[]> {
  await using cluster = await Cluster.start({ regions: ['slow', 'fast'], schema: TPCB_SCHEMA, clocks: { fast: 0 } });
  const slow = cluster.region('slow');
  const pushed = async (): Promise<number> => (await agentStatus(slow)).capture.pushed;
  const runs: Measured[] = [];
  for (let round = 0; round <= rounds; round += 1) {
    for (const side of [SANE, SKEWED]) {
      await cluster.region('fast').clock?.set(side === SKEWED ? SKEW_SECONDS : 0);
      await delay(CAUGHT_UP_MS);
      const before = await pushed();
      const figures = await Promise.all(
        cluster.regions.map(
          async (region, place) => await runTpcb(region, { clients: CLIENTS, seconds, seed: 1_000 * round + place }),
        ),
      );
      const endedMs = performance.now();
      await cluster.settle();
      const settleMs = performance.now() - endedMs;
      // The first round warms up.
      if (round === 0) continue;
      const done = figures.reduce((sum, { transactions }) => sum + transactions, 0);
      runs.push({ side, metric: 'slow_region_transactions_per_s', value: figures[0]?.tps ?? 0 });
      runs.push({ side, metric: 'applied_transactions_per_s', value: done / (seconds + settleMs / 1_000) });
      runs.push({ side, metric: 'pushed_stamps', value: (await pushed()) - before });
    }
  }
  return runs;
}
