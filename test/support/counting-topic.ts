/**
 * A topic in memory that counts: where it is fetched from, and which batches are unpacked. Nothing is waited for: an answer
 * that would wait for news comes never.
 */

import { recordBatch } from '../../src/log/kafka/kafka-batch.ts';
import type { Followed } from '../../src/log/kafka/kafka-follower.ts';
import { decodePart, encodeRecord, type StoredPart } from '../../src/log/kafka/kafka-record.ts';
import type { Fetched } from '../../src/log/kafka/kafka-topic.ts';
import { PackedBatch } from '../../src/log/kafka/packed-batch.ts';
import { change } from './stream-records.ts';

export type TopicShape = {
  /** How many records each batch has. */
  readonly sizes: readonly number[];
  readonly batchesPerFetch: number;
  /** Of each record. */
  readonly note?: string;
};

export class CountingTopic implements Followed {
  readonly #batches: PackedBatch[];
  readonly fetchedFrom: number[] = [];
  readonly unpackedAt: number[] = [];
  readonly data: Followed['data'];
  readonly end: number;

  constructor({ sizes, batchesPerFetch, note = '' }: TopicShape) {
    let base = 0;
    this.#batches = sizes.flatMap((size) => {
      const records = Array.from({ length: size }, (_, place) => change(1, base + place + 1, 0, 0, { note }));
      const bodies = records.flatMap((record) => encodeRecord(record, 1_000_000, () => 'split'));
      const source = { producerId: 1n, producerEpoch: 0, sequence: base, timestampMs: 0, compression: 'lz4' } as const;
      const bytes = recordBatch(bodies, source);
      bytes.writeBigInt64BE(BigInt(base), 0);
      base += size;
      return PackedBatch.allIn(bytes);
    });
    this.end = base;
    this.data = {
      extent: async () => ({ first: 0, end: base }),
      fetch: async (from) => await this.#fetch(from, batchesPerFetch),
      fetchBelow: async (from) => await this.#fetch(from, batchesPerFetch),
    };
  }

  async #fetch(from: number, count: number): Promise<Fetched> {
    this.fetchedFrom.push(from);
    const first = this.#batches.findIndex(({ next }) => next > from);
    if (first < 0) await new Promise(() => undefined);
    const batches = this.#batches.slice(first, first + count);
    return { batches, next: batches.at(-1)?.next ?? from, epoch: 0 };
  }

  *partsOf(batch: PackedBatch, from: number): Generator<StoredPart> {
    this.unpackedAt.push(batch.next);
    for (const record of batch.records()) if (record.offset >= from) yield decodePart('topic', record);
  }
}
