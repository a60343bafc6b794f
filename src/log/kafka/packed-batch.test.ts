import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { crc32c, createRecordsBatch, IS_CONTROL } from '@platformatic/kafka';
import fc from 'fast-check';
import { type BatchSource, recordBatch, recordBody } from './kafka-batch.ts';
import type { KafkaCompression } from './kafka-settings.ts';
import { PackedBatch } from './packed-batch.ts';

const SOURCE: BatchSource = {
  producerId: 7n,
  producerEpoch: 3,
  sequence: 0,
  timestampMs: 1_700_000_000_123,
  compression: 'none',
};
const NAMES = ['kind', 'run', 'absent', 'kin', ''].map((name) => Buffer.from(name));

type Given = { readonly key: string; readonly value: Uint8Array; readonly headers: readonly [string, string][] };

const headerName = fc.oneof(fc.constantFrom('kind', 'run', 'kin', 'kindred'), fc.stringMatching(/^[a-z_]{1,9}$/));
const record: fc.Arbitrary<Given> = fc.record({
  key: fc.string(),
  value: fc.uint8Array({ maxLength: 3_000 }),
  headers: fc.uniqueArray(fc.tuple(headerName, fc.string({ unit: 'binary-ascii', maxLength: 40 })), {
    maxLength: 8,
    selector: ([name]) => name,
  }),
});

/** As a broker stores it: at a place, written by a leader. */
function stored(records: readonly Given[], base: number, compression: KafkaCompression): Buffer {
  const bodies = records.map(({ key, value, headers }) => recordBody(key, Buffer.from(value), headers));
  const bytes = recordBatch(bodies, { ...SOURCE, compression });
  bytes.writeBigInt64BE(BigInt(base), 0);
  bytes.writeInt32BE(5, 12);
  return bytes;
}

/** With the checksum of what it is. */
function resealed(bytes: Buffer): Buffer {
  bytes.writeUInt32BE(crc32c(bytes.subarray(21)), 17);
  return bytes;
}

const readAll = (bytes: Buffer): unknown[] =>
  PackedBatch.allIn(bytes).flatMap((batch) =>
    [...batch.records()].map((each) => ({
      offset: each.offset,
      key: each.key?.toString(),
      value: each.value,
      texts: each.texts(NAMES),
    })),
  );

describe('batches that a broker sent', () => {
  for (const compression of ['none', 'gzip', 'snappy', 'lz4', 'zstd'] satisfies KafkaCompression[]) {
    test(`give their records as they were written, but for one that is cut off, with compression ${compression}`, () => {
      const batches = fc.array(fc.array(record, { minLength: 1, maxLength: 12 }), { minLength: 1, maxLength: 4 });
      fc.assert(
        fc.property(batches, fc.double({ min: 0, max: 1, noNaN: true }), (given, share) => {
          let base = 1_000_000_000_000;
          const expected: unknown[] = [];
          const packed: Buffer[] = [];
          for (const records of given) {
            packed.push(stored(records, base, compression));
            for (const [place, { key, value, headers }] of records.entries()) {
              const texts = NAMES.map((name) => new Map(headers).get(name.toString()));
              expected.push({ offset: base + place, key, value: Buffer.from(value), texts });
            }
            base += records.length;
          }
          const whole = Buffer.concat(packed);
          assert.deepEqual(readAll(whole), expected);
          const heads = PackedBatch.allIn(whole);
          assert.deepEqual(
            heads.map(({ count, bytes, epoch, maxTimestampMs }) => [count, bytes, epoch, maxTimestampMs]),
            given.map((records, place) => [records.length, packed[place]?.length, 5, 1_700_000_000_123]),
          );
          assert.equal(heads.at(-1)?.next, base);
          const last = packed.at(-1)?.length ?? 0;
          const cut = whole.subarray(0, whole.length - Math.max(1, Math.floor(share * last)));
          assert.deepEqual(readAll(cut), expected.slice(0, expected.length - (given.at(-1)?.length ?? 0)));
        }),
        { numRuns: 40 },
      );
    });
  }

  test('are read as others write them: times that differ, no key, no value, no headers', () => {
    const messages = [
      { topic: 't', value: Buffer.from('a'), timestamp: 1_700_000_000_000n },
      {
        topic: 't',
        key: Buffer.from('k'),
        timestamp: 1_900_000_000_000n,
        headers: new Map([[Buffer.from('run'), Buffer.from('9')]]),
      },
    ];
    const bytes = createRecordsBatch(messages as Parameters<typeof createRecordsBatch>[0], {
      compression: 'gzip',
    }).buffer;
    assert.deepEqual(readAll(bytes), [
      { offset: 0, key: undefined, value: Buffer.from('a'), texts: NAMES.map(() => undefined) },
      { offset: 1, key: 'k', value: null, texts: [undefined, '9', undefined, undefined, undefined] },
    ]);
  });

  test('have no records where they are marks of the broker, and take their place', () => {
    const bytes = createRecordsBatch([{ topic: 't', value: Buffer.from('commit') }]).buffer;
    assert.equal(readAll(bytes).length, 1);
    bytes.writeInt16BE(IS_CONTROL, 21);
    const [batch] = PackedBatch.allIn(resealed(bytes));
    assert.deepEqual([[...(batch?.records() ?? [])], batch?.next], [[], 1]);
  });

  test('that are damaged are told, whatever the damage', () => {
    const damage = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 })), { minLength: 1, maxLength: 4 });
    const records = fc.array(record, { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(
        records,
        damage,
        fc.constantFrom<KafkaCompression>('none', 'lz4', 'zstd'),
        (given, flips, compression) => {
          const sound = stored(given, 0, compression);
          const bytes = Buffer.from(sound);
          // All that the checksum covers.
          for (const [at, bits] of flips) {
            const place = 21 + (at % (bytes.length - 21));
            bytes[place] = (bytes[place] ?? 0) ^ bits;
          }
          if (bytes.equals(sound)) return;
          assert.throws(() => readAll(bytes), { code: 'SYN-L006' });
          // And where the damage was there before the checksum, nothing but that error ends the reading.
          try {
            readAll(resealed(bytes));
          } catch (error) {
            assert.equal((error as { code?: unknown }).code, 'SYN-L006', String(error));
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});
