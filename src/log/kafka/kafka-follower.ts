/**
 * Reads a stream ahead, beside whoever uses it: one fetch is always under way, which the broker answers as soon as there is
 * something new. So a reader that keeps up is told of a record a single way after it was stored, and a broker that is far or
 * away holds up nobody: what was brought is there at once, and what went wrong is told at once.
 *
 * What is read ahead is bounded; behind that, batches stay packed and fetching rests. Faults of the world, and what an operator can mend, are tried
 * again for ever with backoff, and thrown to whoever asks meanwhile; anything else ends the follower with that error.
 */
import { setTimeout as delay, setImmediate as othersTurn } from 'node:timers/promises';
import { Backoff } from '../../platform/backoff.ts';
import { isInfrastructure, SynclineError } from '../../platform/errors.ts';
import { systemRandom } from '../../platform/random.ts';
import { Waiters } from '../../platform/waiters.ts';
import type { ReadLimit, StoredRecord } from '../event-log.ts';
import { isFull, takeWithin } from '../read-limit.ts';
import type { KafkaLink } from './kafka-link.ts';
import type { KafkaStream } from './kafka-stream.ts';
import type { Walked } from './kafka-walk.ts';
import type { PackedBatch } from './packed-batch.ts';
import { PartAssembler } from './part-assembler.ts';

const BUFFER_BYTES_MAX = 8 * 1024 * 1024;
const FETCH = { maxWaitMs: 2_000, bytesMax: 1024 * 1024 };
/** How often a topic is looked for that does not exist yet. */
const APPEAR_POLL_MS = 100;
const RETRY_MS_MIN = 50;
const RETRY_MS_MAX = 5_000;

/** What a stream is followed by. */
export type Followed = Walked & { readonly data: Pick<KafkaStream['data'], 'extent' | 'fetch'> };

export class KafkaFollower implements AsyncDisposable {
  readonly #stream: Followed;
  readonly #link: KafkaLink;
  readonly #assembler = new PartAssembler();
  readonly #stopping = new AbortController();
  readonly #running: Promise<void>;
  readonly #backoff = new Backoff({ random: systemRandom, minMs: RETRY_MS_MIN, maxMs: RETRY_MS_MAX });
  #buffer: StoredRecord[] = [];
  #bytes = 0;
  /** What a fetch brought that is not in the buffer yet. */
  #packed: PackedBatch[] = [];
  /** The buffer holds all records from here up to `#next`, but for those that are not complete. */
  #start: number;
  #next: number;
  #epoch = -1;
  #error: unknown = null;
  #isEnded = false;
  readonly #waiters = new Waiters();

  /** The link becomes the follower's. */
  constructor(stream: Followed, link: KafkaLink, from: number) {
    this.#stream = stream;
    this.#link = link;
    this.#start = from;
    this.#next = from;
    this.#running = this.#run();
  }

  /** Whether what is read from `from` on is, or will be, in the buffer. */
  reaches(from: number): boolean {
    return from >= this.#start && !(this.#isEnded && this.#error === null);
  }

  /** Forgets what is below `from`. */
  skipTo(from: number): void {
    this.#drop(Math.min(from, this.#next));
  }

  /** All records below it were fetched and unpacked. */
  get next(): number {
    return this.#next;
  }

  /** What is there from `from` on; what is below is forgotten. Throws while the stream cannot be read. */
  take(from: number, limit: ReadLimit): StoredRecord[] {
    this.skipTo(from);
    while (!isFull(limit, this.#buffer) && this.#unpackNext());
    if (this.#buffer.length === 0) this.check();
    return takeWithin(limit, (place) => this.#buffer[place]);
  }

  /** Whether a record is there at or above `from`. */
  has(from: number): boolean {
    const newest = this.#buffer.at(-1);
    return newest !== undefined && newest.offset >= from;
  }

  /** Whether what was taken up to that offset may become more: not where the bounds ended it, or while fetching rests. */
  mayAddTo(end: number): boolean {
    return !this.has(end) && this.#bytes < BUFFER_BYTES_MAX;
  }

  check(): void {
    if (this.#error !== null) throw this.#error;
  }

  /** How many wait for a change. */
  get waitersCount(): number {
    return this.#waiters.count;
  }

  /** Resolves with the next change of what is there, or of whether it can be read; at the limit; or when the signal aborts. */
  async changed(until: { limitMs?: number; signal?: AbortSignal | undefined } = {}): Promise<void> {
    await this.#waiters.wait(until);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    this.#tell();
    await this.#link[Symbol.asyncDispose]();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      try {
        if (this.#bytes >= BUFFER_BYTES_MAX) await this.changed();
        else if (this.#unpackNext()) await othersTurn();
        else await this.#fetch(signal);
      } catch (error) {
        if (signal.aborted) break;
        this.#error = error;
        this.#isEnded = !mayPass(error);
        this.#tell();
        if (this.#isEnded) return;
        await delay(this.#backoff.nextMs(), undefined, { signal }).catch(() => undefined);
      }
    }
    this.#isEnded = true;
  }

  async #fetch(signal: AbortSignal): Promise<void> {
    const fetched = await this.#stream.data.fetch(this.#next, this.#epoch, FETCH, this.#link);
    if (fetched === null) {
      const extent = await this.#stream.data.extent();
      // Retention has taken the place: the reader finds out by reading there itself.
      if (extent !== null && this.#next < extent.first) {
        this.#isEnded = true;
        this.#stopping.abort();
        this.#tell();
        return;
      }
      this.#recover();
      await delay(APPEAR_POLL_MS, undefined, { signal }).catch(() => undefined);
      return;
    }
    this.#packed.push(...fetched.batches);
    this.#recover();
  }

  /** The broker has answered. */
  #recover(): void {
    const wasWrong = this.#error !== null;
    this.#error = null;
    this.#backoff.reset();
    if (wasWrong) this.#tell();
  }

  /** False where all that was brought is in the buffer. What cannot be read ends the follower: nothing is read behind it. */
  #unpackNext(): boolean {
    const batch = this.#packed.shift();
    if (batch === undefined) return false;
    try {
      for (const part of this.#stream.partsOf(batch, this.#next)) this.#assembler.take(part);
    } catch (error) {
      this.#packed = [];
      this.#error = error;
      this.#isEnded = true;
      this.#stopping.abort();
      this.#tell();
      return false;
    }
    this.#next = batch.next;
    this.#epoch = batch.epoch;
    for (const record of this.#assembler.drain()) {
      // Whoever reads may have had it from elsewhere while its parts came in, and gone on behind it.
      if (record.offset < this.#start) continue;
      this.#bytes += record.value.length;
      this.#buffer.push(record);
    }
    this.#tell();
    return true;
  }

  #drop(from: number): void {
    if (from <= this.#start) return;
    const kept = this.#buffer.findIndex(({ offset }) => offset >= from);
    const dropped = this.#buffer.splice(0, kept < 0 ? this.#buffer.length : kept);
    for (const { value } of dropped) this.#bytes -= value.length;
    this.#start = from;
    // Fetching may have rested because of them.
    if (dropped.length > 0) this.#tell();
  }

  #tell(): void {
    this.#waiters.wakeAll();
  }
}

/** What the world or an operator may mend: a password, a right, a certificate. */
function mayPass(error: unknown): boolean {
  return isInfrastructure(error) || (error instanceof SynclineError && error.class === 'config');
}
