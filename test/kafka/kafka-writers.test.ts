// Several writers at one stream in Kafka, and records that are larger than its topic takes.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import type { LogRecord } from '../../src/change/stream-record.ts';
import type { StoredRecord, StreamReader } from '../../src/log/event-log.ts';
import { KafkaLink } from '../../src/log/kafka/kafka-link.ts';
import { KafkaLog } from '../../src/log/kafka/kafka-log.ts';
import { KafkaProducer } from '../../src/log/kafka/kafka-producer.ts';
import { encodeRecord } from '../../src/log/kafka/kafka-record.ts';
import { kafkaAccess, topicNames } from '../../src/log/kafka/kafka-settings.ts';
import { KafkaTopic } from '../../src/log/kafka/kafka-topic.ts';
import { READ_AHEAD_IN_TURN, TransactionReader } from '../../src/log/transaction-reader.ts';
import { adminOf } from '../support/kafka-streams.ts';
import { KafkaSuite } from '../support/kafka-suite.ts';
import { change, heartbeat, positionOf, runStart, transaction } from '../support/stream-records.ts';
import { waitFor } from '../support/wait-for.ts';

const ALL = { records_max: 1_000_000, bytes_max: 1_000_000_000 };
const STEP = { records_max: 100, bytes_max: 1_000_000 };

describe('a stream in Kafka with several writers', () => {
  const kafka = new KafkaSuite();

  test('has of a zombie what it appended, and the run that counts is told at every place', async () => {
    const shared = kafka.settings();
    await using first = await KafkaLog.open(shared);
    await using second = await KafkaLog.open(shared);
    await using third = await KafkaLog.open(shared);
    await using zombie = await first.writer('eu');
    await zombie.append([runStart(1), heartbeat(1, 1)]);
    await using writer = await second.writer('eu');
    await writer.append([runStart(2), ...transaction(2, 2, 2)]);
    await zombie.append(transaction(1, 2, 3));
    await writer.append([heartbeat(2, 3)]);
    await zombie.append([heartbeat(1, 3)]);
    const last = await writer.append([runStart(3), heartbeat(3, 4)]);
    await zombie.append([heartbeat(1, 4)]);

    await using reader = await third.reader('eu');
    const records = await reader.read(0, ALL);
    assert.deepEqual(
      records.map(({ run }) => run),
      [1, 1, 2, 2, 2, 1, 1, 1, 2, 1, 3, 3, 1],
    );
    let highest = -1;
    for (const { offset, run } of records) {
      assert.equal(await reader.runBefore(offset), highest, `before ${offset}`);
      highest = Math.max(highest, run);
    }
    assert.equal(await reader.runBefore(last + 1), 3);
    // What counts from the place where only a zombie's record follows.
    const items = await itemsFrom(reader, records[5]?.offset ?? 0, 2);
    assert.deepEqual(items, ['heartbeat', 'run']);
  });

  test('has a giant brought twice, to see its end and to give it out, however small the steps', async () => {
    const shared = kafka.settings({ compression: 'lz4' });
    await using log = await KafkaLog.open(shared);
    await using writer = await log.writer('eu');
    // Of notes that do not shrink much, so that one fetch has a part of it.
    const noted = (index: number): LogRecord => change(1, 1, index, 11_999, { note: randomBytes(600).toString('hex') });
    const giant = Array.from({ length: 12_000 }, (_, index) => noted(index));
    await writer.append([runStart(1), ...giant, heartbeat(1, 2)]);
    await using other = await KafkaLog.open(shared);
    await using reader = await other.reader('eu');
    const transactions = new TransactionReader(reader, 0, { ...READ_AHEAD_IN_TURN, rows_max: 500 });
    let events = 0;
    for (let kind = ''; kind !== 'heartbeat'; ) {
      await waitFor(async () => await transactions.fill(2_000), { what: 'what the stream holds' });
      const item = transactions.shift();
      kind = item.kind;
      if (item.kind === 'giant') for await (const chunk of item.chunks()) events += chunk.length;
    }
    assert.equal(events, giant.length);
    const brought = other.traffic().find(({ stream }) => stream === 'eu')?.fetch.records ?? 0;
    // And what a first fetch brought before the reader was seen to go on.
    assert.ok(brought >= 2 * giant.length && brought < 2.2 * giant.length, `${brought} records`);
  });

  test('is read to its end, by whoever does not come again, however fast he reads', async () => {
    const shared = kafka.settings();
    await using log = await KafkaLog.open(shared);
    await using writer = await log.writer('eu');
    const appended = Array.from({ length: 400 }, (_, place) =>
      transaction(1, place + 1, 10, { note: 'x'.repeat(5_000) }),
    );
    const last = await writer.append([runStart(1), ...appended.flat()]);
    await using other = await KafkaLog.open(shared);
    await using reader = await other.reader('eu');
    let next = 0;
    for (let records = await reader.read(0, STEP); records.length > 0; records = await reader.read(next, STEP)) {
      next = (records.at(-1)?.offset ?? 0) + 1;
    }
    assert.equal(next, last + 1);
    const transactions = new TransactionReader(reader, 0);
    let count = 0;
    for (; await transactions.fill(0); transactions.shift()) count += 1;
    assert.equal(count, 401);
  });

  test('is never taken for cut where its end is asked for while it grows', async () => {
    const shared = kafka.settings();
    await using log = await KafkaLog.open(shared);
    await using other = await KafkaLog.open(shared);
    await using writer = await log.writer('eu');
    await using zombie = await other.writer('eu');
    await using own = await log.reader('eu');
    await using reader = await other.reader('eu');
    let isOver = false;
    const appended = Promise.all(
      [writer, zombie].map(async (each, run) => {
        for (let lsn = 1; lsn <= 300; lsn += 1) await each.append([heartbeat(run, lsn)]);
      }),
    ).finally(() => {
      isOver = true;
    });
    const asked = [own, reader, own, reader].map(async (each) => {
      while (!isOver) {
        const end = ((await each.bounds())?.last ?? -1) + 1;
        if (end > 0) assert.ok((await each.runBefore(end)) >= 0);
      }
    });
    await Promise.all([appended, ...asked]);
    assert.equal((await own.bounds())?.last, 599);
    assert.equal(await own.runBefore(600), 1);
  });

  test('is read with the right run where the index was never kept, and where its front is gone', async () => {
    const shared = kafka.settings();
    {
      await using log = await KafkaLog.open(shared);
      await using writer = await log.writer('eu');
      await writer.append([runStart(4), heartbeat(4, 1), heartbeat(4, 2)]);
    }
    await using log = await KafkaLog.open(shared);
    await using zombie = await log.writer('eu');
    const last = await zombie.append([heartbeat(1, 3), heartbeat(1, 4)]);
    await zombie.trim(last);
    await using other = await KafkaLog.open(shared);
    await using reader = await other.reader('eu');
    assert.deepEqual(
      (await reader.read(0, ALL)).map(({ run }) => run),
      [1],
    );
    assert.equal(await reader.runBefore(last + 1), 4);

    // Somebody deletes the control topic, and with it what the front was.
    await using admin = adminOf(kafka.broker);
    const { control } = topicNames(shared.topic_prefix, 'eu');
    await admin.client.deleteTopics({ topics: [control] });
    await waitFor(async () => !(await admin.client.listTopics()).includes(control), { what: 'the topic to be gone' });
    await using third = await KafkaLog.open(shared);
    await using blind = await third.reader('eu');
    await assert.rejects(blind.runBefore(last + 1), { code: 'SYN-L070' });
  });

  test('takes a row of 20 MB in parts, also where another writer appends amid them', async () => {
    const shared = kafka.settings();
    await using log = await KafkaLog.open(shared);
    await using other = await KafkaLog.open(shared);
    await using zombie = await other.writer('eu');
    await zombie.append([runStart(1)]);
    await using writer = await log.writer('eu');
    const note = 'ünï 語 "quoted" '.repeat(1_300_000);
    const appended = [runStart(2), ...transaction(2, 1, 1, { note }), ...transaction(2, 2, 3), heartbeat(2, 3)];
    // Before its run begins, what the zombie appends counts.
    await writer.append(appended.slice(0, 1));
    const appending = writer.append(appended.slice(1));
    const between: Promise<number>[] = [];
    for (let lsn = 1; lsn <= 50; lsn += 1) between.push(zombie.append([heartbeat(1, lsn)]));
    const last = await appending;
    await Promise.all(between);

    await using third = await KafkaLog.open(shared);
    await using reader = await third.reader('eu');
    const records = await reader.read(0, ALL);
    assert.deepEqual(records.filter(({ run }) => run === 2).map(withoutOffset), appended);
    assert.equal(records.length, appended.length + 51);
    assert.equal(records.filter(({ run }) => run === 2).at(-1)?.offset, last);
    assert.ok(records.every(({ offset }, at) => at === 0 || offset > (records[at - 1]?.offset ?? 0)));
    const large = records.find(({ value }) => value.length > 1_000_000)?.offset ?? 0;
    assert.deepEqual(
      await reader.read(large, { records_max: 1, bytes_max: 1 }),
      records.filter(({ offset }) => offset === large),
    );
    const behind = records.filter(({ offset }) => offset > large);
    assert.deepEqual(await reader.read(large + 1, ALL), behind);
    assert.deepEqual(
      await reader.readBefore(large + 1, ALL),
      records.filter(({ offset }) => offset <= large),
    );
    const items = await itemsFrom(reader, 0, 6);
    assert.deepEqual(items, ['run', 'run', positionOf(1), positionOf(2), 'heartbeat']);
  });

  test('goes on behind a record whose writer died amid its parts', async () => {
    const shared = kafka.settings();
    const large = change(1, 2, 0, 0, { note: 'x'.repeat(5_000_000) });
    {
      await using log = await KafkaLog.open(shared);
      await using writer = await log.writer('eu');
      await writer.append([runStart(1), heartbeat(1, 1)]);
      await using link = new KafkaLink(await kafkaAccess(shared));
      const topic = new KafkaTopic(topicNames(shared.topic_prefix, 'eu').data, link);
      const producer = KafkaProducer.plain(link, topic);
      const parts = encodeRecord(large, 1_000_000, () => 'dead');
      for (const body of parts.slice(0, 3)) await producer.send([body]);
    }
    await using second = await KafkaLog.open(shared);
    await using reader = await second.reader('eu');
    const seen = await reader.read(0, ALL);
    assert.deepEqual(
      seen.map(({ kind }) => kind),
      ['run', 'heartbeat'],
    );
    assert.equal(await reader.waitFor((seen[1]?.offset ?? 0) + 1, 50), false);
    await using writer = await second.writer('eu');
    await writer.append([runStart(2), large]);
    const records = await waitFor(async () => (await reader.read(0, ALL)).slice(2), { what: 'what follows' });
    assert.deepEqual(records.map(withoutOffset), [runStart(2), { ...large }]);
  });
});

/** The first items of a stream from an offset on, by kind or position. */
async function itemsFrom(reader: StreamReader, from: number, most: number): Promise<string[]> {
  const transactions = new TransactionReader(reader, from);
  const items: string[] = [];
  while (items.length < most && (await transactions.fill(200))) {
    const item = transactions.shift();
    items.push(item.kind === 'transaction' || item.kind === 'giant' ? item.position : item.kind);
  }
  return items;
}

function withoutOffset({ offset: _, ...record }: StoredRecord): Omit<StoredRecord, 'offset'> {
  return record;
}
