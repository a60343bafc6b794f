// What is in logs out there stays readable, and what is written stays readable there: the fixtures of each format against this
// version's readers and writers, and what readers do where a stream goes on in a format that they do not know.

import assert from 'node:assert/strict';
import { DatabaseSync } from 'node:sqlite';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { REGION } from '../../../test/support/made-publisher.ts';
import { directoryWith, loadFixture, readItemsAsText, recordsOfKafka } from '../../../test/support/stream-fixture.ts';
import { change, heartbeat, runStart, transaction } from '../../../test/support/stream-records.ts';
import { kafkaBodies, scenarioRecords, withMoreFields } from '../../../test/support/stream-scenario.ts';
import { type LogRecord, STREAM_FORMAT } from '../../change/stream-record.ts';
import { newerStored, type StoredRecord, type StreamReader } from '../event-log.ts';
import { recordBody } from '../kafka/kafka-batch.ts';
import { MemoryLog } from '../memory-log.ts';
import { readTail } from '../stream-tail.ts';
import { TransactionReader } from '../transaction-reader.ts';
import { EmbeddedLog } from './embedded-log.ts';
import { streamPaths } from './stream-file.ts';

const ALL = { records_max: 1_000, bytes_max: 10_000_000 };
const FORMATS = Array.from({ length: STREAM_FORMAT }, (_, place) => place + 1);

/** A record with its value as an object, so that fields may stand in any order. */
const opened = ({ value, ...headers }: Pick<LogRecord, 'value'>): unknown => ({ ...headers, value: JSON.parse(value) });
const parsed = (items: readonly string[]): unknown[] => items.map((item) => JSON.parse(item) as unknown);

async function memoryReader(records: readonly Omit<StoredRecord, 'offset'>[]): Promise<StreamReader> {
  const log = new MemoryLog();
  // No writer of ours makes what a reader is to stop at.
  await (await log.writer(REGION)).append(records as readonly LogRecord[]);
  return await log.reader(REGION);
}

/** Items that come before the end, or before what the reader stops at; and the code of that. */
async function readOn(reader: StreamReader): Promise<{ items: number; code: unknown }> {
  const transactions = new TransactionReader(reader, 0);
  for (let items = 0; ; items += 1) {
    try {
      if (!(await transactions.fill(0))) return { items, code: null };
    } catch (error) {
      return { items, code: error instanceof Error && 'code' in error ? error.code : error };
    }
    transactions.shift();
  }
}

test('what this version writes has all that its format is known by', async () => {
  const { records } = await loadFixture(STREAM_FORMAT);
  const written = await scenarioRecords();
  assert.equal(written.length, records.length);
  for (const [place, record] of records.entries()) {
    const made = written[place];
    assert.ok(made !== undefined);
    assert.partialDeepStrictEqual(opened(made), opened(record));
  }
});

for (const format of FORMATS) {
  describe(`a stream of format ${format}`, () => {
    test('is read from the embedded log, and goes on there', async () => {
      const { records, items, file } = await loadFixture(format);
      await using directory = await directoryWith(file);
      await using log = await EmbeddedLog.open(directory.path);
      {
        await using reader = await log.reader(REGION);
        const stored = await reader.read(0, ALL);
        assert.deepEqual(
          stored.map(({ offset: _, ...record }) => record),
          records,
        );
        assert.partialDeepStrictEqual(parsed(await readItemsAsText(reader)), parsed(items));
        assert.equal((await readTail(reader, 0n)).last?.position, records.at(-1)?.position);
      }
      await using writer = await log.writer(REGION);
      await writer.append([runStart(4), change(4, 1_000)]);
      await using reader = await log.reader(REGION);
      assert.equal((await reader.read(0, ALL)).length, records.length + 2);
      assert.equal(await reader.runBefore(records.length + 2), 4);
    });

    test('is read from Kafka', async () => {
      const { records, items, kafkaBodies: bodies } = await loadFixture(format);
      const stored = recordsOfKafka(bodies);
      assert.deepEqual(
        stored.map(({ offset: _, ...record }) => record),
        records,
      );
      assert.partialDeepStrictEqual(parsed(await readItemsAsText(await memoryReader(stored))), parsed(items));
    });
  });
}

describe('what may be added', () => {
  test('are fields at any place: who does not know them reads all else as it was', async () => {
    const { records, items } = await loadFixture(STREAM_FORMAT);
    const more = records.map(withMoreFields);
    assert.notDeepEqual(more, records);
    assert.partialDeepStrictEqual(parsed(await readItemsAsText(await memoryReader(more))), parsed(items));
    assert.deepEqual(
      recordsOfKafka(kafkaBodies(more)).map(({ offset: _, ...record }) => record),
      more,
    );
  });

  test('are headers in Kafka; and one that tells no format is of the first', () => {
    const { kind, run, position, index, last, value } = change(3, 9);
    const headers: [string, string][] = [
      ['kind', kind],
      ['added', 'later'],
      ['run', String(run)],
      ['position', String(position)],
      ['index', String(index)],
      ['last', last ? '1' : '0'],
    ];
    const [stored] = recordsOfKafka([recordBody('key', Buffer.from(value), headers)]);
    assert.deepEqual(stored, { ...change(3, 9), offset: 0 });
  });
});

describe('a record that this version cannot read', () => {
  const inKafka = (headers: [string, string][]): StoredRecord[] =>
    recordsOfKafka([recordBody('key', Buffer.from('{}'), headers)]);

  test('is told by its format and by its kind, in Kafka', () => {
    const format = inKafka([
      ['run', '7'],
      ['format', String(STREAM_FORMAT + 1)],
      ['kind', 'change'],
    ]);
    assert.deepEqual(format, [newerStored(0, 7, `format ${STREAM_FORMAT + 1}`)]);
    const kind = inKafka([
      ['format', '1'],
      ['kind', 'schema'],
      ['run', '7'],
    ]);
    assert.deepEqual(kind, [newerStored(0, 7, 'the unknown kind "schema"')]);
  });

  test('is none of ours without a kind or a run, in Kafka', () => {
    const wrong: [string, string][][] = [
      [['run', '7']],
      [['kind', 'change']],
      [
        ['kind', 'change'],
        ['run', '7'],
        ['format', 'x'],
      ],
    ];
    for (const headers of wrong) assert.throws(() => inKafka(headers), { code: 'SYN-L006' });
  });

  test('is told by the number of its kind, in the embedded log', async () => {
    const { records, file } = await loadFixture(STREAM_FORMAT);
    for (const [number, what] of [
      [STREAM_FORMAT * 256, `format ${STREAM_FORMAT + 1}`],
      [(STREAM_FORMAT - 1) * 256 + 200, 'an unknown kind, number 200'],
    ] as const) {
      await using directory = await directoryWith(file);
      const database = new DatabaseSync(streamPaths(directory.path, REGION).database);
      database.exec(`UPDATE record SET kind = ${number} WHERE "offset" >= 4`);
      database.close();
      await using log = await EmbeddedLog.open(directory.path);
      await using reader = await log.reader(REGION);
      const stored = await reader.read(0, ALL);
      assert.equal(stored.length, records.length);
      assert.deepEqual(stored[4], newerStored(4, 3, what));
      // The run, and the transaction in front; the baseline is no item.
      assert.deepEqual(await readOn(reader), { items: 2, code: 'SYN-L012' });
      await assert.rejects(readTail(reader, 0n), { code: 'SYN-L012' });
    }
  });

  test('stops a reader behind all that stands before it, wherever it stands', async () => {
    const pieces = fc.array(fc.constantFrom('transaction', 'heartbeat', 'giant'), { maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(pieces, fc.boolean(), fc.integer({ min: 0, max: 3 }), async (before, isAmid, behind) => {
        const made = before.flatMap((piece, place) => {
          if (piece === 'heartbeat') return [heartbeat(1, place + 1)];
          return transaction(1, place + 1, piece === 'giant' ? 40 : 2);
        });
        const amid = isAmid ? [change(1, 50, 0, 5), change(1, 50, 1, 5)] : [];
        const { offset: _, ...newer } = newerStored(0, 1, 'format 9');
        const after = Array.from({ length: behind }, (_, place) => change(1, 60 + place));
        const reader = await memoryReader([runStart(1), ...made, ...amid, newer, ...after]);
        assert.deepEqual(await readOn(reader), { items: 1 + before.length, code: 'SYN-L012' });
      }),
    );
  });

  test('of a run that was replaced is as void as any other record of it', async () => {
    const { offset: _, ...zombie } = newerStored(0, 1, 'format 9');
    const reader = await memoryReader([runStart(1), runStart(2), zombie, change(2, 1)]);
    assert.deepEqual(await readOn(reader), { items: 3, code: null });
  });
});
