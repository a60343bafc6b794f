// One topic as a client sees it: to send texts to it, and to read all that it holds.

import { randomBytes } from 'node:crypto';
import {
  Admin,
  type BaseOptions,
  Consumer,
  Producer,
  stringDeserializers,
  stringSerializers,
} from '@platformatic/kafka';

export type KafkaAccess = Pick<BaseOptions, 'tls' | 'sasl' | 'retries'>;

const RETRIES = 20;
const RETRY_DELAY_MS = 250;
const LIMIT_MS = 30_000;

export class KafkaTopic {
  readonly name: string;
  readonly #options: BaseOptions;

  constructor(brokers: readonly string[], options: { name?: string; access?: KafkaAccess } = {}) {
    this.name = options.name ?? `topic-${randomBytes(6).toString('hex')}`;
    this.#options = {
      clientId: 'test',
      bootstrapBrokers: [...brokers],
      retries: RETRIES,
      retryDelay: RETRY_DELAY_MS,
      timeout: LIMIT_MS,
      ...options.access,
    };
  }

  async create(): Promise<this> {
    const admin = new Admin(this.#options);
    try {
      await admin.createTopics({ topics: [this.name], partitions: 1, replicas: 1 });
    } finally {
      await admin.close();
    }
    return this;
  }

  /** Returns once every replica in sync has the texts. */
  async send(...texts: readonly string[]): Promise<void> {
    const producer = new Producer({ ...this.#options, serializers: stringSerializers, idempotent: true, acks: -1 });
    try {
      await producer.send({ messages: texts.map((value) => ({ topic: this.name, value })) });
    } finally {
      await producer.close();
    }
  }

  /** The texts from the beginning, as many as asked for. */
  async read(count: number): Promise<string[]> {
    const consumer = new Consumer({
      ...this.#options,
      groupId: `group-${randomBytes(6).toString('hex')}`,
      deserializers: stringDeserializers,
    });
    try {
      const stream = await consumer.consume({ topics: [this.name], mode: 'earliest', autocommit: false });
      const texts: string[] = [];
      const signal = AbortSignal.timeout(LIMIT_MS);
      const onTimeout = (): void => void stream.destroy(new Error(`only ${texts.length} of ${count} texts came`));
      signal.addEventListener('abort', onTimeout);
      for await (const { value } of stream) {
        if (texts.push(value) === count) break;
      }
      signal.removeEventListener('abort', onTimeout);
      return texts;
    } finally {
      await consumer.close(true);
    }
  }
}
