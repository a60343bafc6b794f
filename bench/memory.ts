/**
 * How much memory agents take: at rest after a start with all that there was before, and at most, under a load that is as
 * fast as its clients are answered, and that the other region applies.
 *
 * PostgreSQL's own replication has no process beside the server, so there is nothing to compare with.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { peakMegabytes, residentMegabytes } from '../test/support/agent-memory.ts';
import { Cluster } from '../test/support/cluster.ts';
import { ACCOUNTS_SCHEMA, runLoad } from './load.ts';
import type { Measured } from './measured.ts';
import type { Pair } from './pairs.ts';

const CLIENTS = 8;
const REST_SECONDS = 5;
const SIDE = 'agents';

export async function measureMemory(seconds: number, rounds: number): Promise<Measured[]> {
  await using cluster = await Cluster.start({ regions: ['eu', 'us'], schema: ACCOUNTS_SCHEMA });
  const runs: Measured[] = [];
  for (let round = 0; round < rounds; round += 1) {
    await cluster.settle();
    for (const region of cluster.regions) await region.stopAgent();
    await cluster.startAgents();
    await delay(REST_SECONDS * 1_000);
    for (const region of cluster.regions) {
      runs.push({ side: SIDE, metric: 'idle_mb', value: await residentMegabytes(region) });
    }
    await runLoad({ url: cluster.region('eu').url, clients: CLIENTS, seconds, seed: round, rate: null, tpcb: null });
    await cluster.settle();
    for (const region of cluster.regions) {
      runs.push({ side: SIDE, metric: `peak_mb_${region.name}`, value: await peakMegabytes(region) });
    }
  }
  return runs;
}

/** The peak so far of each agent of a pair. */
export async function peaks({ side, regions }: Pick<Pair, 'side' | 'regions'>): Promise<Measured[]> {
  const measured = regions.map(async (region) => ({
    side,
    metric: `agent_memory_peak_mb_${region.name}`,
    value: await peakMegabytes(region),
  }));
  return await Promise.all(measured);
}
