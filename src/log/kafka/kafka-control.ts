/**
 * The control topic of a stream: what is to be known of it beside its records, by key, the latest value each.
 *
 *   topic            nothing but which data topic it is about: the first record, which is never replaced
 *   ack <consumer>   how far that consumer needs nothing any more
 *   runs             the index of runs (run-index.ts)
 *
 * Kafka compacts the topic, so it stays as small as what it tells; whoever needs it reads it whole once, and then
 * only what is new. Anybody may write: a later value of a key replaces the earlier one, and an older acknowledgement or index is
 * safe. Each value names the data topic that it is about. Where the first one names another, all was written for a topic
 * that is gone; where only a later one does, it is of an agent that has not noticed yet, and does not count.
 */
import { fail } from '../../platform/errors.ts';
import { recordBody } from './kafka-batch.ts';
import type { KafkaLink } from './kafka-link.ts';
import { KafkaProducer } from './kafka-producer.ts';
import type { KafkaTopic } from './kafka-topic.ts';
import type { BatchRecord } from './packed-batch.ts';
import type { RunCoverage } from './run-index.ts';

const TOPIC = 'topic';
const ACK = 'ack ';
const RUNS = 'runs';
const FETCH = { maxWaitMs: 0, bytesMax: 1024 * 1024 };

type Told<T> = { readonly topic_id: string | null; readonly value: T };

export class KafkaControl {
  readonly #topic: KafkaTopic;
  readonly #producer: KafkaProducer;
  /** Makes the topic where there is none. */
  readonly #ensure: () => Promise<void>;
  readonly #acks = new Map<string, number>();
  #runs: RunCoverage | null = null;
  /** The data topic that the first value names; null where none does. */
  #dataId: string | null = null;
  #isClaimed = false;
  #next = 0;
  #reading: Promise<void> = Promise.resolve();
  /** The end of the queue of writes, so that a key's later value lands last. */
  #writes: Promise<unknown> = Promise.resolve();

  constructor(topic: KafkaTopic, link: KafkaLink, ensure: () => Promise<void>) {
    this.#topic = topic;
    this.#producer = KafkaProducer.plain(link, topic);
    this.#ensure = ensure;
  }

  /** Says at the topic's front which data topic it is about, where that is not said yet. */
  async claim(dataId: string | null): Promise<void> {
    await this.#read();
    this.#checkSame(dataId);
    if (!this.#isClaimed) await this.#write(TOPIC, { topic_id: dataId, value: null });
  }

  /** What each consumer acknowledged. */
  async acknowledged(dataId: string | null): Promise<ReadonlyMap<string, number>> {
    await this.#read();
    this.#checkSame(dataId);
    return new Map(this.#acks);
  }

  async acknowledge(consumer: string, offset: number, dataId: string | null): Promise<void> {
    await this.#write(ACK + consumer, { topic_id: dataId, value: offset });
  }

  /** The index that was kept last; null where none was. */
  async runs(dataId: string | null): Promise<RunCoverage | null> {
    await this.#read();
    this.#checkSame(dataId);
    return this.#runs;
  }

  async keepRuns(coverage: RunCoverage, dataId: string | null): Promise<void> {
    await this.#write(RUNS, { topic_id: dataId, value: coverage });
  }

  async #write(key: string, told: Told<unknown>): Promise<void> {
    const written = this.#writes.then(async () => {
      if ((await this.#topic.place()) === null) await this.#ensure();
      await this.#producer.send([recordBody(key, Buffer.from(JSON.stringify(told)), [])]);
    });
    this.#writes = written.catch(() => undefined);
    await written;
  }

  async #read(): Promise<void> {
    const read = this.#reading.then(async () => await this.#readOn());
    this.#reading = read.catch(() => undefined);
    await read;
  }

  async #readOn(): Promise<void> {
    const extent = await this.#topic.extent();
    if (extent === null) return;
    for (this.#next = Math.max(this.#next, extent.first); this.#next < extent.end; ) {
      const { batches, next } = await this.#topic.fetchBelow(this.#next, FETCH);
      for (const batch of batches) for (const record of batch.records()) this.#take(record);
      this.#next = next;
    }
  }

  #take({ key, value }: BatchRecord): void {
    const name = key?.toString() ?? '';
    if (value === null) return;
    const told = parsed(this.#topic.name, name, value.toString());
    this.#dataId ??= told.topic_id;
    if (told.topic_id !== null && told.topic_id !== this.#dataId) return;
    if (name === TOPIC) this.#isClaimed = true;
    else if (name === RUNS) this.#runs = told.value;
    else if (name.startsWith(ACK)) this.#acks.set(name.slice(ACK.length), told.value);
  }

  #checkSame(dataId: string | null): void {
    if (this.#dataId === null || this.#dataId === dataId) return;
    const known = dataId === null ? 'there is none' : `there is ${dataId}`;
    const detail = `topic ${this.#topic.name} tells of the data topic with id ${this.#dataId}, and ${known}`;
    throw fail('SYN-L065', detail, { context: { topic: this.#topic.name, topic_id: this.#dataId, found: dataId } });
  }
}

function parsed(topic: string, key: string, text: string): Told<never> {
  try {
    return JSON.parse(text) as Told<never>;
  } catch (cause) {
    throw fail('SYN-L006', `topic ${topic}: the value of ${key} is none of a control topic`, { cause });
  }
}
