/**
 * Rows that are larger than a topic takes, between running regions; and a topic that takes less than it did, because somebody
 * lowered its bound while agents use it.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { topicNames } from '../../../src/log/kafka/kafka-settings.ts';
import { type KafkaBroker, startKafka } from '../../../src/platform/servers/embedded-kafka.ts';
import { agentStatus } from '../../support/agent-client.ts';
import { Cluster, type ClusterRegion } from '../../support/cluster.ts';
import { kafkaLog } from '../../support/cluster-log.ts';
import { setTopic } from '../../support/kafka-streams.ts';
import { waitFor } from '../../support/wait-for.ts';

const PREFIX = 'large-rows.';
/** An md5 has 32 digits. */
const MD5S_OF_20_MB = 625_000;
const USUAL_BYTES = '1048588';
const LIMIT_MS = 120_000;
const ALL = 'select id, md5(note), length(note), n from item order by id';

let broker: KafkaBroker;
let cluster: Cluster;
let eu: ClusterRegion;
let us: ClusterRegion;
before(async () => {
  broker = await startKafka();
  cluster = await Cluster.start({
    regions: ['eu', 'us'],
    schema: 'create table item (id int primary key, note text, n int not null default 0)',
    log: kafkaLog(broker, PREFIX),
  });
  [eu, us] = [cluster.region('eu'), cluster.region('us')];
});
after(async () => {
  await cluster?.[Symbol.asyncDispose]();
  await broker?.[Symbol.asyncDispose]();
});

const insert = (from: number, to: number, md5s: number): string =>
  `insert into item select id, (select string_agg(md5(concat(id, i)), '') from generate_series(1, ${md5s}) as i)
     from generate_series(${from}, ${to}) as id`;

test('rows of 20 MB pass in both directions: new, changed beside, and removed', async () => {
  await eu.sql(insert(1, 2, MD5S_OF_20_MB));
  await us.sql(insert(101, 102, MD5S_OF_20_MB));
  await eu.sql("insert into item values (50, 'small', 0)");
  await cluster.settle(LIMIT_MS);
  assert.deepEqual(
    (await cluster.equal(ALL)).map(([id, , length]) => `${id} ${length}`),
    ['1 20000000', '2 20000000', '50 5', '101 20000000', '102 20000000'],
  );
  // A change beside the large value carries it twice: before and after.
  await us.sql('update item set n = n + 1 where id in (1, 50)');
  await eu.sql('delete from item where id = 101');
  await cluster.settle(LIMIT_MS);
  assert.deepEqual(
    (await cluster.equal(ALL)).map(([id, , , n]) => `${id} ${n}`),
    ['1 1', '2 0', '50 1', '102 0'],
  );
  await noTrouble();
});

for (const [bytes, outcome] of [
  ['1000', 'is told of, loses nothing, and goes on once it is set back'],
  ['100000', 'is told of, and goes on in smaller parts'],
] as const) {
  test(`a topic whose max.message.bytes becomes ${bytes} while it is used ${outcome}`, async () => {
    const pids = cluster.regions.map(({ agent }) => agent?.pid);
    const topic = topicNames(PREFIX, 'eu').data;
    await setTopic(broker, topic, 'max.message.bytes', bytes);
    const from = 1_000 + Number(bytes);
    await eu.sql(insert(from, from + 20, 20_000));
    await eu.sql('update item set n = n + 1 where id = 2');
    const problem = await waitFor(
      async () => {
        const { problem: found } = (await agentStatus(eu)).capture;
        return found !== null && ['SYN-L064', 'SYN-L069'].includes(found.code) ? found : undefined;
      },
      { what: `eu to tell what is wrong; its agent printed:\n${eu.output.slice(-2_000)}` },
    );
    assert.ok(problem.detail.includes(topic), `${problem.code}: ${problem.detail}`);
    // Nobody else is held up.
    await us.sql(`insert into item values (${from + 30}, 'of us', 0)`);
    await waitFor(async () => (await eu.one(`select count(*) from item where id = ${from + 30}`)) === '1', {
      what: 'what us wrote at eu',
    });
    if (outcome.includes('set back')) {
      await waitFor(async () => (await agentStatus(eu)).capture.problem?.code === 'SYN-L064', {
        what: 'eu to tell that the topic takes too little',
      });
      await setTopic(broker, topic, 'max.message.bytes', USUAL_BYTES);
    }
    await cluster.settle(LIMIT_MS);
    assert.equal((await cluster.equal(`${ALL.replace('order', `where id >= ${from} order`)}`)).length, 22);
    await setTopic(broker, topic, 'max.message.bytes', USUAL_BYTES);
    await noTrouble();
    assert.deepEqual(
      cluster.regions.map(({ agent }) => agent?.pid),
      pids,
    );
  });
}

async function noTrouble(): Promise<void> {
  for (const region of cluster.regions) {
    await region.agentReady();
    assert.equal(await region.one('select count(*) from syncline.quarantine'), '0');
    assert.deepEqual((await agentStatus(region)).problems, []);
  }
}
