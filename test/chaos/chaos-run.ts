/**
 * One run of chaos: three regions as users run them, a workload in all of them, and a seeded plan of faults; then everything is
 * healed, and it is proven that nothing was lost, nothing forked and nothing stayed behind.
 */
import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { agentStatus } from '../support/agent-client.ts';
import { Cluster, type ClusterOptions } from '../support/cluster.ts';
import { besideDeadlocks, JOURNAL_SCHEMA, Journal, JournalWriters } from '../support/journal.ts';
import { accountForAll, nothingTwice } from '../support/journal-check.ts';
import { StreamFollower } from '../support/journal-streams.ts';
import type { ProxiedKafka } from '../support/proxied-kafka.ts';
import { megabytes, retainedBytes } from '../support/slot-retention.ts';
import type { SmallDisk } from '../support/small-disk.ts';
import { waitFor } from '../support/wait-for.ts';
import { strike } from './chaos-faults.ts';
import { chaosPlan, type Round, tellFault } from './chaos-plan.ts';
import { CHAOS_SCHEMA, CHAOS_TABLES, ChaosClients, registerRules } from './chaos-workload.ts';
import { OrderSampler } from './order-sampler.ts';

export const REGIONS = ['eu', 'us', 'ap'];
const COMMITS_AT_END = 60;
const CALM_LIMIT_MS = 300_000;
/** What a slot keeps when all is published: the records of an idle server. */
const RETAINED_AT_REST_MAX = 4 * 1024 ** 2;
const KEPT = ['applied_at', 'row_version', 'tombstone', 'look_again', 'history', 'merge_state', 'merge_intent'];
const KEPT_AT_REST_MAX = 1_000;

export type ChaosOptions = {
  readonly seed: number;
  readonly rounds: number;
  /** Of each kind, in each region: fewer on a machine that has no time for more. */
  readonly clients: number;
  readonly clocks: boolean;
  readonly logDisk: SmallDisk | null;
  /** Where streams live, unless in an embedded log; each region's agent reaches it through a proxy of its own. */
  readonly kafka: ProxiedKafka | null;
  readonly tell: (line: string) => void;
};

export async function runChaos(options: ChaosOptions): Promise<void> {
  const { seed, rounds, clients, clocks, logDisk, kafka, tell } = options;
  const abilities = { clocks, fullLogDisk: logDisk !== null, broker: kafka !== null };
  const plan = chaosPlan(seed, rounds, REGIONS, abilities);
  const logs = await whereStreamsLive(options);
  await using cluster = await Cluster.start({
    regions: REGIONS,
    schema: `${JOURNAL_SCHEMA}${CHAOS_SCHEMA}`,
    isProxied: true,
    ...(clocks ? { clocks: Object.fromEntries(REGIONS.map((region) => [region, 0])) } : {}),
    ...logs,
  });
  await registerRules(cluster);
  const journal = new Journal();
  const deltas = new Journal();
  await using follower = await StreamFollower.start(cluster);
  await using sampler = new OrderSampler(cluster.regions);
  {
    await using _writers = new JournalWriters(cluster.regions, journal, { clients, seed });
    await using _clients = new ChaosClients(cluster.regions, deltas, { clients, seed });
    for (const round of plan) await carryOut(round, { cluster, journal, deltas, logDisk, kafka }, tell);
    await calm(cluster);
    await journal.moreAcknowledged(COMMITS_AT_END);
  }
  for (const region of cluster.regions) await region.clock?.set(0);
  const fates = await accountForAll(cluster, journal, CALM_LIMIT_MS);
  await checkTables(cluster);
  await checkDeltas(cluster, deltas);
  await checkConflicts(cluster);
  assert.deepEqual(sampler.violations, [], 'transactions of an origin are whole and in order');
  const surprises = [...journal.surprises, ...deltas.surprises];
  const stoodStill = plan.some(({ faults }) => faults.some(({ kind }) => kind === 'server-paused'));
  const unexplained = clocks || stoodStill ? besideDeadlocks(surprises) : surprises;
  assert.deepEqual(unexplained, [], 'no client was failed by what no fault explains');
  // Where clocks step, stamps are pushed, and echoes update the rows that users inserted.
  if (!clocks) for (const region of cluster.regions) await nothingTwice(region);
  const retained = await checkRest(cluster);
  await checkBookkeeping(cluster);
  for (const region of cluster.regions) assert.equal(await region.stopAgent(), 0);
  assert.deepEqual(await follower.end(cluster), []);
  const commits = journal.acknowledged + deltas.acknowledged;
  tell(`${commits} commits acknowledged, ${sampler.samples} snapshots read, slots keep up to ${megabytes(retained)}`);
  tell(`contended writes: ${JSON.stringify(fates)}`);
}

async function whereStreamsLive({ kafka, logDisk }: ChaosOptions): Promise<Partial<ClusterOptions>> {
  if (kafka !== null) {
    const logs = Object.fromEntries(REGIONS.map((region) => [region, kafka.log(region)]));
    return { logs, logOfPeer: (region) => kafka.log(region) };
  }
  if (logDisk === null) return {};
  const path = join(logDisk.path, 'log');
  await mkdir(path);
  return { log: `{ type: embedded, path: ${path} }` };
}

async function carryOut(
  { before, isAmidWork, faults }: Round,
  struck: Parameters<typeof strike>[1],
  tell: (line: string) => void,
): Promise<void> {
  if (isAmidWork) await calm(struck.cluster);
  await struck.journal.moreAcknowledged(before);
  tell(faults.map(tellFault).join(' + '));
  const startedMs = performance.now();
  await Promise.all(
    faults.map(async (fault) => {
      const seen = await strike(fault, struck);
      tell(`  ${fault.region}, ${((performance.now() - startedMs) / 1_000).toFixed(1)} s: ${seen}`);
    }),
  );
}

/** Waits until all agents are at work; one that was hit may take its lease's time. */
async function calm(cluster: Cluster): Promise<void> {
  await Promise.all(cluster.regions.map(async (region) => await region.agentReady(CALM_LIMIT_MS)));
}

async function checkTables(cluster: Cluster): Promise<void> {
  for (const [table, key] of Object.entries(CHAOS_TABLES)) {
    const columns = table === 'carts' ? 'id, array(select unnest(members) order by 1)' : '*';
    await cluster.equal(`select ${columns} from ${table} order by ${key}`);
  }
  await cluster.equal(`select table_name, key, row_pk::text, image::text, hlc, origin
    from syncline.parked order by 1, 2`);
}

/** What clients were acknowledged is there, what was never committed is not; and all of it counts. */
async function checkDeltas(cluster: Cluster, journal: Journal): Promise<void> {
  const tokens = new Set((await cluster.equal('select token from deltas order by 1')).map(([token]) => token));
  const attempts = [...journal.attempts.values()];
  const gone = attempts.filter(({ token, outcome }) => outcome === 'acknowledged' && !tokens.has(token));
  const forged = attempts.filter(({ token, outcome }) => outcome === 'open' && tokens.has(token));
  assert.deepEqual({ gone, forged }, { gone: [], forged: [] });
  const wrong = await cluster.equal(`
    select 'counter', id::text from counters as c
     where amount <> 1000 + coalesce((select sum(d.amount) from deltas as d where d.counter = c.id), 0)
    union all
    select 'cart', d.token from deltas as d join carts as c on c.id = d.cart where not d.token = any (c.members)`);
  assert.deepEqual(wrong, [], 'no increment and no member is lost');
}

/** The same conflicts with the same winners everywhere. */
async function checkConflicts(cluster: Cluster): Promise<void> {
  const rows = await cluster.equal(`select conflict_id, event_id_a, event_id_b, table_name, row_pk::text,
      resolution_strategy, winner_event_id, image_a::text, image_b::text, base_image::text, result_image::text
    from syncline.conflict_log order by 1`);
  assert.ok(rows.length > 0, 'regions had conflicts');
}

/** Slots let go of what they kept, nothing waits, and nothing is quarantined. */
async function checkRest(cluster: Cluster): Promise<number> {
  let most = 0;
  for (const region of cluster.regions) {
    await waitFor(async () => (await retainedBytes(region)) < RETAINED_AT_REST_MAX, {
      what: `the slot of ${region.name} to let go`,
      limitMs: CALM_LIMIT_MS,
    });
    most = Math.max(most, await retainedBytes(region));
    // A heartbeat is on its way at any time.
    await waitFor(async () => (await agentStatus(region)).links.every(({ events_waiting }) => events_waiting === 0), {
      what: `nothing to wait at ${region.name}`,
      limitMs: CALM_LIMIT_MS,
    });
    const isWell = async (): Promise<boolean> => {
      const { links, problems } = await agentStatus(region);
      if (links.every(({ status, quarantined }) => status === 'active' && quarantined === 0)) return true;
      throw new Error(JSON.stringify({ links, problems }));
    };
    // What went wrong last may be over with the next heartbeat only.
    await waitFor(isWell, { what: `all links of ${region.name} to be well`, limitMs: CALM_LIMIT_MS });
  }
  return most;
}

/** What is kept of rows while something concurrent can still arrive goes, once nothing can. */
async function checkBookkeeping({ regions }: Cluster): Promise<void> {
  // A row that is parked keeps signatures for as long as it is.
  const signed = '(select count(*) from syncline.author where not exists (select from syncline.parked))';
  const sql = `select ${[signed, ...KEPT.map((table) => `(select count(*) from syncline.${table})`)].join(' + ')}`;
  for (const region of regions) {
    await waitFor(async () => Number(await region.one(sql)) < KEPT_AT_REST_MAX, {
      what: `${region.name} to forget what is stable`,
      limitMs: CALM_LIMIT_MS,
    });
  }
}
