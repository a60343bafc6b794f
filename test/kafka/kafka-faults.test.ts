// What can happen to a stream in Kafka that cannot happen to one on a disk of our own: somebody makes its topic anew, changes
// its settings or lets its records go, and a writer that was thought dead goes on.

import assert from 'node:assert/strict';
import { stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { fetchPacked } from '../../src/log/kafka/kafka-fetch.ts';
import { KafkaLink } from '../../src/log/kafka/kafka-link.ts';
import { KafkaLog } from '../../src/log/kafka/kafka-log.ts';
import { KafkaProducer } from '../../src/log/kafka/kafka-producer.ts';
import { encodeRecord } from '../../src/log/kafka/kafka-record.ts';
import { type KafkaLogSettings, kafkaAccess, topicNames } from '../../src/log/kafka/kafka-settings.ts';
import { KafkaTopic } from '../../src/log/kafka/kafka-topic.ts';
import { TransactionReader } from '../../src/log/transaction-reader.ts';
import { SynclineError } from '../../src/platform/errors.ts';
import { adminOf, setFetchQuota, setTopic } from '../support/kafka-streams.ts';
import { KafkaSuite } from '../support/kafka-suite.ts';
import { change, heartbeat, runStart, transaction } from '../support/stream-records.ts';
import { waitFor } from '../support/wait-for.ts';

const ALL = { records_max: 1_000_000, bytes_max: 1_000_000_000 };
const LONG_MS = 30_000;

describe('a stream in Kafka', () => {
  const kafka = new KafkaSuite();

  test('stops its readers and its writer where its topic was made anew', async () => {
    const shared = kafka.settings();
    await using log = await KafkaLog.open(shared);
    await using writer = await log.writer('eu');
    const last = await writer.append([runStart(1), ...transaction(1, 1, 5)]);
    await using reader = await log.reader('eu');
    assert.equal((await reader.read(0, ALL)).length, 6);
    // It may be told as soon as the topic is gone.
    const waiting = assert.rejects(reader.waitFor(last + 1, LONG_MS), { code: 'SYN-L065' });

    const { data } = topicNames(shared.topic_prefix, 'eu');
    await using admin = adminOf(kafka.broker);
    await admin.client.deleteTopics({ topics: [data] });
    await waitFor(async () => !(await admin.client.listTopics()).includes(data), { what: 'the topic to be gone' });
    await admin.client.createTopics({ topics: [data], partitions: 1, replicas: 1 });

    await waiting;
    await assert.rejects(reader.read(last + 1, ALL), { code: 'SYN-L065' });
    await assert.rejects(writer.append([heartbeat(1, 2)]), ({ code }) => code === 'SYN-L065' || code === 'SYN-L066');
    await using later = await KafkaLog.open(shared);
    await assert.rejects(later.writer('eu'), { code: 'SYN-L065' });
    await using lateReader = await later.reader('eu');
    await assert.rejects(lateReader.runBefore(last), { code: 'SYN-L065' });
    await assert.rejects(later.acknowledged('eu'), { code: 'SYN-L065' });
  });

  test('that was made anew as a whole goes by nothing of an agent that knew the old one yet', async () => {
    const shared = kafka.settings();
    const { data, control } = topicNames(shared.topic_prefix, 'eu');
    await using log = await KafkaLog.open(shared);
    await using late = await KafkaLog.open(shared);
    await (await log.writer('eu'))[Symbol.asyncDispose]();
    await late.acknowledge('eu', 'us', 1);

    await using admin = adminOf(kafka.broker);
    await admin.client.deleteTopics({ topics: [data, control] });
    await waitFor(async () => !(await admin.client.listTopics()).some((name) => [data, control].includes(name)), {
      what: 'the topics to be gone',
    });
    await using anew = await KafkaLog.open(shared);
    await using writer = await anew.writer('eu');
    await writer.append([runStart(1)]);
    await anew.acknowledge('eu', 'us', 0);
    await late.acknowledge('eu', 'us', 7);
    await late.acknowledge('eu', 'ap', 7);

    await using next = await KafkaLog.open(shared);
    assert.deepEqual([...(await next.acknowledged('eu'))], [['us', 0]]);
    await (await next.writer('eu'))[Symbol.asyncDispose]();
    await using reader = await next.reader('eu');
    assert.equal(await reader.runBefore(1), 1);
    // Whatever else Kafka's compaction leaves, the first record names the data topic, and is never written again.
    await using link = new KafkaLink(await kafkaAccess(shared));
    const first = await new KafkaTopic(control, link).fetch(0, -1, { maxWaitMs: 0, bytesMax: 1_000_000 });
    const keys = first?.batches.flatMap((batch) => [...batch.records()].map(({ key }) => key?.toString())) ?? [];
    assert.deepEqual([keys[0], keys.filter((key) => key === 'topic').length], ['topic', 1]);
  });

  test('tells a reader of what retention took, whether it reads on or begins', async () => {
    const shared = kafka.settings();
    await using log = await KafkaLog.open(shared);
    await using writer = await log.writer('eu');
    await writer.append([runStart(1), ...transaction(1, 1, 5)]);
    await using other = await KafkaLog.open(shared);
    await using reader = await other.reader('eu');
    const records = await reader.read(0, ALL);
    const resumed = new TransactionReader(reader, (records[1]?.offset ?? 0) + 1);
    const last = await writer.append(transaction(1, 2, 5));
    await writer.trim(records[5]?.offset ?? 0);
    await assert.rejects(resumed.fill(LONG_MS), { code: 'SYN-L004' });
    await assert.rejects(new TransactionReader(reader, 0).fill(LONG_MS), { code: 'SYN-L004' });
    assert.equal(await log.keptForMs('eu', 0), 0);
    const kept = (await log.keptForMs('eu', last)) ?? 0;
    assert.ok(kept > 23 * 3_600_000 && kept <= 24 * 3_600_000, String(kept));
    assert.equal(await log.keptForMs('eu', last + 1), 24 * 3_600_000);

    // All of it gone, as after a long absence of its writer.
    await using admin = adminOf(kafka.broker);
    const { data } = topicNames(shared.topic_prefix, 'eu');
    await admin.client.deleteRecords({
      topics: [{ name: data, partitions: [{ partition: 0, offset: BigInt(last + 1) }] }],
    });
    await using empty = await other.reader('eu');
    await assert.rejects(empty.bounds(), { code: 'SYN-L004' });
  });

  test('is whole for all who read it, only later, where a quota holds them back', async () => {
    const shared = kafka.settings();
    await using log = await KafkaLog.open(shared);
    await using writer = await log.writer('eu');
    const note = 'x'.repeat(2_000);
    await writer.append([runStart(1), ...transaction(1, 1, 5, { note })]);
    const last = await writer.append([runStart(2), ...transaction(2, 2, 30, { note })]);

    const client_id = 'held back';
    await setFetchQuota(kafka.broker, client_id, 50_000);
    await using link = new KafkaLink(await kafkaAccess({ ...shared, client_id }));
    const { data } = topicNames(shared.topic_prefix, 'eu');
    await waitFor(async () => await isHeldBack(link, data), { what: 'the quota to be used up' });
    await using slow = await KafkaLog.open({ ...shared, client_id });
    await using reader = await slow.reader('eu');
    await using other = await slow.reader('eu');
    const caughtUp = async (): Promise<number> => {
      let next = 0;
      while (next <= last && (await other.waitFor(next, LONG_MS))) {
        const records = await other.read(next, { records_max: 10, bytes_max: 1_000_000 });
        assert.equal(records[0]?.offset, next);
        next = (records.at(-1)?.offset ?? next) + 1;
      }
      return next;
    };
    const [next, run, records, before] = await Promise.all([
      caughtUp(),
      reader.runBefore(last + 1),
      reader.read(0, ALL),
      reader.readBefore(last + 1, ALL),
    ]);
    assert.deepEqual([next, run], [last + 1, 2]);
    for (const all of [records, before]) {
      assert.deepEqual(
        all.map(({ offset }) => offset),
        Array.from({ length: last + 1 }, (_, offset) => offset),
      );
    }
  });

  test('is not kept in a topic that would lose its order or its records', async () => {
    await using admin = adminOf(kafka.broker);
    const refused = async (
      kind: 'data' | 'control',
      partitions: number,
      configs: Record<string, string>,
    ): Promise<void> => {
      const shared = kafka.settings();
      const topic = topicNames(shared.topic_prefix, 'eu')[kind];
      const named = Object.entries(configs).map(([name, value]) => ({ name, value }));
      await admin.client.createTopics({ topics: [topic], partitions, replicas: 1, configs: named });
      await using log = await KafkaLog.open(shared);
      await assert.rejects(log.writer('eu'), { code: 'SYN-L064', context: { topic } });
    };
    await refused('data', 2, {});
    await refused('data', 1, { 'cleanup.policy': 'compact' });
    await refused('data', 1, { 'cleanup.policy': 'compact,delete' });
    await refused('data', 1, { 'max.message.bytes': '1000' });
    await refused('control', 1, { 'cleanup.policy': 'delete' });

    const warnings: string[] = [];
    const shared = kafka.settings();
    const { data } = topicNames(shared.topic_prefix, 'eu');
    const configs = [{ name: 'retention.ms', value: '3600000' }];
    await admin.client.createTopics({ topics: [data], partitions: 1, replicas: 1, configs });
    await using log = await KafkaLog.open(shared, { onWarning: (detail) => warnings.push(detail) });
    await (await log.writer('eu'))[Symbol.asyncDispose]();
    assert.match(warnings.join(), /keeps events for 1 h/);
  });

  test('ends its writer, with what to do, where the topic takes less than it did', async () => {
    const shared = kafka.settings();
    await using log = await KafkaLog.open(shared);
    await using writer = await log.writer('eu');
    await writer.append([runStart(1)]);
    await setTopic(kafka.broker, topicNames(shared.topic_prefix, 'eu').data, 'max.message.bytes', '100000');
    const large = change(1, 1, 0, 0, { note: 'x'.repeat(300_000) });
    await waitFor(
      async () => {
        await using probe = await KafkaLog.open(shared);
        await using other = await probe.writer('eu');
        return await other.append([large]).then((offset) => offset > 0);
      },
      { what: 'another writer, which knows of it, to split the record' },
    );
    await assert.rejects(writer.append([large]), { code: 'SYN-L069' });
    await assert.rejects(writer.append([heartbeat(1, 2)]), { code: 'SYN-L069' });
  });

  test('that lost its end stops whoever had read it, also once others have written there', async () => {
    const shared = kafka.settings();
    const { data } = topicNames(shared.topic_prefix, 'eu');
    await using log = await KafkaLog.open(shared);
    await using reader = await log.reader('eu');
    await using other = await KafkaLog.open(shared);
    await using follower = await other.reader('eu');
    {
      await using writer = await log.writer('eu');
      for (const record of [runStart(1), heartbeat(1, 1), heartbeat(1, 2)]) await writer.append([record]);
    }
    assert.equal((await reader.read(0, ALL)).length, 3);
    assert.equal((await follower.read(0, ALL)).length, 3);
    assert.equal(await follower.waitFor(3, 50), false);

    // What the disk of a leader that was elected uncleanly does not have.
    await kafka.broker.kill();
    const file = join(kafka.broker.directory, 'data', `${data}-0`, '00000000000000000000.log');
    await truncate(file, (await stat(file)).size - 1);
    await kafka.broker.restart();
    const told = async (): Promise<boolean> =>
      await follower.waitFor(3, LONG_MS).then(
        () => false,
        (error: unknown) => error instanceof SynclineError && error.code === 'SYN-L066',
      );
    await waitFor(told, { what: 'the follower, once the broker is back, to miss what it had read' });
    await assert.rejects(reader.bounds(), { code: 'SYN-L066' });
    await using later = await KafkaLog.open(shared);
    await assert.rejects(later.writer('eu'), { code: 'SYN-L066' });

    // The index was made to say less, as by somebody who mended it by hand: offsets are in range again.
    const bytes = [heartbeat(1, 5), heartbeat(1, 6)].flatMap((record) => encodeRecord(record, 100_000, String));
    await using link = new KafkaLink(await kafkaAccess(shared));
    await KafkaProducer.plain(link, new KafkaTopic(data, link)).send(bytes);
    await using another = await KafkaLog.open(shared);
    await using third = await another.reader('eu');
    assert.equal((await third.read(0, ALL)).length, 4);
    assert.equal(await isParted(shared, 3), true);
  });

  test('whose broker was away is asked by several at once over one connection, and none is left behind', async () => {
    const sockets = (): number => process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length;
    const before = sockets();
    const shared = kafka.settings();
    const { data } = topicNames(shared.topic_prefix, 'eu');
    {
      await using link = new KafkaLink(await kafkaAccess(shared));
      await link.locate(data);
      const one = sockets();
      await kafka.broker.restart();
      await waitFor(() => sockets() < one, { what: 'the connection to be gone' });
      await Promise.all(Array.from({ length: 5 }, async () => await link.locate(data)));
      assert.equal(sockets(), one);
    }
    await waitFor(() => sockets() <= before, { what: 'the connections to be closed' });
  });

  test('whose broker falls silent fails within a time, and goes on once it answers; no connection is left behind', async () => {
    const sockets = (): number => process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length;
    const before = sockets();
    const shared = kafka.settings();
    {
      await using log = await KafkaLog.open(shared);
      await using writer = await log.writer('eu');
      const last = await writer.append([runStart(1)]);
      await using other = await KafkaLog.open(shared);
      await using reader = await other.reader('eu');
      assert.equal(await reader.waitFor(last + 1, 50), false);
      kafka.broker.pause();
      try {
        const appending = writer.append([heartbeat(1, 1)]);
        const failed = [appending, reader.waitFor(last + 1, 2 * LONG_MS), reader.bounds()].map(
          async (each) => await assert.rejects(each, { code: 'SYN-L060' }),
        );
        await Promise.all(failed);
        // Its outcome is unknown, so nothing more is appended behind it.
        await assert.rejects(writer.append([heartbeat(1, 2)]), { code: 'SYN-L060' });
        let told: unknown;
        const ahead = reader.read(last + 1, ALL).catch((error: unknown) => {
          told = error;
        });
        // A request that is not answered takes twice as long to fail.
        await waitFor(() => told !== undefined, { what: 'whoever reads ahead to be told', limitMs: 7_500 });
        await ahead;
        assert.ok(told instanceof SynclineError);
        assert.equal(told.code, 'SYN-L060');
      } finally {
        kafka.broker.resume();
      }
      await using next = await waitFor(async () => await log.writer('eu'), { what: 'another writer' });
      const end = await next.append([runStart(2)]);
      await waitFor(async () => await reader.waitFor(end, 1_000), { what: 'the reader to go on' });
      assert.equal((await reader.read(end, ALL)).at(-1)?.run, 2);
    }
    await waitFor(() => sockets() <= before, { what: 'the connections to be closed' });
  });
});

/** Whether the broker answers a fetch with nothing. */
async function isHeldBack(link: KafkaLink, topic: string): Promise<boolean> {
  const { topic: place } = await link.locate(topic);
  assert.ok(place !== null);
  const partition = { partition: 0, currentLeaderEpoch: -1, fetchOffset: 0n, lastFetchedEpoch: -1 };
  const topics = [{ topicId: place.id, partitions: [{ ...partition, partitionMaxBytes: 1_000_000 }] }];
  const { kind } = await link.ask(place.leader, fetchPacked, 0, 1, 1_000_000, 0, 0, -1, topics, [], '');
  return kind === 'held back';
}

/** Whether a reader that had read up to there, under the first leader, is told that the history is another one now. */
async function isParted(shared: KafkaLogSettings, from: number): Promise<boolean> {
  await using link = new KafkaLink(await kafkaAccess(shared));
  const topic = new KafkaTopic(topicNames(shared.topic_prefix, 'eu').data, link);
  const limit = { maxWaitMs: 0, bytesMax: 1_000_000 };
  const before = await topic.fetch(0, -1, { ...limit, bytesMax: 1 });
  assert.ok(before !== null);
  return await topic.fetch(from, before.epoch, limit).then(
    () => false,
    (error: unknown) => error instanceof SynclineError && error.code === 'SYN-L066',
  );
}
