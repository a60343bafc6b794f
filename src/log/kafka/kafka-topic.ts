/**
 * One topic of a stream as it is read: where it is, how far it goes, and what stands at an offset.
 *
 * A topic is known by its id from the first look on. One of the same name with another id is another topic: an offset means
 * nothing in it, so whoever meets it stops. An end that lies below one that was seen is a topic that lost records.
 * Between the two, a topic may lose records and get as many new ones: therefore a fetch tells the epoch of the leader under which the
 * record before it was written, and the broker says if it has none of that epoch there any more.
 *
 * Questions are asked again where another broker leads by now, or a connection was lost: reading changes nothing. Each tells
 * which leader it is meant for, so that one that was deposed and does not know of it never answers with an end that is behind.
 *
 * A fetch that brings nothing does not tell that a topic ends there: the broker may hold its user back by a quota, a new leader
 * does not give out all that it has at once, and retention may take the place meanwhile. Whoever knows that something
 * stands there asks on.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { listOffsetsV7 } from '@platformatic/kafka';
import { fail } from '../../platform/errors.ts';
import { Meter } from '../../platform/meter.ts';
import { hasNumber, isConnectionLost, isStale, KAFKA, kafkaError } from './kafka-errors.ts';
import { type FetchAnswer, fetchPacked } from './kafka-fetch.ts';
import type { KafkaLink, TopicPlace } from './kafka-link.ts';
import type { PackedBatch } from './packed-batch.ts';

const READ_UNCOMMITTED = 0;
const CONSUMER = -1;
const EARLIEST = -2n;
const LATEST = -1n;
const NO_SESSION_EPOCH = -1;
const ATTEMPTS_MAX = 6;
const RETRY_MS = 50;
/** With the delays between them, some five seconds. */
const PLACE_ATTEMPTS_MAX = 14;
/** A quota of Kafka holds back for as long as its window at most, some ten seconds, and then may do so again. */
const HELD_BACK_MS_MAX = 60_000;
/** With the delays between them, some ten seconds. */
const BELOW_ATTEMPTS_MAX = 20;

export type FetchLimit = { readonly maxWaitMs: number; readonly bytesMax: number };

export type Fetched = {
  readonly batches: readonly PackedBatch[];
  /** What is fetched next. */
  readonly next: number;
  /** Of the leader that wrote the last record before `next`; -1 where nothing was fetched. */
  readonly epoch: number;
};

type HeldBack = Extract<FetchAnswer, { readonly kind: 'held back' }>;

export type Extent = { readonly first: number; readonly end: number };

export class KafkaTopic {
  readonly name: string;
  readonly fetchMeter = new Meter();
  readonly appendMeter = new Meter();
  readonly #link: KafkaLink;
  #place: TopicPlace | null = null;
  #id: string | null = null;
  /** The highest that was seen: a leader of a lower one was deposed, and its end may be behind. */
  #leaderEpoch = -1;
  /** The highest end that was seen. */
  #end = 0;

  /** `link` is for questions that are answered at once. */
  constructor(name: string, link: KafkaLink) {
    this.name = name;
    this.#link = link;
  }

  /** Null until the topic was seen. */
  get id(): string | null {
    return this.#id;
  }

  /** Where the topic is; null where there never was one. */
  async place(link: KafkaLink = this.#link): Promise<TopicPlace | null> {
    for (let attempt = 1; ; attempt += 1) {
      if (this.#place !== null) return this.#place;
      const { topic } = await link.locate(this.name);
      if (topic === null && this.#id === null) return null;
      if (topic !== null && this.#id !== null && this.#id !== topic.id) throw this.#lost('was made anew');
      if (topic !== null && topic.leaderEpoch >= this.#leaderEpoch) {
        this.#id = topic.id;
        this.#leaderEpoch = topic.leaderEpoch;
        this.#place = topic;
        return topic;
      }
      // A broker may be behind the others in what it knows of topics and their leaders.
      if (attempt >= PLACE_ATTEMPTS_MAX) throw topic === null ? this.#lost('is gone') : this.#deposed(topic, link);
      // A link that is closed meanwhile says so when it is asked again.
      await delay(RETRY_MS * attempt, undefined, { signal: link.closing }).catch(() => undefined);
    }
  }

  /** The next question looks for the topic again. */
  forgetPlace(): void {
    this.#place = null;
  }

  /** Records up to `end` exist. */
  saw(end: number): void {
    if (end > this.#end) this.#end = end;
  }

  /** Null where there is no such topic. */
  async extent(): Promise<Extent | null> {
    return await this.#asked(this.#link, 'its ends cannot be read', async (place) => {
      // What is appended while the question is on its way is not in the answer.
      const seen = this.#end;
      const [first, end] = await Promise.all([this.#offsetAt(place, EARLIEST), this.#offsetAt(place, LATEST)]);
      await this.#checkEnd(end, seen);
      return { first, end };
    });
  }

  /** Null where there is no such topic, or where nothing stands at that offset and nothing can follow on it. */
  async fetch(from: number, epoch: number, limit: FetchLimit, link: KafkaLink = this.#link): Promise<Fetched | null> {
    let heldBackMs = 0;
    try {
      for (;;) {
        const answer = await this.#asked(link, `offset ${from} cannot be read`, async (place) => {
          return await this.#fetch(place, from, epoch, limit, link);
        });
        if (answer === null || !('throttleMs' in answer)) return answer;
        const waitMs = Math.max(RETRY_MS, answer.throttleMs);
        heldBackMs += waitMs;
        if (heldBackMs > HELD_BACK_MS_MAX) throw this.#heldBack(answer.throttleMs);
        // A link that is closed meanwhile says so when it is asked again.
        await delay(waitMs, undefined, { signal: link.closing }).catch(() => undefined);
      }
    } catch (error) {
      this.fetchMeter.failed();
      throw error;
    }
  }

  /**
   * What stands at an offset below an end that was told. It always moves on: where retention has taken the place by now, without
   * batches, to the first offset that is left.
   */
  async fetchBelow(from: number, limit: FetchLimit): Promise<Fetched> {
    for (let attempt = 1; ; attempt += 1) {
      const fetched = await this.fetch(from, -1, limit);
      if (fetched !== null && fetched.next > from) return fetched;
      const first = await this.#first();
      if (first !== null && first > from) return { batches: [], next: first, epoch: -1 };
      if (attempt >= BELOW_ATTEMPTS_MAX) {
        const detail = `topic ${this.name}: offset ${from}, which was told to be there, is not given out at ${this.#link.where}`;
        throw fail('SYN-L060', detail, { context: { topic: this.name, offset: from } });
      }
      await delay(RETRY_MS * attempt);
    }
  }

  async #fetch(
    { id, leader, leaderEpoch }: TopicPlace,
    from: number,
    epoch: number,
    { maxWaitMs, bytesMax }: FetchLimit,
    link: KafkaLink,
  ): Promise<Fetched | HeldBack> {
    const startedMs = performance.now();
    const partition = {
      partition: 0,
      currentLeaderEpoch: leaderEpoch,
      fetchOffset: BigInt(from),
      lastFetchedEpoch: epoch,
      partitionMaxBytes: bytesMax,
    };
    const topics = [{ topicId: id, partitions: [partition] }];
    const answer = await link.ask(
      leader,
      fetchPacked,
      maxWaitMs,
      1,
      bytesMax,
      READ_UNCOMMITTED,
      0,
      NO_SESSION_EPOCH,
      topics,
      [],
      '',
    );
    if (answer.kind === 'held back') return answer;
    const { batches, divergedAt } = answer;
    if (maxWaitMs === 0 || batches.length > 0) this.fetchMeter.took((performance.now() - startedMs) / 1_000);
    if (divergedAt !== null) throw this.#truncated(divergedAt, from);
    const last = batches.at(-1);
    if (last === undefined) return { batches, next: from, epoch };
    this.saw(last.next);
    for (const { count, bytes } of batches) this.fetchMeter.carried(count, bytes);
    return { batches, next: last.next, epoch: last.epoch };
  }

  /** A leader that does not tell its end yet tells this. */
  async #first(): Promise<number | null> {
    return await this.#asked(this.#link, 'its front cannot be read', async (place) => {
      return await this.#offsetAt(place, EARLIEST);
    });
  }

  async #offsetAt({ leader, leaderEpoch }: TopicPlace, timestamp: bigint): Promise<number> {
    const partitions = [{ partitionIndex: 0, currentLeaderEpoch: leaderEpoch, timestamp }];
    const topics = [{ name: this.name, partitions }];
    const { topics: found } = await this.#link.ask(leader, listOffsetsV7.api, CONSUMER, READ_UNCOMMITTED, topics);
    return Number(found[0]?.partitions[0]?.offset ?? 0n);
  }

  /** Asks the leader, and again where it may have moved. */
  async #asked<R>(link: KafkaLink, what: string, ask: (place: TopicPlace) => Promise<R>): Promise<R | null> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        const place = await this.place(link);
        return place === null ? null : await ask(place);
      } catch (error) {
        if (hasNumber(error, KAFKA.OFFSET_OUT_OF_RANGE)) return await this.#outOfRange(error);
        const mayTryAgain = (isStale(error) || isConnectionLost(error)) && attempt < ATTEMPTS_MAX && !link.isClosed;
        this.forgetPlace();
        if (!mayTryAgain) throw kafkaError(error, `topic ${this.name}: ${what}, at ${link.where}`);
        // A connection that times out has waited long enough.
        if (isConnectionLost(error) && attempt > 1)
          throw kafkaError(error, `topic ${this.name}: ${what}, at ${link.where}`);
      }
      await delay(RETRY_MS * attempt);
    }
  }

  /** Beyond an end that was seen, a record is lost; below the first one, retention took it: there is nothing to fetch. */
  async #outOfRange(error: unknown): Promise<null> {
    if ((await this.extent()) === null) throw kafkaError(error, `topic ${this.name} is gone`);
    return null;
  }

  async #checkEnd(end: number, seen: number): Promise<void> {
    this.saw(end);
    if (end >= seen) return;
    // Ends are asked for by name: it may be another topic by now.
    this.forgetPlace();
    await this.place();
    throw this.#truncated(end, seen);
  }

  #truncated(end: number, seen: number): Error {
    const detail = `topic ${this.name} was read up to offset ${seen}, and now its history ends at ${end}`;
    return fail('SYN-L066', detail, { context: { topic: this.name, seen, end } });
  }

  #heldBack(throttleMs: number): Error {
    const detail = `topic ${this.name}: the brokers at ${this.#link.where} hold their user back by a quota, for ${throttleMs} ms more`;
    return fail('SYN-L060', detail, { context: { topic: this.name, throttle_ms: throttleMs } });
  }

  #deposed({ leaderEpoch }: TopicPlace, link: KafkaLink): Error {
    const known = `a leader of epoch ${leaderEpoch}, and one of epoch ${this.#leaderEpoch} was known`;
    return fail('SYN-L060', `topic ${this.name}: the brokers at ${link.where} name ${known}`);
  }

  #lost(how: string): Error {
    return fail('SYN-L065', `topic ${this.name} ${how}; it had the id ${this.#id}`, { context: { topic: this.name } });
  }
}
