/**
 * Sends batches to one topic, in order, each acknowledged by all replicas that are in step.
 *
 * Nothing is sent twice. Kafka would recognise a batch that is sent again by its sequence, but only as long as it remembers the producer; a
 * broker that has lost records no longer does. So every failure is the end of a producer, whoever needs the records
 * looks at what the topic holds, and goes on with another one: that is the contract of a log's writer anyway.
 *
 * Several batches may be under way at once. The broker takes a batch only behind the one before it, by their
 * sequences; only the first of a producer, whose sequence it cannot compare with anything, goes alone.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { createAPI, initProducerIdV4, produceV9, Writer } from '@platformatic/kafka';
import { fail } from '../../platform/errors.ts';
import { type BatchSource, recordBatch } from './kafka-batch.ts';
import { isConnectionLost, isStale, kafkaError } from './kafka-errors.ts';
import type { KafkaLink } from './kafka-link.ts';
import type { KafkaCompression } from './kafka-settings.ts';
import type { KafkaTopic } from './kafka-topic.ts';

const ACKS_ALL = -1;
const PRODUCE_TIMEOUT_MS = 10_000;
const ATTEMPTS_MAX = 40;
const RETRY_MS = 100;

const produce = createAPI<[topic: string, batch: Buffer], produceV9.ProduceResponse>(
  produceV9.api.key,
  produceV9.api.version,
  produceRequest,
  (correlationId, apiKey, apiVersion, reader) => produceV9.parseResponse(correlationId, apiKey, apiVersion, reader),
);

/** One topic, one partition, one batch. */
function produceRequest(topic: string, batch: Buffer): Writer {
  return Writer.create()
    .appendString(null)
    .appendInt16(ACKS_ALL)
    .appendInt32(PRODUCE_TIMEOUT_MS)
    .appendArray([topic], (writer, name) => {
      writer.appendString(name).appendArray([batch], (inner, records) => {
        inner
          .appendInt32(0)
          .appendUnsignedVarInt(records.length + 1)
          .append(records);
      });
    })
    .appendTaggedFields();
}

type Identity = Pick<BatchSource, 'producerId' | 'producerEpoch'>;

const ANONYMOUS: Identity = { producerId: -1n, producerEpoch: -1 };

export class KafkaProducer {
  readonly #link: KafkaLink;
  readonly #topic: KafkaTopic;
  readonly #compression: KafkaCompression;
  readonly #identity: Identity;
  #sequence = 0;
  #isUncertain = true;
  /** The request before was written, or never will be. */
  #written: Promise<void> = Promise.resolve();

  private constructor(link: KafkaLink, topic: KafkaTopic, compression: KafkaCompression, identity: Identity) {
    this.#link = link;
    this.#topic = topic;
    this.#compression = compression;
    this.#identity = identity;
  }

  /** A producer whose batches the broker takes in their order, and each once. */
  static async idempotent(link: KafkaLink, topic: KafkaTopic, compression: KafkaCompression): Promise<KafkaProducer> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        const { producerId, producerEpoch } = await link.askAny(initProducerIdV4.api, null, 0);
        return new KafkaProducer(link, topic, compression, { producerId, producerEpoch });
      } catch (error) {
        // A cluster that has just started cannot tell for a moment.
        if (!isStale(error) || attempt >= ATTEMPTS_MAX) {
          throw kafkaError(error, `no producer for topic ${topic.name} at ${link.where}`);
        }
      }
      await delay(RETRY_MS);
    }
  }

  /** A producer of single records, of which the last one counts. */
  static plain(link: KafkaLink, topic: KafkaTopic): KafkaProducer {
    return new KafkaProducer(link, topic, 'none', ANONYMOUS);
  }

  /** Until the first batch is acknowledged, the broker would take any other in its stead. */
  get isUncertain(): boolean {
    return this.#isUncertain;
  }

  /** Resolves with the offset of the first record, once all replicas in step have the batch. */
  async send(bodies: readonly Buffer[]): Promise<number> {
    const { producerId } = this.#identity;
    const sequence = producerId < 0n ? -1 : this.#sequence;
    this.#sequence = (this.#sequence + bodies.length) % 0x8000_0000;
    const startedMs = performance.now();
    try {
      const batch = recordBatch(bodies, {
        ...this.#identity,
        sequence,
        timestampMs: Date.now(),
        compression: this.#compression,
      });
      const { answer } = await this.#inTurn(batch);
      const { responses } = await answer;
      this.#isUncertain = false;
      const base = Number(responses[0]?.partitionResponses[0]?.baseOffset ?? -1n);
      this.#topic.appendMeter.took((performance.now() - startedMs) / 1_000);
      this.#topic.appendMeter.carried(bodies.length, batch.length);
      return base;
    } catch (error) {
      this.#topic.appendMeter.failed();
      if (isStale(error) || isConnectionLost(error)) this.#topic.forgetPlace();
      throw kafkaError(error, `the append to topic ${this.#topic.name} at ${this.#link.where} failed`);
    }
  }

  /** Writes the request once those before it are written: looking for the leader may take longer for one than for the next. */
  async #inTurn(batch: Buffer): Promise<{ answer: Promise<produceV9.ProduceResponse> }> {
    const before = this.#written;
    const turn = Promise.withResolvers<void>();
    this.#written = turn.promise;
    await before;
    try {
      const place = await this.#topic.place(this.#link);
      if (place === null) throw fail('SYN-L065', `topic ${this.#topic.name} is gone`);
      const connection = await this.#link.connectionTo(place.leader);
      return { answer: produce.async(connection, this.#topic.name, batch) };
    } finally {
      turn.resolve();
    }
  }
}
