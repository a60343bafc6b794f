// The topics as a public interface: what docs/events.md promises, and its consumer, on a real broker.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { Consumer, stringDeserializer } from '@platformatic/kafka';
import type { LogRecord } from '../../src/change/stream-record.ts';
import { KafkaLog } from '../../src/log/kafka/kafka-log.ts';
import { TransactionReader } from '../../src/log/transaction-reader.ts';
import { seededRandom } from '../../src/platform/random.ts';
import { Cluster } from '../support/cluster.ts';
import { DocumentedConsumer, type Place, type Transaction } from '../support/documented-consumer.ts';
import { checkRecord, untoldFields } from '../support/event-checks.ts';
import { type KafkaCluster, plainKafka } from '../support/kafka-cluster.ts';
import { kafkaSettings } from '../support/kafka-streams.ts';
import { baseline, change, heartbeat, positionOf, runStart, transaction } from '../support/stream-records.ts';

const STREAMS = 12;
const LIMIT_MS = 60_000;

let kafka: KafkaCluster;
let consumer: DocumentedConsumer;
before(async () => {
  kafka = await plainKafka();
  consumer = await DocumentedConsumer.load();
});
after(async () => {
  await consumer?.[Symbol.asyncDispose]();
  await kafka?.[Symbol.asyncDispose]();
});

/** What the consumer gives from a place on, until it has given the transaction at the last position. */
async function follow(topic: string, until: string, from?: Place): Promise<Transaction[]> {
  const given: Transaction[] = [];
  const limit = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => limit.reject(new Error(`after ${given.at(-1)?.next.position} nothing came`)),
    LIMIT_MS,
  );
  const transactions = consumer.transactions([...kafka.brokers], topic, from);
  try {
    for (;;) {
      const { value, done } = await Promise.race([transactions.next(), limit.promise]);
      if (done === true) throw new Error('the topic ended');
      given.push(value);
      if (value.next.position >= until) break;
    }
  } finally {
    clearTimeout(timer);
  }
  await transactions.return(undefined);
  return given;
}

const idsOf = (given: readonly Transaction[]): string[][] =>
  given.map(({ events }) => events.map(({ event_id }) => event_id));

describe('the consumer of docs/events.md', () => {
  test('compiles, as strictly as the code of this repository', async () => {
    assert.equal(await consumer.compile(), '');
  });

  test('gives what a region applies, from any place, of streams with zombies, copies and records in parts', async () => {
    const prefix = `${fresh()}.`;
    await using log = await KafkaLog.open(kafkaSettings(kafka.brokers, { topic_prefix: prefix }));
    for (let seed = 1; seed <= STREAMS; seed += 1) {
      const stream = `stream-${seed}`;
      await using writer = await log.writer(stream);
      for (const records of appendsOf(seed)) await writer.append(records);
      const expected = await appliedOf(log, stream);
      const topic = `${prefix}${stream}.data`;
      const until = expected.at(-1)?.position ?? '';
      const given = await follow(topic, until);
      assert.deepEqual(
        given.map(({ next, events }) => [next.position, ...events.map(({ event_id }) => event_id)]),
        expected.map(({ position, ids }) => [position, ...ids]),
        `seed ${seed}`,
      );
      const middle = given[seededRandom(seed).below(given.length - 1)]?.next;
      const rest = await follow(topic, until, middle);
      assert.deepEqual(idsOf(rest), idsOf(given.slice(-rest.length)), `seed ${seed} from ${middle?.position}`);
      assert.equal(
        rest[0]?.next.position,
        given.find(({ next }) => next.position > (middle?.position ?? ''))?.next.position,
      );
    }
  });

  test('says that events are missing, and begins behind a transaction of which only the end is left', async () => {
    const prefix = `${fresh()}.`;
    await using log = await KafkaLog.open(kafkaSettings(kafka.brokers, { topic_prefix: prefix }));
    await using writer = await log.writer('gap');
    await writer.append([runStart(1), ...transaction(1, 1, 2), ...transaction(1, 2, 3)]);
    const topic = `${prefix}gap.data`;
    const [first] = await follow(topic, '');
    assert.equal(first?.events.length, 2);
    // Amid the second transaction.
    await writer.trim(4);
    await writer.append(transaction(1, 3, 1));
    const [begun] = await follow(topic, '');
    assert.equal(begun?.next.position, positionOf(3));
    await assert.rejects(follow(topic, '~', first?.next), /not within the range/);
    await writer.append(transaction(1, 5, 1));
    await assert.rejects(follow(topic, '~', begun?.next), /events are missing behind/);
  });
});

test('what regions publish into Kafka: keys, headers and values are as the page says, and the rows follow from them', async () => {
  const prefix = `${fresh()}.`;
  const log = `{ type: kafka, brokers: ${JSON.stringify(kafka.brokers)}, topic_prefix: ${prefix} }`;
  const schema =
    'create table item (id int primary key, note text); create table pair (a text, b int, primary key (b, a))';
  await using cluster = await Cluster.start({ regions: ['eu', 'us'], schema, log });
  const [eu, us] = [cluster.region('eu'), cluster.region('us')];
  await eu.sql(`insert into item select i, 'eu' from generate_series(1, 500) i`);
  // In parts, and with characters of two bytes that are cut.
  await eu.sql(`insert into item select 1000, repeat('äö', 700000) || 'x'`);
  await eu.sql(`insert into pair values ('x y', 1), (e'"\\n', 2)`);
  await eu.killAgent();
  await eu.sql(`update item set note = id::text where id % 2 = 0 and id < 1000`);
  await us.sql(`insert into item values (2000, 'us')`);
  eu.startAgent();
  await eu.agentReady();
  await eu.sql('delete from item where id % 5 = 0 and id < 1000');
  await cluster.settle();

  const until = (await eu.one(`select position from syncline.applied where origin = 'eu'`)) ?? '';
  const rows = new Map<string, string | null>();
  for (const { events } of await follow(`${prefix}eu.data`, until)) {
    for (const { table_name, operation, row_pk, after_image } of events) {
      if (table_name !== 'item') continue;
      if (operation === 'DELETE') rows.delete(row_pk.id ?? '');
      else rows.set(row_pk.id ?? '', after_image?.note ?? null);
    }
  }
  const own = await eu.sql('select id, note from item where id <> 2000 order by id');
  assert.deepEqual(
    [...rows].toSorted(([a], [b]) => Number(a) - Number(b)),
    own,
  );

  const kinds = new Set<string>();
  const keys = new Set<string>();
  let parts = 0;
  for (const { headers, key, value } of await rawRecords(`${prefix}eu.data`, until)) {
    checkRecord('headers', headers);
    assert.deepEqual(untoldFields('headers', headers), []);
    kinds.add(headers.kind ?? '');
    keys.add(key);
    if (headers.parts !== undefined) parts += 1;
    else checkValue(headers, value);
  }
  assert.deepEqual([...kinds].toSorted(), ['baseline', 'change', 'heartbeat', 'run']);
  assert.ok(parts > 1);
  for (const key of ['public.item {"id":"7"}', 'public.pair {"b":"1","a":"x y"}', 'heartbeat', 'run', 'baseline']) {
    assert.ok(keys.has(key), `${key} among ${[...keys].slice(-20).join(', ')}`);
  }
});

type Headers = Readonly<Record<string, string>>;

function checkValue(headers: Headers, text: string): void {
  const value = JSON.parse(text) as Readonly<Record<string, never>> & {
    readonly transaction?: {
      readonly epoch: string;
      readonly index: number;
      readonly last: boolean;
      readonly id: number;
    };
  };
  const { kind } = headers;
  assert.ok(kind === 'change' || kind === 'heartbeat' || kind === 'run' || kind === 'baseline');
  checkRecord(kind, value);
  assert.equal(headers.region, value.region_id);
  if (value.transaction === undefined) return;
  const { index, last, id, epoch } = value.transaction;
  assert.deepEqual(
    [headers.index, headers.last, headers.transaction, headers.position?.slice(0, 19)],
    [String(index), last ? '1' : '0', String(id), epoch],
  );
  assert.deepEqual(
    [headers.event_id, headers.hlc, headers.operation],
    [value.event_id, value.hlc_timestamp, value.operation],
  );
}

async function rawRecords(topic: string, until: string): Promise<{ headers: Headers; key: string; value: string }[]> {
  const raw = new Consumer<string, string, string, string>({
    clientId: 'test',
    groupId: fresh(),
    bootstrapBrokers: [...kafka.brokers],
    deserializers: {
      key: stringDeserializer,
      value: stringDeserializer,
      headerKey: stringDeserializer,
      headerValue: stringDeserializer,
    },
  });
  try {
    const records: { headers: Headers; key: string; value: string }[] = [];
    for await (const { headers, key, value } of await raw.consume({
      topics: [topic],
      mode: 'earliest',
      autocommit: false,
    })) {
      records.push({ headers: Object.fromEntries(headers), key, value });
      if ((headers.get('position') ?? '') >= until) break;
    }
    return records;
  } finally {
    await raw.close(true);
  }
}

const fresh = (): string => `test-${randomBytes(6).toString('hex')}`;

/** A stream as writers with faults leave it: each append is what one writer sent at once. */
function appendsOf(seed: number): LogRecord[][] {
  const random = seededRandom(seed);
  const appends: LogRecord[][] = [];
  let run = 1;
  let lsn = 0;
  appends.push([runStart(run), baseline(run)]);
  for (let step = 0; step < 40; step += 1) {
    const at = lsn + 1;
    const big = { note: `ü${'äö'.repeat(random.below(3) === 0 ? 600_000 : 3)}` };
    const events = 1 + random.below(4);
    const records =
      random.below(4) === 0 ? [heartbeat(run, at)] : transaction(run, at, events, random.below(8) === 0 ? big : {});
    const fate = random.below(8);
    if (fate === 0) {
      // Replaced amid the transaction; what it still sends is void, and the next run sends it again.
      const cut = random.below(records.length + 1);
      appends.push(records.slice(0, cut === records.length ? cut - 1 : cut), [runStart(run + 1)], records.slice(cut));
      run += 1;
      continue;
    }
    appends.push(records);
    // An append in doubt, sent again by the same run; a baseline amid it all.
    if (fate === 1) appends.push(records);
    if (fate === 2) appends.push([baseline(run), change(run - 1, at + 1)]);
    lsn = at;
  }
  appends.push([heartbeat(run, lsn + 1)]);
  return appends.filter((records) => records.length > 0);
}

type Applied = { readonly position: string; readonly ids: readonly string[] };

/** What a region takes of the stream. */
async function appliedOf(log: KafkaLog, stream: string): Promise<Applied[]> {
  await using reader = await log.reader(stream);
  const items = new TransactionReader(reader, 0);
  const applied: Applied[] = [];
  for await (const item of items.items()) {
    if (item.kind === 'heartbeat') applied.push({ position: item.heartbeat.position, ids: [] });
    if (item.kind === 'transaction')
      applied.push({ position: item.position, ids: item.events.map((event) => event.event_id) });
    if (item.kind === 'giant') {
      const ids: string[] = [];
      for await (const events of item.chunks()) ids.push(...events.map((event) => event.event_id));
      applied.push({ position: item.position, ids });
    }
  }
  return applied;
}
