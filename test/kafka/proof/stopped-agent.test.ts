/**
 * An agent that is stopped in mid-append, as by a machine that is suspended, and one that takes its place; then the first is
 * let go and finishes what it was about. Its records stand in the topic among those of its successor, and count for nothing.
 *
 * In mid-append means: some of the parts of a transaction are in the topic, and not all of them.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { KafkaLink } from '../../../src/log/kafka/kafka-link.ts';
import { decodePart, type StoredPart } from '../../../src/log/kafka/kafka-record.ts';
import { type KafkaLogSettings, kafkaAccess, topicNames } from '../../../src/log/kafka/kafka-settings.ts';
import { KafkaTopic } from '../../../src/log/kafka/kafka-topic.ts';
import { loadConfig } from '../../../src/platform/config.ts';
import { systemRandom } from '../../../src/platform/random.ts';
import { freePort } from '../../../src/platform/servers/free-port.ts';
import { Cluster, ClusterRegion } from '../../support/cluster.ts';
import { kafkaLog } from '../../support/cluster-log.ts';
import { JOURNAL_SCHEMA, Journal, JournalWriters } from '../../support/journal.ts';
import { accountForAll } from '../../support/journal-check.ts';
import { StreamFollower } from '../../support/journal-streams.ts';
import { plainKafka } from '../../support/kafka-cluster.ts';
import { waitFor } from '../../support/wait-for.ts';

const ROUNDS = Number(process.env.SYNCLINE_STOPS ?? 1);
const SEED = Number(process.env.SYNCLINE_SEED ?? systemRandom.below(1_000_000));
const BULKY_ROWS = 16;
const MD5S_OF_ROW = 100_000;
const COMMITS_BETWEEN = 40;
/** A successor first waits for the lease, and reads back what conflicts are not settled with. */
const READY_LIMIT_MS = 180_000;
/** Whether the stop hits an append is up to the scheduler. */
const ATTEMPTS_MAX = 10;
const FETCH = { maxWaitMs: 10, bytesMax: 1024 * 1024 };

const SCHEMA = `${JOURNAL_SCHEMA}; create table bulky (attempt int, id int, note text, primary key (attempt, id))`;

/** Looks at the records of a topic as they are stored, complete or not. */
class RawTopic implements AsyncDisposable {
  readonly #link: KafkaLink;
  readonly #topic: KafkaTopic;
  #next = 0;

  constructor(link: KafkaLink, name: string) {
    this.#link = link;
    this.#topic = new KafkaTopic(name, link);
  }

  static async of(configPath: string, stream: string): Promise<RawTopic> {
    const { log } = await loadConfig(configPath);
    assert.ok(log.type === 'kafka');
    const settings: KafkaLogSettings = log;
    return new RawTopic(new KafkaLink(await kafkaAccess(settings)), topicNames(settings.topic_prefix, stream).data);
  }

  async toEnd(): Promise<void> {
    this.#next = (await this.#topic.extent())?.end ?? 0;
  }

  /** What was stored since the last look. */
  async more(): Promise<StoredPart[]> {
    const fetched = await this.#topic.fetch(this.#next, -1, FETCH);
    const from = this.#next;
    if (fetched === null) return [];
    this.#next = fetched.next;
    return fetched.batches.flatMap((batch) =>
      [...batch.records()]
        .map((record) => decodePart(this.#topic.name, record))
        .filter(({ record }) => record.offset >= from),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#link[Symbol.asyncDispose]();
  }
}

const endsTransaction = ({ record, part, parts }: StoredPart): boolean => record.last && part === parts - 1;
const isPart = ({ parts }: StoredPart): boolean => parts > 1;

/** The same region, served by another process whose API has a port of its own. */
async function successorOf(region: ClusterRegion, directory: string, place: number): Promise<ClusterRegion> {
  const port = await freePort();
  const path = `${directory}.${place}.yaml`;
  const text = await readFile(region.configPath, 'utf8');
  await writeFile(path, text.replace(`listen: "127.0.0.1:${region.port}"`, `listen: "127.0.0.1:${port}"`));
  return new ClusterRegion(region.name, region.server, region.database, path, port, null, region.role);
}

test(`${ROUNDS} times an agent is stopped in mid-append, replaced and let go: nothing twice, lost or interleaved`, async (t) => {
  t.diagnostic(`SYNCLINE_SEED=${SEED}`);
  await using kafka = await plainKafka();
  await using cluster = await Cluster.start({ regions: ['eu', 'us'], schema: SCHEMA, log: kafkaLog(kafka) });
  const [eu, us] = [cluster.region('eu'), cluster.region('us')];
  await using successors = new AsyncDisposableStack();
  await using raw = await RawTopic.of(eu.configPath, 'eu');
  await using follower = await StreamFollower.start(cluster);
  const journal = new Journal();
  let serving: ClusterRegion = eu;
  let attempts = 0;
  let late = 0;

  /** Stops the agent of eu once parts of a transaction are in the topic; null where it was too late. */
  const stopAmid = async (): Promise<number | null> => {
    await raw.toEnd();
    const inserting = eu.sql(
      `insert into bulky select ${attempts}, id, (select string_agg(md5(random()::text), '') from generate_series(1, ${MD5S_OF_ROW}))
         from generate_series(1, ${BULKY_ROWS}) as id`,
    );
    const seen: StoredPart[] = [];
    await waitFor(
      async () => {
        seen.push(...(await raw.more()));
        return seen.some(isPart);
      },
      { what: `parts of a row; the agent printed:\n${serving.output.slice(-2_000)}`, limitMs: 60_000 },
    );
    serving.agent?.kill('SIGSTOP');
    await inserting;
    // What was on its way is stored within a moment; what comes then is nothing, until the agent is let go.
    for (let more = await raw.more(); more.length > 0; more = await raw.more()) seen.push(...more);
    const isWhole = seen.some((each) => isPart(each) && endsTransaction(each));
    if (!isWhole) return seen.filter(isPart).length;
    serving.agent?.kill('SIGCONT');
    return null;
  };

  {
    await using _writers = new JournalWriters(cluster.regions, journal, { clients: 2, seed: SEED });
    for (let round = 1; round <= ROUNDS; round += 1) {
      await journal.moreAcknowledged(COMMITS_BETWEEN);
      let parts: number | null = null;
      for (let attempt = 1; parts === null; attempt += 1) {
        assert.ok(attempt <= ATTEMPTS_MAX, 'the stop hits an append');
        attempts += 1;
        parts = await stopAmid();
      }
      const stopped = serving;
      serving = await successorOf(eu, eu.configPath, round);
      const successor = serving;
      successors.defer(async () => await successor.killAgent());
      const startedMs = performance.now();
      serving.startAgent();
      await serving.agentReady(READY_LIMIT_MS);
      const readyMs = Math.round(performance.now() - startedMs);
      await journal.moreAcknowledged(COMMITS_BETWEEN);
      const expected = String(BULKY_ROWS);
      await waitFor(async () => (await us.one(`select count(*) from bulky where attempt = ${attempts}`)) === expected, {
        what: 'the transaction whole at us',
        limitMs: 60_000,
      });

      const { agent } = stopped;
      assert.ok(agent !== null);
      assert.equal(agent.exitCode, null, 'the agent that was stopped is still there');
      const before = await allOf(raw);
      const newest = before.reduce((run, { record }) => Math.max(run, record.run), 0);
      const gone = once(agent, 'exit');
      agent.kill('SIGCONT');
      await gone;
      stopped.agent = null;
      assert.notEqual(agent.exitCode, 0, 'it ends because it was replaced');
      assert.match(stopped.output, /SYN-L005/);
      await journal.moreAcknowledged(COMMITS_BETWEEN);
      const zombies = (await allOf(raw)).filter(({ record }) => record.run < newest).length;
      late += zombies;
      t.diagnostic(
        `round ${round}: stopped behind ${parts} parts, replaced within ${readyMs} ms; let go, it appended ${zombies} records more`,
      );
    }
  }
  await accountForAll(cluster, journal);
  const rows = await cluster.equal('select attempt, id, md5(note) from bulky order by 1, 2');
  assert.equal(rows.length, attempts * BULKY_ROWS);
  assert.deepEqual(journal.surprises, []);
  for (const region of cluster.regions) {
    const written = await region.sql(
      `select relname, n_tup_upd from pg_stat_user_tables where relname in ('ledger', 'bulky') order by 1`,
    );
    assert.deepEqual(written, [
      ['bulky', '0'],
      ['ledger', '0'],
    ]);
  }
  assert.equal(await serving.stopAgent(), 0);
  assert.equal(await us.stopAgent(), 0);
  assert.deepEqual(await follower.end(cluster), []);
  t.diagnostic(`${journal.acknowledged} commits acknowledged; ${late} records of agents that had been replaced`);
});

/** Everything that was stored since the last look. */
async function allOf(raw: RawTopic): Promise<StoredPart[]> {
  const found: StoredPart[] = [];
  for (let more = await raw.more(); more.length > 0; more = await raw.more()) found.push(...more);
  return found;
}
