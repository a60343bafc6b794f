/**
 * Goes along a stream from a place on, batch by batch, as far as whoever walks asks for. What a fetch brought beyond that stays
 * packed, and a batch that was unpacked is given out to its last record: a giant that is read step by step has each
 * of its batches fetched once and unpacked once.
 */
import type { ReadLimit, StoredRecord } from '../event-log.ts';
import { isFull, takeWithin } from '../read-limit.ts';
import type { KafkaStream } from './kafka-stream.ts';
import type { PackedBatch } from './packed-batch.ts';
import { PartAssembler } from './part-assembler.ts';

const FETCH_BYTES_MIN = 64 * 1024;
const FETCH_BYTES_MAX = 1024 * 1024;

/** What a stream is walked by. */
export type Walked = Pick<KafkaStream, 'partsOf'> & { readonly data: Pick<KafkaStream['data'], 'fetchBelow'> };

export class KafkaWalk {
  readonly #stream: Walked;
  #assembler = new PartAssembler();
  #packed: PackedBatch[] = [];
  #ready: StoredRecord[] = [];
  #next: number;
  #at: number;
  #front: number;

  constructor(stream: Walked, from: number) {
    this.#stream = stream;
    this.#front = from;
    this.#next = from;
    this.#at = from;
  }

  /** What was not given out yet stands there or above. */
  get at(): number {
    return this.#at;
  }

  /** What was given out and stands below is not there any more. */
  get front(): number {
    return this.#front;
  }

  /** Whether something is at hand, so that going on needs no broker. */
  get hasMore(): boolean {
    return this.#ready.length > 0 || this.#packed.length > 0;
  }

  /** Whether all records below that offset are ready. */
  hasPassed(offset: number): boolean {
    const { openAt } = this.#assembler;
    return this.#next >= offset && (openAt === null || openAt >= offset);
  }

  /** The next records of those at hand. */
  take(limit: ReadLimit): StoredRecord[] {
    while (!isFull(limit, this.#ready) && this.#unpackNext());
    const taken = takeWithin(limit, (place) => this.#ready[place]);
    return this.#give(taken, this.#ready.slice(taken.length));
  }

  /** The next records below `end`, as many as the limit allows. */
  async read(end: number, limit: ReadLimit): Promise<StoredRecord[]> {
    while (!isFull(limit, this.#ready) && (await this.step(end, limit.bytes_max)));
    return this.take(limit);
  }

  /** Makes the next batch ready; false where none follows below `end`. */
  async step(end: number, bytesWanted: number): Promise<boolean> {
    if (this.#unpackNext()) return true;
    if (this.#next >= end) return false;
    const bytesMax = Math.min(FETCH_BYTES_MAX, Math.max(FETCH_BYTES_MIN, Math.ceil(bytesWanted)));
    const { batches, next } = await this.#stream.data.fetchBelow(this.#next, { maxWaitMs: 0, bytesMax });
    this.#packed.push(...batches);
    if (batches.length > 0) return this.#unpackNext();
    this.#goOnAt(next);
    return next < end;
  }

  /** Retention took what was read: it goes on as if it had begun a moment later, so whoever needs what is gone sees that. */
  #goOnAt(front: number): void {
    this.#front = front;
    this.#next = front;
    this.#at = front;
    this.#ready = [];
    this.#assembler = new PartAssembler();
  }

  /** All that is ready. */
  drain(): StoredRecord[] {
    return this.#give(this.#ready, []);
  }

  #unpackNext(): boolean {
    const batch = this.#packed.shift();
    if (batch === undefined) return false;
    for (const part of this.#stream.partsOf(batch, this.#next)) this.#assembler.take(part);
    this.#next = batch.next;
    this.#ready.push(...this.#assembler.drain());
    return true;
  }

  #give(given: StoredRecord[], left: StoredRecord[]): StoredRecord[] {
    this.#ready = left;
    this.#at = (given.at(-1)?.offset ?? this.#at - 1) + 1;
    return given;
  }
}
