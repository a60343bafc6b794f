/**
 * Appends to one stream. Records that are appended while batches are under way go together into the next one; a batch
 * goes at once where none is under way, and beside others only once it is full. So a single record waits for
 * nobody, and many share the cost of a request.
 *
 * A failure ends the writer, also where it is unknown whether the batch was stored: what is appended behind it would stand
 * behind a gap. Another writer of the stream may be at work, a zombie or the one that took over; Kafka does not tell them
 * apart, and need not: readers go by runs.
 *
 * The index of runs is kept beside, now and then, and before anything is trimmed: what it lacks, readers find out.
 */
import { randomUUID } from 'node:crypto';
import { deleteRecordsV2 } from '@platformatic/kafka';
import type { LogRecord } from '../../change/stream-record.ts';
import { invariant } from '../../platform/assert.ts';
import { fail } from '../../platform/errors.ts';
import type { StreamReader, StreamWriter } from '../event-log.ts';
import { BATCH_HEAD_BYTES, RECORD_HEAD_BYTES_MAX } from './kafka-batch.ts';
import { kafkaError } from './kafka-errors.ts';
import type { KafkaLink } from './kafka-link.ts';
import { KafkaProducer } from './kafka-producer.ts';
import { encodeRecord } from './kafka-record.ts';
import type { KafkaCompression } from './kafka-settings.ts';
import type { KafkaStream } from './kafka-stream.ts';

/** Below the five batches of a producer that Kafka remembers. */
const IN_FLIGHT_MAX = 4;
const BATCH_RECORDS_MAX = 5_000;
const TRIM_TIMEOUT_MS = 10_000;
/** How far the index that is kept may be behind; what it lacks is read by whoever starts. */
const INDEX_RECORDS_MAX = 50_000;
const INDEX_PERIOD_MS = 60_000;

/** One Kafka record: a record of the stream, or a part of one. */
type Item = {
  readonly body: Buffer;
  readonly run: number;
  readonly append: Append;
  readonly isFirst: boolean;
  readonly isLast: boolean;
};

type Append = {
  rest: number;
  /** Of the newest of its records that were stored. A record stands where its first part stands. */
  offset: number;
  readonly resolve: (offset: number) => void;
  readonly reject: (error: unknown) => void;
};

export class KafkaWriter implements StreamWriter {
  readonly #stream: KafkaStream;
  readonly #link: KafkaLink;
  readonly #producer: KafkaProducer;
  readonly #reader: StreamReader;
  readonly #batchBytesMax: number;
  readonly #onClosed: () => void;
  readonly #id = randomUUID();
  #splits = 0;
  #waiting: Item[] = [];
  #waitingBytes = 0;
  #inFlight = 0;
  #lastOffset = -1;
  #failure: unknown;
  #idle: (() => void)[] = [];
  #closing: Promise<void> | undefined;
  #indexedTo = 0;
  #indexedAtMs = performance.now();
  #highestRun = -1;
  #indexing: Promise<void> | undefined;

  private constructor(parts: WriterParts, producer: KafkaProducer, batchBytesMax: number) {
    this.#stream = parts.stream;
    this.#link = parts.link;
    this.#reader = parts.reader;
    this.#onClosed = parts.onClosed;
    this.#producer = producer;
    this.#batchBytesMax = batchBytesMax;
  }

  /** The link and the reader become the writer's. */
  static async open(parts: WriterParts): Promise<KafkaWriter> {
    const { stream, link, compression } = parts;
    const { batchBytesMax } = await stream.ensure();
    const end = (await stream.data.extent())?.end ?? 0;
    await stream.coverRuns(Math.max(end, 1));
    // A control topic of a data topic that is gone says so.
    await stream.control.claim(stream.data.id);
    const producer = await KafkaProducer.idempotent(link, stream.data, compression);
    return new KafkaWriter(parts, producer, batchBytesMax);
  }

  append(records: readonly LogRecord[]): Promise<number> {
    invariant(records.length > 0, 'an append has at least one record');
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const append: Append = { rest: 0, offset: -1, resolve, reject };
    try {
      this.#enqueue(records, append);
    } catch (error) {
      reject(error);
      this.#fail(error);
    }
    this.#pump();
    return promise;
  }

  async trim(offset: number): Promise<void> {
    const extent = await this.#stream.extent();
    if (extent === null || offset <= extent.first) return;
    const [newest] = await this.#reader.readBefore(extent.end, { records_max: 1, bytes_max: 1 });
    const to = Math.min(offset, newest?.offset ?? extent.first);
    if (to <= extent.first) return;
    await this.#stream.coverRuns(extent.end);
    await this.#stream.keepRuns();
    const topics = [{ name: this.#stream.data.name, partitions: [{ partitionIndex: 0, offset: BigInt(to) }] }];
    try {
      const place = await this.#stream.data.place(this.#link);
      if (place !== null) await this.#link.ask(place.leader, deleteRecordsV2.api, topics, TRIM_TIMEOUT_MS);
    } catch (error) {
      throw kafkaError(error, `topic ${this.#stream.data.name} cannot be trimmed to offset ${to}`);
    }
    this.#stream.trimmedTo = Math.max(this.#stream.trimmedTo, to);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= this.#close();
    await this.#closing;
  }

  async #close(): Promise<void> {
    if (this.#inFlight > 0 || this.#waiting.length > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
    const isWell = this.#failure === undefined;
    this.#failure ??= fail('SYN-L060', `the writer of stream ${this.#stream.name} is closed`);
    await this.#indexing;
    try {
      if (isWell && this.#lastOffset >= 0) await this.#keepIndex().catch(() => undefined);
    } finally {
      await this.#reader[Symbol.asyncDispose]();
      await this.#link[Symbol.asyncDispose]();
      this.#onClosed();
    }
  }

  #enqueue(records: readonly LogRecord[], append: Append): void {
    for (const record of records) {
      const bodies = encodeRecord(record, this.#batchBytesMax, () => this.#nextSplit());
      for (const [part, body] of bodies.entries()) {
        const place = { isFirst: part === 0, isLast: part === bodies.length - 1 };
        this.#waiting.push({ body, run: record.run, append, ...place });
        this.#waitingBytes += body.length + RECORD_HEAD_BYTES_MAX;
        append.rest += 1;
      }
    }
  }

  #nextSplit(): string {
    this.#splits += 1;
    return `${this.#id}.${this.#splits}`;
  }

  #pump(): void {
    while (this.#waiting.length > 0 && this.#maySend()) void this.#send(this.#takeBatch());
    if (this.#waiting.length === 0 && this.#inFlight === 0) for (const resolve of this.#idle.splice(0)) resolve();
  }

  #maySend(): boolean {
    if (this.#failure !== undefined) return false;
    if (this.#inFlight === 0) return true;
    if (this.#producer.isUncertain || this.#inFlight >= IN_FLIGHT_MAX) return false;
    return this.#waiting.length >= BATCH_RECORDS_MAX || this.#waitingBytes >= this.#batchBytesMax;
  }

  #takeBatch(): Item[] {
    let bytes = BATCH_HEAD_BYTES;
    let count = 0;
    for (const { body } of this.#waiting) {
      bytes += body.length + RECORD_HEAD_BYTES_MAX;
      if (count > 0 && (bytes > this.#batchBytesMax || count >= BATCH_RECORDS_MAX)) break;
      this.#waitingBytes -= body.length + RECORD_HEAD_BYTES_MAX;
      count += 1;
    }
    return this.#waiting.splice(0, count);
  }

  async #send(items: readonly Item[]): Promise<void> {
    this.#inFlight += 1;
    try {
      const base = await this.#producer.send(items.map(({ body }) => body));
      this.#stored(items, base);
    } catch (error) {
      this.#fail(error, items);
    }
    this.#inFlight -= 1;
    this.#pump();
  }

  #stored(items: readonly Item[], base: number): void {
    // Whatever is behind a batch that failed is unknown to have a place.
    if (this.#failure !== undefined) throw this.#failure;
    const { data } = this.#stream;
    if (base <= this.#lastOffset) {
      const detail = `topic ${data.name} took at offset ${base} what follows on offset ${this.#lastOffset}`;
      throw fail('SYN-L066', detail, { context: { topic: data.name, base, last: this.#lastOffset } });
    }
    let newest: number | null = null;
    for (const [place, { append, isFirst, isLast }] of items.entries()) {
      if (isFirst) append.offset = base + place;
      if (isLast) newest = append.offset;
    }
    this.#lastOffset = base + items.length - 1;
    this.#stream.appended(base, items, newest);
    this.#indexSoon(items);
    for (const { append } of items) {
      append.rest -= 1;
      if (append.rest === 0) append.resolve(append.offset);
    }
  }

  #fail(error: unknown, items: readonly Item[] = []): void {
    this.#failure ??= error;
    for (const { append } of [...items, ...this.#waiting]) append.reject(this.#failure);
    this.#waiting = [];
    this.#waitingBytes = 0;
  }

  /** Keeps the index where a run began, and where it is far behind. */
  #indexSoon(items: readonly Item[]): void {
    const highest = items.reduce((run, item) => Math.max(run, item.run), this.#highestRun);
    const isNewRun = highest > this.#highestRun;
    this.#highestRun = highest;
    const isBehind =
      this.#lastOffset - this.#indexedTo >= INDEX_RECORDS_MAX ||
      performance.now() - this.#indexedAtMs >= INDEX_PERIOD_MS;
    if (this.#indexing !== undefined || !(isNewRun || isBehind)) return;
    this.#indexing = this.#keepIndex()
      // It is kept later then; until that, whoever starts reads more.
      .catch(() => undefined)
      .finally(() => {
        this.#indexing = undefined;
      });
  }

  async #keepIndex(): Promise<void> {
    this.#indexedTo = this.#lastOffset;
    this.#indexedAtMs = performance.now();
    await this.#stream.coverRuns(this.#lastOffset + 1);
    await this.#stream.keepRuns();
  }
}

export type WriterParts = {
  readonly stream: KafkaStream;
  readonly link: KafkaLink;
  readonly reader: StreamReader;
  readonly compression: KafkaCompression;
  readonly onClosed: () => void;
};
