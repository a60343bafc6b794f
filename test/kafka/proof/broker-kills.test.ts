/**
 * kill -9 of the broker under load, again and again, away for a while each time. The regions' users notice nothing: their
 * commits never wait for the log. What they wrote meanwhile is kept by the slots, which let go of it once the broker is back.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { systemRandom } from '../../../src/platform/random.ts';
import { type KafkaBroker, startKafka } from '../../../src/platform/servers/embedded-kafka.ts';
import { agentStatus } from '../../support/agent-client.ts';
import { Cluster, type ClusterRegion } from '../../support/cluster.ts';
import { kafkaLog } from '../../support/cluster-log.ts';
import { JOURNAL_SCHEMA, Journal, JournalWriters } from '../../support/journal.ts';
import { accountForAll, nothingTwice } from '../../support/journal-check.ts';
import { StreamFollower } from '../../support/journal-streams.ts';
import { megabytes, retainedBytes } from '../../support/slot-retention.ts';
import { waitFor } from '../../support/wait-for.ts';

const KILLS = Number(process.env.SYNCLINE_BROKER_KILLS ?? 1);
const AWAY_MS = 1_000 * Number(process.env.SYNCLINE_BROKER_AWAY_SECONDS ?? 3);
const SEED = Number(process.env.SYNCLINE_SEED ?? systemRandom.below(1_000_000));
const COMMITS_BETWEEN = 100;
const PAUSE_MS = 5;
const READY_LIMIT_MS = 180_000;
/** What is kept when all is published: the records of an idle server. */
const RETAINED_AT_REST_MAX = 2 * 1024 ** 2;

let broker: KafkaBroker;
let cluster: Cluster;
before(async () => {
  broker = await startKafka();
  const schema = `${JOURNAL_SCHEMA}; create table probe (region text, id int, primary key (region, id))`;
  cluster = await Cluster.start({ regions: ['eu', 'us'], schema, log: kafkaLog(broker) });
});
after(async () => {
  await cluster?.[Symbol.asyncDispose]();
  await broker?.[Symbol.asyncDispose]();
});

/** Commits one small row after another, and keeps how long each took. */
class Probe implements AsyncDisposable {
  readonly #stop = new AbortController();
  readonly #running: Promise<unknown>;
  readonly #took = { here: [] as number[], away: [] as number[] };
  /** Whether the broker is there. */
  broker: 'here' | 'away' = 'here';

  constructor(regions: readonly ClusterRegion[]) {
    this.#running = Promise.all(regions.map(async (region) => await this.#commit(region)));
    this.#running.catch(() => undefined);
  }

  /** How long commits took that were begun while the broker was there, or away. */
  took(when: 'here' | 'away'): { count: number; p50: number; p99: number; max: number } {
    const sorted = this.#took[when].toSorted((a, b) => a - b);
    const at = (share: number): number => Math.round((sorted[Math.ceil(share * sorted.length) - 1] ?? 0) * 10) / 10;
    return { count: sorted.length, p50: at(0.5), p99: at(0.99), max: at(1) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #commit(region: ClusterRegion): Promise<void> {
    await using session = await region.session();
    for (let id = 1; !this.#stop.signal.aborted; id += 1) {
      const kept = this.#took[this.broker];
      const startedMs = performance.now();
      await session.query('insert into probe values ($1, $2)', [region.name, String(id)], { prepare: true });
      kept.push(performance.now() - startedMs);
      await delay(PAUSE_MS);
    }
  }
}

test(`${KILLS} kills of the broker, away for ${AWAY_MS} ms each, lose nothing, double nothing and block nobody`, async (t) => {
  t.diagnostic(`SYNCLINE_SEED=${SEED}`);
  // Links that are not joined yet wait for baselines, which are read anew after each interruption.
  await cluster.settle();
  const journal = new Journal();
  let highest = 0;
  /** How long agents took, once the broker served again, to capture and apply again. */
  const readyAfterMs: number[] = [];
  {
    await using probe = new Probe(cluster.regions);
    await using _writers = new JournalWriters(cluster.regions, journal, { clients: 2, seed: SEED });
    for (let kill = 1; kill <= KILLS; kill += 1) {
      await journal.moreAcknowledged(COMMITS_BETWEEN);
      await broker.kill();
      probe.broker = 'away';
      const endMs = performance.now() + AWAY_MS;
      for (const region of cluster.regions) await tells(region);
      const before = journal.acknowledged;
      await waitFor(() => performance.now() >= endMs, { what: 'the time to be over', limitMs: AWAY_MS + 30_000 });
      assert.ok(journal.acknowledged > before, 'users go on');
      for (const region of cluster.regions) highest = Math.max(highest, await retainedBytes(region));
      probe.broker = 'here';
      await broker.restart();
      const backMs = performance.now();
      await Promise.all(cluster.regions.map(async (region) => await region.agentReady(READY_LIMIT_MS)));
      readyAfterMs.push(Math.round(performance.now() - backMs));
    }
    await journal.moreAcknowledged(COMMITS_BETWEEN);
    const away = probe.took('away');
    t.diagnostic(`commits in ms, broker there: ${JSON.stringify(probe.took('here'))}, away: ${JSON.stringify(away)}`);
    t.diagnostic(`agents were at work again after ${readyAfterMs.join(', ')} ms`);
    assert.ok(away.count > 10 * KILLS && away.max < AWAY_MS, 'no commit waited for the broker');
  }
  await cluster.settleConflicts();
  const startedMs = performance.now();
  for (const region of cluster.regions) {
    await waitFor(async () => (await retainedBytes(region)) <= RETAINED_AT_REST_MAX, {
      what: `the slot of ${region.name} to let go of its WAL`,
    });
  }
  const retained = await Promise.all(cluster.regions.map(async (region) => await retainedBytes(region)));
  const letGoMs = Math.round(performance.now() - startedMs);
  t.diagnostic(
    `slots kept up to ${megabytes(highest)}, and then ${retained.map(megabytes).join(' and ')} (${letGoMs} ms)`,
  );

  await cluster.equal('select * from probe order by 1, 2');
  const fates = await accountForAll(cluster, journal);
  assert.deepEqual(journal.surprises, []);
  t.diagnostic(`${journal.acknowledged} commits acknowledged; writes: ${JSON.stringify(fates)}`);
  for (const region of cluster.regions) {
    await nothingTwice(region);
    assert.equal(region.agent?.exitCode, null);
  }
  for (const region of cluster.regions) assert.equal(await region.stopAgent(), 0);
  // The topics keep everything, so streams may be read afterwards, from their beginning.
  await using follower = await StreamFollower.start(cluster);
  assert.deepEqual(await follower.end(cluster), []);
});

async function tells(region: ClusterRegion): Promise<void> {
  await waitFor(async () => (await agentStatus(region)).capture.problem?.code === 'SYN-L060', {
    what: `${region.name} to tell that the broker is away`,
    limitMs: 60_000,
  });
}
