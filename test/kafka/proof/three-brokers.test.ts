/**
 * A cluster of three brokers, of which one is killed with kill -9 under load, again and again: the one that leads the stream of a
 * region, so that its writer and all its readers lose it. Regions go on while it is away, since topics are made with three
 * replicas of which two have to have what is acknowledged.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { topicNames } from '../../../src/log/kafka/kafka-settings.ts';
import { systemRandom } from '../../../src/platform/random.ts';
import { agentStatus } from '../../support/agent-client.ts';
import { Cluster } from '../../support/cluster.ts';
import { kafkaLog } from '../../support/cluster-log.ts';
import { JOURNAL_SCHEMA, Journal, JournalWriters } from '../../support/journal.ts';
import { accountForAll, nothingTwice } from '../../support/journal-check.ts';
import { StreamFollower } from '../../support/journal-streams.ts';
import { KafkaQuorum } from '../../support/kafka-quorum.ts';
import { setTopic } from '../../support/kafka-streams.ts';
import { waitFor } from '../../support/wait-for.ts';

const KILLS = Number(process.env.SYNCLINE_BROKER_KILLS ?? 2);
const SEED = Number(process.env.SYNCLINE_SEED ?? systemRandom.below(1_000_000));
const PREFIX = 'three-brokers.';
const REGIONS = ['eu', 'us'];
const COMMITS_BETWEEN = 100;
const LIMIT_MS = 180_000;
const DATA = REGIONS.map((region) => topicNames(PREFIX, region).data);

let quorum: KafkaQuorum;
let cluster: Cluster;
before(async () => {
  quorum = await KafkaQuorum.start();
  cluster = await Cluster.start({ regions: REGIONS, schema: JOURNAL_SCHEMA, log: kafkaLog(quorum, PREFIX) });
});
after(async () => {
  await cluster?.[Symbol.asyncDispose]();
  await quorum?.[Symbol.asyncDispose]();
});

async function allInStep(): Promise<void> {
  for (const topic of REGIONS.flatMap((region) => Object.values(topicNames(PREFIX, region)))) {
    await waitFor(async () => (await quorum.replicasOf(topic)).inStep.length === 3, {
      what: `three replicas of ${topic} in step`,
      limitMs: LIMIT_MS,
    });
  }
}

test(`${KILLS} kills of a broker of three lose nothing, and regions go on while it is away`, async (t) => {
  t.diagnostic(`SYNCLINE_SEED=${SEED}`);
  await cluster.settle();
  for (const topic of DATA) assert.equal((await quorum.replicasOf(topic)).replicas.length, 3);
  const journal = new Journal();
  const readyAfterMs: number[] = [];
  let moved = 0;
  {
    await using _writers = new JournalWriters(cluster.regions, journal, { clients: 2, seed: SEED });
    for (let kill = 1; kill <= KILLS; kill += 1) {
      await journal.moreAcknowledged(COMMITS_BETWEEN);
      await allInStep();
      const topic = DATA[kill % DATA.length] ?? '';
      const { leader } = await quorum.replicasOf(topic);
      await quorum.member(leader).kill();
      const awayMs = performance.now();
      await waitFor(async () => ![leader, -1].includes((await quorum.replicasOf(topic)).leader), {
        what: `another leader of ${topic}`,
        limitMs: LIMIT_MS,
      });
      moved += 1;
      // All that is committed by now, and more, passes in both directions without the broker.
      await journal.moreAcknowledged(COMMITS_BETWEEN);
      await cluster.settle(LIMIT_MS);
      for (const region of cluster.regions) await region.agentReady(LIMIT_MS);
      readyAfterMs.push(Math.round(performance.now() - awayMs));
      await quorum.member(leader).restart();
    }
    await journal.moreAcknowledged(COMMITS_BETWEEN);
  }
  t.diagnostic(`everything had passed, without the broker, ${readyAfterMs.join(', ')} ms after its end`);
  assert.equal(moved, KILLS);
  const fates = await accountForAll(cluster, journal);
  assert.deepEqual(journal.surprises, []);
  t.diagnostic(`${journal.acknowledged} commits acknowledged; writes: ${JSON.stringify(fates)}`);
  for (const region of cluster.regions) {
    await nothingTwice(region);
    assert.equal(region.agent?.exitCode, null);
  }
});

test('where too few have an event nothing is acknowledged, and it is told; once they are back, all passes', async () => {
  await allInStep();
  const topic = DATA[0] ?? '';
  const eu = cluster.region('eu');
  // With two brokers away two controllers of three would be: a topic that asks for all three comes to the same with one.
  await setTopic(quorum.member(1), topic, 'min.insync.replicas', '3');
  const { leader } = await quorum.replicasOf(topic);
  const away = quorum.members.find((_, place) => place + 1 !== leader);
  assert.ok(away !== undefined);
  await away.kill();
  await waitFor(async () => (await quorum.replicasOf(topic)).inStep.length === 2, {
    what: 'two in step',
    limitMs: LIMIT_MS,
  });
  await eu.sql("insert into contended values (1000, 'eu')");
  const problem = await waitFor(async () => (await agentStatus(eu)).capture.problem ?? undefined, {
    what: 'eu to tell that its events are not taken',
    limitMs: LIMIT_MS,
  });
  assert.equal(problem.code, 'SYN-L060', problem.detail);
  assert.equal(await cluster.region('us').one('select count(*) from contended where id = 1000'), '0');
  await away.restart();
  await cluster.settleConflicts(LIMIT_MS);
  assert.equal(await cluster.region('us').one('select count(*) from contended where id = 1000'), '1');
  for (const region of cluster.regions) assert.equal(await region.stopAgent(), 0);
  await using follower = await StreamFollower.start(cluster);
  assert.deepEqual(await follower.end(cluster), []);
});
