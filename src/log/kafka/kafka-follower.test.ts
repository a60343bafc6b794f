import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CountingTopic } from '../../../test/support/counting-topic.ts';
import { waitFor } from '../../../test/support/wait-for.ts';
import { fail } from '../../platform/errors.ts';
import { KafkaFollower } from './kafka-follower.ts';
import { KafkaLink } from './kafka-link.ts';

const STEP = { records_max: 500, bytes_max: 512 * 1024 };
const BUFFER_BYTES_MAX = 8 * 1024 * 1024;
const NOTE = 'x'.repeat(20_000);
/** As many records with that note as a batch of a megabyte has. */
const OF_A_BATCH = 50;

/** A link that nobody asks anything. */
const noLink = (): KafkaLink =>
  new KafkaLink({ brokers: ['127.0.0.1:1'], client_id: 'test', tls: null, servername: null });

test('what is read ahead is bounded: the rest of an answer stays packed until there is room', async () => {
  const topic = new CountingTopic({
    sizes: Array.from({ length: 40 }, () => OF_A_BATCH),
    batchesPerFetch: 40,
    note: NOTE,
  });
  const follower = new KafkaFollower(topic, noLink(), 0);
  let next = 0;
  let resting = 0;
  while (next < topic.end) {
    await waitFor(() => follower.has(next), { what: `record ${next}` });
    // It is given time to go on as far as it would.
    for (let turn = 0; turn < 60; turn += 1) await new Promise(setImmediate);
    const unpacked = topic.unpackedAt.length * OF_A_BATCH - next;
    assert.ok((unpacked - OF_A_BATCH) * NOTE.length < BUFFER_BYTES_MAX, `${unpacked} records in the buffer`);
    const records = follower.take(next, STEP);
    next = (records.at(-1)?.offset ?? next) + 1;
    if (topic.unpackedAt.length < 40) {
      resting += 1;
      assert.equal(follower.mayAddTo(next), false, 'nobody waits for a follower that rests');
    }
  }
  assert.ok(resting > 20, `${resting} times there was no room`);
  assert.deepEqual(topic.fetchedFrom, [0, topic.end]);
  assert.equal(topic.unpackedAt.length, 40);
  assert.equal(follower.mayAddTo(next), true);
});

test('who takes what was brought need not wait for it to be unpacked', async () => {
  const topic = new CountingTopic({ sizes: [3, 4, 5], batchesPerFetch: 3 });
  const follower = new KafkaFollower(topic, noLink(), 0);
  await follower.changed();
  assert.deepEqual(topic.unpackedAt, [3]);
  const records = follower.take(0, STEP);
  assert.deepEqual([records.length, follower.next, topic.unpackedAt], [12, 12, [3, 7, 12]]);
});

test('a batch that cannot be read ends it: what is behind is never given out', async () => {
  const topic = new CountingTopic({ sizes: [2, 2, 2], batchesPerFetch: 3 });
  const sound = topic.partsOf.bind(topic);
  topic.partsOf = function* (batch, from) {
    if (batch.next === 4) throw new Error('damaged');
    yield* sound(batch, from);
  };
  await using follower = new KafkaFollower(topic, noLink(), 0);
  await follower.changed();
  assert.deepEqual(
    follower.take(0, STEP).map(({ offset }) => offset),
    [0, 1],
  );
  for (let turn = 0; turn < 3; turn += 1) {
    assert.throws(() => follower.take(2, STEP), { message: 'damaged' });
    await new Promise(setImmediate);
  }
  assert.equal(follower.next, 2);
});

test('a record that was in parts is not given out again to who has read on behind it meanwhile', async () => {
  const topic = new CountingTopic({ sizes: [1, 1], batchesPerFetch: 1 });
  const sound = topic.partsOf.bind(topic);
  // One record: its second part comes with the second batch.
  topic.partsOf = function* (batch, from) {
    for (const part of sound(batch, from)) yield { ...part, part: batch.next - 1, parts: 2, split: 'the record' };
  };
  const follower = new KafkaFollower(topic, noLink(), 0);
  await follower.changed();
  assert.deepEqual([follower.next, follower.take(0, STEP)], [1, []]);
  // The reader got it whole by a fetch of his own.
  follower.skipTo(1);
  await waitFor(() => follower.next === 2, { what: 'the second part' });
  assert.equal(follower.has(0), false);
  assert.deepEqual(follower.take(1, STEP), []);
});

test('who waits for news leaves nothing behind once he waits no more', async () => {
  const topic = new CountingTopic({ sizes: [1], batchesPerFetch: 1 });
  const follower = new KafkaFollower(topic, noLink(), 1);
  for (let round = 0; round < 5; round += 1) {
    const calling = new AbortController();
    const waiting = [follower.changed({ limitMs: 1 }), follower.changed({ limitMs: 60_000, signal: calling.signal })];
    assert.equal(follower.waitersCount, 2);
    await waiting[0];
    assert.equal(follower.waitersCount, 1);
    calling.abort();
    await Promise.all(waiting);
    assert.equal(follower.waitersCount, 0);
  }
});

test('a fault that is over is forgotten also while there is no topic yet', async () => {
  let isAway = true;
  const topic = new CountingTopic({ sizes: [1], batchesPerFetch: 1 });
  topic.data.extent = async () => null;
  topic.data.fetch = async () => {
    if (isAway) throw fail('SYN-L060', 'away');
    return null;
  };
  await using follower = new KafkaFollower(topic, noLink(), 0);
  await follower.changed();
  assert.throws(() => follower.check(), { code: 'SYN-L060' });
  isAway = false;
  await follower.changed();
  follower.check();
});
