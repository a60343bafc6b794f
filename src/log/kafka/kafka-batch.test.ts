import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import { crc32c, Reader, readRecordsBatch } from '@platformatic/kafka';
import fc from 'fast-check';
import { change, heartbeat, runStart } from '../../../test/support/stream-records.ts';
import { BATCH_HEAD_BYTES, RECORD_HEAD_BYTES_MAX, recordBatch, recordBody } from './kafka-batch.ts';
import { decodePart, encodeRecord } from './kafka-record.ts';
import type { KafkaCompression } from './kafka-settings.ts';
import { topicNames } from './kafka-settings.ts';
import { PackedBatch } from './packed-batch.ts';
import { PartAssembler } from './part-assembler.ts';

const SOURCE = {
  producerId: 7n,
  producerEpoch: 3,
  sequence: 11,
  timestampMs: 1_700_000_000_123,
  compression: 'none',
} as const;

describe('a batch of records', () => {
  for (const compression of ['none', 'gzip', 'snappy', 'lz4', 'zstd'] satisfies KafkaCompression[]) {
    test(`is read by Kafka's client as it was written, with compression ${compression}`, () => {
      const headers = fc.array(fc.tuple(fc.stringMatching(/^[a-z_]{1,12}$/), fc.string({ maxLength: 40 })), {
        maxLength: 12,
      });
      const records = fc.array(fc.tuple(fc.string(), fc.uint8Array({ maxLength: 20_000 }), headers), {
        minLength: 1,
        maxLength: 80,
      });
      fc.assert(
        fc.property(records, (given) => {
          const bodies = given.map(([key, value, each]) => recordBody(key, Buffer.from(value), each));
          const bytes = recordBatch(bodies, { ...SOURCE, compression });
          const batch = readRecordsBatch(Reader.from(bytes));
          assert.equal(batch.length, bytes.length - 12);
          assert.equal(batch.crc, crc32c(bytes.subarray(21)));
          assert.deepEqual([batch.producerId, batch.producerEpoch, batch.firstSequence], [7n, 3, 11]);
          assert.deepEqual([batch.firstTimestamp, batch.maxTimestamp], [1_700_000_000_123n, 1_700_000_000_123n]);
          assert.equal(batch.lastOffsetDelta, given.length - 1);
          for (const [place, record] of batch.records.entries()) {
            const [key, value, each] = given[place] ?? ['', new Uint8Array(), []];
            assert.equal(record.offsetDelta, place);
            assert.equal(record.key?.toString(), key);
            assert.deepEqual(record.value, Buffer.from(value));
            assert.deepEqual(
              record.headers.map(([name, text]) => [name?.toString(), text?.toString()]),
              each,
            );
          }
          const most = BATCH_HEAD_BYTES + bodies.reduce((sum, body) => sum + body.length + RECORD_HEAD_BYTES_MAX, 0);
          if (compression === 'none') assert.ok(bytes.length <= most);
        }),
        { numRuns: 60 },
      );
    });
  }

  for (const compression of ['gzip', 'snappy', 'lz4', 'zstd'] satisfies KafkaCompression[]) {
    test(`is never larger for being compressed, with compression ${compression}`, () => {
      // What of it is random does not shrink: it is as large as the topic takes, and not larger.
      const random = randomBytes(100_000).toString('base64');
      for (const value of [randomBytes(100_000), Buffer.from(random), Buffer.alloc(100_000)]) {
        const bodies = [recordBody('key', value, [])];
        const plain = recordBatch(bodies, SOURCE);
        const bytes = recordBatch(bodies, { ...SOURCE, compression });
        assert.ok(bytes.length <= plain.length, `${bytes.length} of ${plain.length}`);
        assert.deepEqual(readRecordsBatch(Reader.from(bytes)).records[0]?.value, value);
      }
    });
  }
});

describe('a record of a stream', () => {
  const read = (bodies: readonly Buffer[], batchBytesMax: number): unknown[] => {
    const assembler = new PartAssembler();
    let offset = 0;
    for (const body of bodies) {
      const bytes = recordBatch([body], SOURCE);
      assert.ok(bytes.length <= batchBytesMax, `${bytes.length} bytes`);
      bytes.writeBigInt64BE(BigInt(offset), 0);
      for (const batch of PackedBatch.allIn(bytes)) {
        for (const record of batch.records()) assembler.take(decodePart('topic', record));
        offset = batch.next;
      }
    }
    return assembler.drain().map(({ offset: _, ...record }) => record);
  };

  test('comes back as it was, in as many parts as the topic needs', () => {
    const sizes = fc.record({ note: fc.string({ unit: 'grapheme', maxLength: 3_000 }), times: fc.nat({ max: 60 }) });
    fc.assert(
      fc.property(sizes, fc.integer({ min: 70_000, max: 200_000 }), ({ note, times }, batchBytesMax) => {
        for (const record of [change(3, 9, 0, 2, { note: note.repeat(times) }), heartbeat(3, 1), runStart(4)]) {
          const bodies = encodeRecord(record, batchBytesMax, () => 'split');
          assert.deepEqual(read(bodies, batchBytesMax), [record]);
        }
      }),
      { numRuns: 60 },
    );
  });

  test('has the row as its key, and headers that a person can read', () => {
    const [body = Buffer.alloc(0)] = encodeRecord(change(3, 9, 1, 2, { key: 'k"1' }), 100_000, () => 'split');
    const [record] = readRecordsBatch(Reader.from(recordBatch([body], SOURCE))).records;
    assert.equal(record?.key?.toString(), 'public.item {"id":"k\\"1"}');
    const headers = Object.fromEntries((record?.headers ?? []).map(([name, text]) => [String(name), String(text)]));
    assert.deepEqual(headers, {
      format: '1',
      kind: 'change',
      run: '3',
      position: '1000000000000000000:0000000000000009',
      index: '1',
      last: '0',
      region: 'eu',
      event_id: 'event 9.1',
      hlc: '0000000000000000009',
      transaction: '9',
      operation: 'UPDATE',
    });
  });

  test('is told from whatever else a topic may hold', () => {
    const foreign = [
      recordBody('key', Buffer.from('{}'), []),
      recordBody('key', Buffer.from('{}'), [
        ['kind', 'change'],
        ['run', 'one'],
        ['index', '0'],
        ['last', '1'],
      ]),
      recordBody('key', Buffer.from('{}'), [
        ['kind', 'change'],
        ['run', '1'],
        ['index', '0'],
      ]),
      recordBody('key', Buffer.from('{}'), [
        ['kind', 'change'],
        ['run', '1'],
        ['position', 'x'],
        ['index', '0'],
        ['last', '1'],
      ]),
    ];
    for (const body of foreign) assert.throws(() => read([body], 100_000), { code: 'SYN-L006' });
  });
});

test('the topics of two streams are never the same, and have names that Kafka takes', () => {
  fc.assert(
    fc.property(fc.string({ minLength: 1, maxLength: 20 }), fc.string({ minLength: 1, maxLength: 20 }), (a, b) => {
      const names = [a, b].flatMap((stream) => Object.values(topicNames('p.', stream)));
      for (const name of names) assert.match(name, /^[A-Za-z0-9._-]+$/);
      // Kafka refuses names that differ in these two characters only.
      if (a !== b) assert.equal(new Set(names.map((name) => name.replaceAll('.', '_'))).size, 4);
    }),
  );
  assert.deepEqual(topicNames('syncline.', 'eu-west'), {
    data: 'syncline.eu-west.data',
    control: 'syncline.eu-west.control',
  });
});
