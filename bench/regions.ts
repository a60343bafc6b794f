/**
 * What one region costs as regions become more: 2, 3, 4 and 6, each with a server and an agent of its own, all on this machine.
 *
 * Every region writes single rows at one fixed rate, and all apply all. A region receives the events of all others, so its work
 * grows with their number; what is told is the time of processors that its agent and its sessions in the database take for
 * each event received. If that stays the same, the cost is linear in what is received; what a region pays for its own events
 * and for being there is in it, and weighs less as more is received. And, beside it, how fast one region applies as much as it
 * was sent while it took nothing, by its other regions in equal shares (`applied_events_per_s`), while those rest.
 *
 * Times of processors are those of Linux's /proc. The share that the server's other processes take, which write WAL and pages
 * for everybody, is not in them.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { agentStatus, setLink } from '../test/support/agent-client.ts';
import { Cluster, type ClusterRegion } from '../test/support/cluster.ts';
import { type ProcessorTimes, processorTimes, takenSince } from '../test/support/processor-time.ts';
import { ACCOUNTS_SCHEMA, runLoad } from './load.ts';
import type { Measured } from './measured.ts';
import { peaks } from './memory.ts';

const COUNTS = [2, 3, 4, 6];
const RATE_OF_REGION = 50;
const CLIENTS_OF_REGION = 4;
/** Until what an agent runs all the time is compiled. */
const WARM_UP_SECONDS = 15;
const POLL_MS = 5;
const LIMIT_MS = 600_000;
const SCHEMA = `${ACCOUNTS_SCHEMA}
create procedure public.work(n int, seed int) language plpgsql as $$ begin
  for i in 1 .. n loop
    update public.accounts set abalance = i where aid = 1 + ((i + seed)::bigint * 48271) % 2147483647 % 100000;
    commit;
  end loop; end $$`;

const sideOf = (count: number): string => `${count} regions`;

export async function measureRegions(events: number, seconds: number, rounds: number): Promise<Measured[]> {
  const runs: Measured[] = [];
  for (const count of COUNTS) {
    const regions = Array.from({ length: count }, (_, place) => `r${place + 1}`);
    await using cluster = await Cluster.start({ regions, schema: SCHEMA, settings: { max_wal_size: '4GB' } });
    const add = (metric: string, value: number): void => {
      runs.push({ side: sideOf(count), metric, value });
    };
    await steady(cluster, WARM_UP_SECONDS, 0);
    add('processors_of_region_at_rest', await atRest(cluster, seconds));
    for (let round = 1; round <= rounds; round += 1) {
      const { cpuSeconds, received } = await steady(cluster, seconds, round);
      add('cpu_ms_per_received_event', (1_000 * cpuSeconds) / received);
      add('processors_of_region', cpuSeconds / count / seconds);
      add('received_events_per_s_of_region', received / count / seconds);
      const { perSecond, cpuMs } = await catchUp(cluster, events, round);
      add('applied_events_per_s', perSecond);
      add('cpu_ms_per_event_caught_up', cpuMs);
    }
    const most = (await peaks({ side: '', regions: cluster.regions })).map(({ value }) => value);
    add('agent_memory_peak_mb', Math.max(...most));
  }
  return runs;
}

/** All regions write, and apply what the others write: until all is everywhere. */
async function steady(
  cluster: Cluster,
  seconds: number,
  seed: number,
): Promise<{ cpuSeconds: number; received: number }> {
  await cluster.settle();
  const { regions } = cluster;
  const before = await Promise.all(regions.map(processorTimes));
  const receivedBefore = await receivedBy(regions);
  await Promise.all(
    regions.map(async ({ url }, place) => {
      const load = { clients: CLIENTS_OF_REGION, seconds, rate: RATE_OF_REGION, tpcb: null };
      await runLoad({ ...load, url, seed: 10 * seed + place });
    }),
  );
  await cluster.settle();
  const after = await Promise.all(regions.map(processorTimes));
  return { cpuSeconds: taken(before, after), received: (await receivedBy(regions)) - receivedBefore };
}

/** How many processors a region takes that nobody writes to. */
async function atRest({ regions }: Cluster, seconds: number): Promise<number> {
  const before = await Promise.all(regions.map(processorTimes));
  await delay(seconds * 1_000);
  const after = await Promise.all(regions.map(processorTimes));
  return taken(before, after) / regions.length / seconds;
}

const taken = (before: readonly ProcessorTimes[], after: readonly ProcessorTimes[]): number =>
  after.reduce((sum, times, place) => sum + takenSince(before[place] ?? new Map(), times), 0);

/** The first region takes nothing, then all that waits. */
async function catchUp(cluster: Cluster, events: number, seed: number): Promise<{ perSecond: number; cpuMs: number }> {
  const [first, ...others] = cluster.regions;
  if (first === undefined) throw new Error('a cluster has regions');
  const setLinks = async (status: 'paused' | 'active'): Promise<void> => {
    await Promise.all(others.map(async ({ name }) => await setLink(name, first, status)));
  };
  await cluster.settle();
  await setLinks('paused');
  const share = Math.floor(events / others.length);
  for (const [place, other] of others.entries()) {
    await other.sql('set synchronous_commit = off');
    await other.sql(`call public.work(${share}, ${(seed * COUNTS.length + place) * share})`);
    await other.sql('set synchronous_commit = on');
  }
  // So that they rest, and all of it is in their logs.
  await cluster.settle(LIMIT_MS, others);
  const wanted = (await receivedBy([first])) + share * others.length;
  const before = await processorTimes(first);
  const startedMs = performance.now();
  await setLinks('active');
  while ((await receivedBy([first])) < wanted) {
    if (performance.now() - startedMs > LIMIT_MS) throw new Error('the first region does not catch up');
    await delay(POLL_MS);
  }
  const tookSeconds = (performance.now() - startedMs) / 1_000;
  const cpuSeconds = takenSince(before, await processorTimes(first));
  const caughtUp = share * others.length;
  return { perSecond: caughtUp / tookSeconds, cpuMs: (1_000 * cpuSeconds) / caughtUp };
}

async function receivedBy(regions: readonly ClusterRegion[]): Promise<number> {
  const statuses = await Promise.all(regions.map(agentStatus));
  return statuses.flatMap(({ links }) => links).reduce((sum, { events_applied }) => sum + events_applied, 0);
}
