/**
 * A Kafka broker in memory, as far as a stream is read from one. Of a fetch it makes the bytes of the answer, so what stands
 * above a link is the real code. Tests decide what goes wrong: whose fetches are held back, and how far a leader gives out.
 */
import { type API, type fetchV13, type listOffsetsV7, Reader, ResponseError, Writer } from '@platformatic/kafka';
import type { LogRecord } from '../../src/change/stream-record.ts';
import { recordBatch } from '../../src/log/kafka/kafka-batch.ts';
import { KAFKA } from '../../src/log/kafka/kafka-errors.ts';
import { fetchPacked } from '../../src/log/kafka/kafka-fetch.ts';
import { type ClusterPlace, KafkaLink } from '../../src/log/kafka/kafka-link.ts';
import { KafkaReader } from '../../src/log/kafka/kafka-reader.ts';
import { encodeRecord } from '../../src/log/kafka/kafka-record.ts';
import { KafkaSetup } from '../../src/log/kafka/kafka-setup.ts';
import { KafkaStream } from '../../src/log/kafka/kafka-stream.ts';

const ACCESS = { brokers: ['memory:1'], client_id: 'test', tls: null, servername: null };
const LEADER = { host: 'memory', port: 1 };
const SETTINGS = { brokers: ACCESS.brokers, client_id: 'test', topic_prefix: '', keep_hours: 1 };
const BATCH_BYTES_MAX = 1_000_000;
const EARLIEST = -2n;

export class MemoryTopic {
  readonly name: string;
  readonly id: string;
  #batches: { readonly next: number; readonly bytes: Buffer }[] = [];
  first = 0;
  end = 0;
  /** Where the leader ends giving out, if that is below the end. */
  givenOutTo: number | null = null;
  /** The end that whoever asks for it is told, if that is another one. */
  toldEnd: number | null = null;

  constructor(name: string, id: string) {
    this.name = name;
    this.id = id;
  }

  /** The records of a stream, in one batch; those that are larger than `partBytesMax` in parts. */
  append(records: readonly LogRecord[], partBytesMax = BATCH_BYTES_MAX): void {
    this.add(records.flatMap((record) => encodeRecord(record, partBytesMax, () => `split at ${this.end}`)));
  }

  add(bodies: readonly Buffer[]): void {
    const bytes = recordBatch(bodies, {
      producerId: 1n,
      producerEpoch: 0,
      sequence: 0,
      timestampMs: Date.now(),
      compression: 'none',
    });
    bytes.writeBigInt64BE(BigInt(this.end), 0);
    this.end += bodies.length;
    this.#batches.push({ next: this.end, bytes });
  }

  trim(first: number): void {
    this.first = first;
    this.#batches = this.#batches.filter(({ next }) => next > first);
  }

  /** Whole batches, the first of them whatever its size. */
  bytesFrom(from: number, bytesMax: number): Buffer {
    const end = this.givenOutTo ?? this.end;
    const found: Buffer[] = [];
    let size = 0;
    for (const { next, bytes } of this.#batches) {
      if (next <= from || next > end) continue;
      size += bytes.length;
      if (found.length > 0 && size > bytesMax) break;
      found.push(bytes);
    }
    return Buffer.concat(found);
  }
}

export class MemoryBroker {
  readonly topics = new Map<string, MemoryTopic>();
  /** For how long the broker holds back whoever fetches there; 0 for not at all. */
  throttleMs: (topic: string, from: number) => number = () => 0;
  /** What happens before a question is answered. */
  beforeAnswer: (what: 'locate' | 'fetch' | 'ends', topic: string) => void | Promise<void> = () => undefined;
  /** Of the leader that answers, as it knows itself. */
  leaderEpoch = 0;
  readonly links = new Set<KafkaLink>();

  /** A stream with its topics, and a reader of it. */
  stream(name = 'eu'): { data: MemoryTopic; control: MemoryTopic; shared: KafkaStream; reader: KafkaReader } {
    const data = this.topic(`${name}.data`, '00000000-0000-0000-0000-000000000001');
    const control = this.topic(`${name}.control`, '00000000-0000-0000-0000-000000000002');
    const link = this.link();
    const setup = new KafkaSetup(link, { ...SETTINGS, compression: 'none' }, () => undefined);
    const shared = new KafkaStream(name, { data: data.name, control: control.name }, link, setup);
    const reader = new KafkaReader(
      shared,
      link,
      () => this.link(),
      () => undefined,
    );
    return { data, control, shared, reader };
  }

  /** Another leader begins. */
  elect(): void {
    this.leaderEpoch += 1;
  }

  topic(name: string, id: string): MemoryTopic {
    const topic = this.topics.get(name) ?? new MemoryTopic(name, id);
    this.topics.set(name, topic);
    return topic;
  }

  link(): KafkaLink {
    const link = new MemoryLink(this);
    this.links.add(link);
    return link;
  }
}

class MemoryLink extends KafkaLink {
  readonly #broker: MemoryBroker;
  readonly #closed = Promise.withResolvers<never>();

  constructor(broker: MemoryBroker) {
    super(ACCESS);
    this.#broker = broker;
    this.#closed.promise.catch(() => undefined);
  }

  override async locate(name: string): Promise<ClusterPlace> {
    await this.#broker.beforeAnswer('locate', name);
    const found = this.#broker.topics.get(name);
    const place = { partitions: 1, leader: LEADER, leaderNode: 1, leaderEpoch: this.#broker.leaderEpoch, replicas: 1 };
    return { brokers: 1, controller: LEADER, topic: found === undefined ? null : { id: found.id, ...place } };
  }

  override async ask<A extends unknown[], R>(_leader: object, api: API<A, R>, ...args: A): Promise<R> {
    if ((api as unknown) === fetchPacked) {
      const bytes = await this.#fetched(args as unknown as fetchV13.FetchRequest);
      const connection = {
        send: (...[key, version, , parse, , , told]: SentArguments): void => {
          try {
            told(null, parse(0, key, version, Reader.from(bytes)));
          } catch (error) {
            told(error, null);
          }
        },
      };
      return await api.async(connection as never, ...args);
    }
    const ends = await this.#ends(args as unknown as listOffsetsV7.ListOffsetsRequest);
    return { topics: [{ partitions: [{ offset: ends }] }] } as R;
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    this.#broker.links.delete(this);
    this.#closed.reject(new Error('the link is closed'));
    await super[Symbol.asyncDispose]();
  }

  /** The bytes of the answer. */
  async #fetched([maxWaitMs, , , , , , topics]: fetchV13.FetchRequest): Promise<Buffer> {
    const [asked] = topics;
    const wanted = asked?.partitions[0];
    const topic = [...this.#broker.topics.values()].find(({ id }) => id === asked?.topicId);
    if (topic === undefined || wanted === undefined) throw unanswered(KAFKA.UNKNOWN_TOPIC_ID);
    await this.#broker.beforeAnswer('fetch', topic.name);
    await new Promise(setImmediate);
    const from = Number(wanted.fetchOffset);
    const throttleMs = this.#broker.throttleMs(topic.name, from);
    // Kafka tells of no partition then.
    if (throttleMs > 0) return answer(throttleMs, []);
    this.#checkEpoch(wanted.currentLeaderEpoch);
    if (from < topic.first || from > topic.end) throw unanswered(KAFKA.OFFSET_OUT_OF_RANGE);
    const records = topic.bytesFrom(from, wanted.partitionMaxBytes);
    // Nobody appends while somebody waits for it here.
    if (records.length === 0 && maxWaitMs > 0) await this.#closed.promise;
    return answer(0, [{ topic, records }]);
  }

  async #ends([, , topics]: listOffsetsV7.ListOffsetsRequest): Promise<bigint> {
    const [asked] = topics;
    const name = asked?.name ?? '';
    const wanted = asked?.partitions[0];
    await this.#broker.beforeAnswer('ends', name);
    const topic = this.#broker.topics.get(name);
    if (topic === undefined || wanted === undefined) throw unanswered(KAFKA.UNKNOWN_TOPIC_OR_PARTITION);
    this.#checkEpoch(wanted.currentLeaderEpoch);
    // As Kafka says until a new leader gives out all that it had when it began.
    if (wanted.timestamp !== EARLIEST && topic.givenOutTo !== null) throw unanswered(OFFSET_NOT_AVAILABLE);
    return BigInt(wanted.timestamp === EARLIEST ? topic.first : (topic.toldEnd ?? topic.end));
  }

  #checkEpoch(told: number): void {
    const { leaderEpoch } = this.#broker;
    if (told >= 0 && told < leaderEpoch) throw unanswered(FENCED_LEADER_EPOCH);
    if (told > leaderEpoch) throw unanswered(UNKNOWN_LEADER_EPOCH);
  }
}

const FENCED_LEADER_EPOCH = 74;
const UNKNOWN_LEADER_EPOCH = 75;
const OFFSET_NOT_AVAILABLE = 78;

type SentArguments = [
  key: number,
  version: number,
  create: unknown,
  parse: (correlation: number, key: number, version: number, reader: Reader) => unknown,
  hasTags: boolean,
  hasAnswerTags: boolean,
  told: (error: unknown, answer: unknown) => void,
];

const unanswered = (number: number): Error => new ResponseError(1, 13, { '/': [number as never, null] }, null);

type Given = { readonly topic: MemoryTopic; readonly records: Buffer };

function answer(throttleMs: number, given: readonly Given[]): Buffer {
  const writer = Writer.create()
    .appendInt32(throttleMs)
    .appendInt16(0)
    .appendInt32(0)
    .appendArray([...given], (each, { topic, records }) => {
      each.appendUUID(topic.id).appendArray([topic], (partition) => {
        partition.appendInt32(0).appendInt16(0);
        for (const end of [topic.end, topic.end, topic.first]) partition.appendInt64(BigInt(end));
        partition
          .appendArray([], () => undefined)
          .appendInt32(-1)
          .appendUnsignedVarInt(records.length + 1)
          .append(records);
      });
    })
    .appendTaggedFields();
  return writer.buffer;
}
