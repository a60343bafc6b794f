/**
 * Reads one stream. Whoever reads on from where he left off, or waits there, is served by a follower (kafka-follower.ts) that
 * reads ahead; any other place is fetched when it is asked for.
 *
 * A read by the follower waits for nothing but what this process itself has appended: whoever appends reads it. Where the
 * follower has brought nothing, the brokers are asked, since a stream must not seem to end where it goes on; only a reader that
 * says it will come again is told so without. So a lane that looks at many streams in turn never waits for a far broker.
 */
import { describeLogDirsV2 } from '@platformatic/kafka';
import { fail } from '../../platform/errors.ts';
import type { ReadLimit, StoredRecord, StreamReader } from '../event-log.ts';
import { isFull, lastBeyond, takeWithin } from '../read-limit.ts';
import { kafkaError } from './kafka-errors.ts';
import { KafkaFollower } from './kafka-follower.ts';
import type { KafkaLink } from './kafka-link.ts';
import type { KafkaStream } from './kafka-stream.ts';
import type { Extent } from './kafka-topic.ts';
import { KafkaWalk } from './kafka-walk.ts';

/** What a first look back reads; the next ones go back twice as far. */
const LOOK_BACK_MIN = 16;
/** Own appends are a single way of the network behind; what takes longer is a fault, and told as one. */
const OWN_APPENDS_LIMIT_MS = 2_000;

export class KafkaReader implements StreamReader {
  readonly stream: string;
  readonly #shared: KafkaStream;
  readonly #link: KafkaLink;
  readonly #newLink: () => KafkaLink;
  readonly #onClosed: () => void;
  #follower: KafkaFollower | null = null;
  /** Where reading on would begin, from the last place that was read by itself. */
  #readTo = -1;
  /** Of what was fetched by itself, not all was taken. */
  #kept: KafkaWalk | null = null;
  #isClosed = false;

  constructor(shared: KafkaStream, link: KafkaLink, newLink: () => KafkaLink, onClosed: () => void) {
    this.stream = shared.name;
    this.#shared = shared;
    this.#link = link;
    this.#newLink = newLink;
    this.#onClosed = onClosed;
  }

  async read(from: number, limit: ReadLimit): Promise<StoredRecord[]> {
    this.#checkOpen();
    if (from >= this.#shared.trimmedTo) {
      let wanted = this.#shared.appendedTo;
      // What was there when following began is read as if it were fetched by itself.
      if (this.#follower === null && from === this.#readTo) wanted = Math.max(wanted, await this.#follow(from));
      const followed = await this.#readFollowed(from, limit, wanted);
      if (followed !== null && (followed.length > 0 || limit.brought_only === true)) return followed;
    }
    // Whoever asks here again, also after a failure, is served by a follower.
    this.#readTo = from;
    const records = await this.#readOn(from, limit);
    this.#readTo = (records.at(-1)?.offset ?? from - 1) + 1;
    return records;
  }

  /** Goes on with what the last read left, so that whoever reads a giant step by step has each of its batches brought once. */
  async #readOn(from: number, limit: ReadLimit): Promise<StoredRecord[]> {
    const kept = this.#kept;
    // What it holds of trimmed records is not there any more.
    let walk = kept?.at === from && from >= this.#shared.trimmedTo ? kept : null;
    // Somebody else may read at the same time: nobody takes what another is at.
    if (walk !== null) this.#kept = null;
    let records = walk?.take(limit) ?? [];
    if (walk === null || records.length === 0) {
      const extent = await this.#shared.extent();
      if (extent === null) return [];
      walk = new KafkaWalk(this.#shared, Math.max(from, extent.first));
      records = await walk.read(extent.end, limit);
    }
    // And he may be where there is nothing yet.
    if (walk.hasMore) this.#kept = walk;
    return records;
  }

  async readBefore(before: number, limit: ReadLimit): Promise<StoredRecord[]> {
    this.#checkOpen();
    const extent = await this.#shared.extent();
    if (extent === null) return [];
    let found: StoredRecord[] = [];
    let end = Math.min(before, extent.end);
    for (let count = LOOK_BACK_MIN; end > extent.first && !isFull(limit, found); count *= 2) {
      const start = Math.max(extent.first, end - Math.min(count, Math.max(1, limit.records_max)));
      found = [...(await this.#fetchWindow(start, end, extent.end, limit.bytes_max)), ...found];
      end = start;
    }
    return takeWithin(limit, (place) => found.at(-1 - place)).reverse();
  }

  async runBefore(before: number): Promise<number> {
    this.#checkOpen();
    const { runs } = this.#shared;
    await this.#shared.coverRuns(before);
    return runs.runBefore(Math.min(before, runs.coveredTo));
  }

  async waitFor(from: number, timeoutMs: number, signal?: AbortSignal): Promise<boolean> {
    const end = performance.now() + timeoutMs;
    while (!this.#isClosed) {
      if (from <= this.#shared.newest || this.#follower?.has(from) === true) return true;
      const leftMs = end - performance.now();
      if (signal?.aborted === true) return false;
      const isFollowed = this.#follower?.reaches(from) === true;
      if (leftMs <= 0) {
        if (isFollowed) this.#follower?.check();
        return !isFollowed && (await this.#isThere(from));
      }
      if (!isFollowed) await this.#follow(from);
      // None where the reader was closed meanwhile.
      const follower = this.#follower;
      follower?.check();
      follower?.skipTo(from);
      await follower?.changed({ limitMs: leftMs, signal });
    }
    return false;
  }

  async bounds(): Promise<{ first: number; last: number } | null> {
    this.#checkOpen();
    const extent = await this.#shared.extent();
    return extent === null ? null : { first: extent.first, last: extent.end - 1 };
  }

  async sizeBytes(): Promise<number> {
    this.#checkOpen();
    const { data } = this.#shared;
    const place = await data.place();
    if (place === null) return 0;
    try {
      const topics = [{ name: data.name, partitions: [0] }];
      const { results } = await this.#link.ask(place.leader, describeLogDirsV2.api, topics);
      const partitions = results.flatMap((each) => each.topics).flatMap((each) => each.partitions);
      if (partitions.length > 0) return partitions.reduce((sum, { partitionSize }) => sum + Number(partitionSize), 0);
    } catch (error) {
      const failure = kafkaError(error, `the size of topic ${data.name} cannot be read`);
      // That is a right on the whole cluster, which few users have.
      if (failure.code !== 'SYN-L062') throw failure;
    }
    return await this.#estimatedBytes();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    await this.#replaceFollower(null);
    this.#onClosed();
  }

  #checkOpen(): void {
    if (this.#isClosed) throw fail('SYN-L060', `the reader of stream ${this.stream} is closed`);
  }

  /** Tells where the stream ends now. */
  async #follow(from: number): Promise<number> {
    this.#kept = null;
    await this.#replaceFollower(null);
    let start = from;
    try {
      const { first, end } = (await this.#shared.data.extent()) ?? { first: 0, end: 0 };
      start = Math.max(first, Math.min(from, end));
      return end;
    } finally {
      // Where the brokers are away, it is the follower that tries again, and nobody waits for that.
      const next = this.#isClosed ? null : new KafkaFollower(this.#shared, this.#newLink(), start);
      // Somebody else may have begun to follow at the same time.
      await this.#replaceFollower(next);
    }
  }

  async #replaceFollower(next: KafkaFollower | null): Promise<void> {
    const old = this.#follower;
    this.#follower = next;
    await old?.[Symbol.asyncDispose]();
  }

  /** Null where the follower does not read there. */
  async #readFollowed(from: number, limit: ReadLimit, wanted: number): Promise<StoredRecord[] | null> {
    const end = performance.now() + OWN_APPENDS_LIMIT_MS;
    for (;;) {
      const follower = this.#follower;
      if (follower?.reaches(from) !== true || from > follower.next) return null;
      const records = follower.take(from, limit);
      const leftMs = end - performance.now();
      if (follower.next >= wanted || leftMs <= 0) return records;
      // A follower that rests until something is taken would be waited for in vain.
      if (!follower.mayAddTo((records.at(-1)?.offset ?? from - 1) + 1)) return records;
      await follower.changed({ limitMs: leftMs });
    }
  }

  async #isThere(from: number): Promise<boolean> {
    const extent = await this.#shared.extent();
    if (extent === null || from >= extent.end) return false;
    const walk = new KafkaWalk(this.#shared, Math.max(from, extent.first));
    return (await walk.read(extent.end, { records_max: 1, bytes_max: 1 })).length > 0;
  }

  /**
   * Records with offsets from `start` to `before`; a record may end behind that. Only the last ones are kept where they are
   * large, and one more than the bound allows, so that it shows.
   */
  async #fetchWindow(start: number, before: number, end: number, bytesMax: number): Promise<StoredRecord[]> {
    const walk = new KafkaWalk(this.#shared, start);
    let found: StoredRecord[] = [];
    while (!walk.hasPassed(before) && (await walk.step(end, bytesMax))) {
      const records = [...found, ...walk.drain()];
      found = lastBeyond(
        bytesMax,
        records.filter(({ offset }) => offset >= walk.front && offset < before),
      );
    }
    return found;
  }

  async #estimatedBytes(): Promise<number> {
    const { data } = this.#shared;
    const { first, end }: Extent = (await data.extent()) ?? { first: 0, end: 0 };
    const mean = Math.max(data.fetchMeter.bytesPerRecord, data.appendMeter.bytesPerRecord);
    return Math.round((end - first) * mean);
  }
}
