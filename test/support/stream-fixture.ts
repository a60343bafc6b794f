// Streams that some format of ours has written, as they lie in test/fixtures/streams.

import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import type { LogRecord } from '../../src/change/stream-record.ts';
import { streamPaths } from '../../src/log/embedded/stream-file.ts';
import type { StoredRecord, StreamReader } from '../../src/log/event-log.ts';
import { type BatchSource, recordBatch } from '../../src/log/kafka/kafka-batch.ts';
import { decodePart } from '../../src/log/kafka/kafka-record.ts';
import { PackedBatch } from '../../src/log/kafka/packed-batch.ts';
import { PartAssembler } from '../../src/log/kafka/part-assembler.ts';
import { TransactionReader } from '../../src/log/transaction-reader.ts';
import { REGION } from './made-publisher.ts';

const FOLDER = join(import.meta.dirname, '../fixtures/streams');
const SOURCE: BatchSource = { producerId: -1n, producerEpoch: -1, sequence: -1, timestampMs: 0, compression: 'none' };

export type StreamFixture = {
  readonly records: readonly LogRecord[];
  readonly kafkaBodies: readonly Buffer[];
  /** What reading gives, as text. */
  readonly items: readonly string[];
  /** The file of the embedded log. */
  readonly file: Buffer;
};

export async function loadFixture(format: number): Promise<StreamFixture> {
  const path = (name: string): string => join(FOLDER, `format-${format}`, name);
  const lines = async (name: string): Promise<string[]> => (await readFile(path(name), 'utf8')).trim().split('\n');
  return {
    records: (await lines('records.jsonl')).map((line) => JSON.parse(line) as LogRecord),
    kafkaBodies: (await lines('kafka.txt')).map((line) => Buffer.from(line, 'base64')),
    items: await lines('items.jsonl'),
    file: gunzipSync(await readFile(path('embedded.gz'))),
  };
}

/** A directory of the embedded log, with the file as the stream of `REGION` in it. */
export async function directoryWith(file: Buffer): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'syncline-fixture-'));
  const { folder, database } = streamPaths(path, REGION);
  await mkdir(folder, { recursive: true });
  await writeFile(database, file);
  return { path, [Symbol.asyncDispose]: async () => await rm(path, { recursive: true, force: true }) };
}

/** What a reader of a topic gets that holds these records. */
export function recordsOfKafka(bodies: readonly Buffer[]): StoredRecord[] {
  const assembler = new PartAssembler();
  for (const batch of PackedBatch.allIn(recordBatch(bodies, SOURCE))) {
    for (const record of batch.records()) assembler.take(decodePart('topic', record));
  }
  return assembler.drain();
}

/** All that a stream gives, item by item, but for the offsets, which each log has for itself. */
export async function readItemsAsText(reader: StreamReader): Promise<string[]> {
  const transactions = new TransactionReader(reader, 0);
  const items: string[] = [];
  for await (const item of transactions.items()) items.push(JSON.stringify(item, asText));
  return items;
}

function asText(name: string, value: unknown): unknown {
  if (name.endsWith('offset')) return undefined;
  return typeof value === 'bigint' ? `${value}n` : value;
}
