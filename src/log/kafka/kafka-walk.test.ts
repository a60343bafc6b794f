import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { CountingTopic } from '../../../test/support/counting-topic.ts';
import type { StoredRecord } from '../event-log.ts';
import { KafkaWalk } from './kafka-walk.ts';

test('a stream that is read step by step has each batch fetched once and unpacked once, whatever the steps', async () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 12 });
  const steps = fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 20 });
  await fc.assert(
    fc.asyncProperty(sizes, steps, fc.integer({ min: 1, max: 5 }), fc.nat(), async (given, limits, perFetch, at) => {
      const topic = new CountingTopic({ sizes: given, batchesPerFetch: perFetch });
      const { end } = topic;
      const from = at % end;
      const walk = new KafkaWalk(topic, from);
      const read: StoredRecord[] = [];
      for (let step = 0; walk.at < end; step += 1) {
        const limit = { records_max: limits[step % limits.length] ?? 1, bytes_max: 1_000_000 };
        const records = await walk.read(end, limit);
        assert.ok(records.length > 0 && records.length <= limit.records_max, `${records.length} records`);
        assert.equal(records[0]?.offset, walk.at - records.length);
        read.push(...records);
      }
      assert.deepEqual(
        read.map(({ offset }) => offset),
        Array.from({ length: end - from }, (_, place) => from + place),
      );
      assert.equal(walk.hasMore, false);
      assert.equal(new Set(topic.fetchedFrom).size, topic.fetchedFrom.length, 'no place is fetched twice');
      assert.equal(new Set(topic.unpackedAt).size, topic.unpackedAt.length, 'no batch is unpacked twice');
      assert.ok(topic.fetchedFrom.length <= Math.ceil(given.length / perFetch), 'an answer is used up before the next');
    }),
    { numRuns: 100 },
  );
});

test('what is at hand is given out without asking, one batch at a time', async () => {
  const topic = new CountingTopic({ sizes: [10, 10, 10], batchesPerFetch: 3 });
  const walk = new KafkaWalk(topic, 0);
  assert.deepEqual(walk.take({ records_max: 5, bytes_max: 1_000_000 }), []);
  assert.equal((await walk.read(30, { records_max: 5, bytes_max: 1_000_000 })).length, 5);
  assert.deepEqual([topic.fetchedFrom, topic.unpackedAt], [[0], [10]]);
  assert.equal(walk.take({ records_max: 8, bytes_max: 1_000_000 }).length, 8);
  assert.deepEqual([topic.fetchedFrom, topic.unpackedAt, walk.at], [[0], [10, 20], 13]);
});
