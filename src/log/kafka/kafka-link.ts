/**
 * Connections to the brokers of one cluster, for one purpose. A broker answers the requests of a connection one after the
 * other, so a fetch that waits for news holds up whatever is sent behind it: who waits has a link of its own.
 *
 * Versions of requests are fixed, to what Kafka 3.1 and all later ones speak, and are checked once per link. The client's
 * own producer and consumer are not used: its producer answers a lost sequence by beginning a new one, which would hide
 * that the broker has lost records, and its consumer reads on silently where a topic was made anew.
 *
 * Every request ends: by its answer, by a timeout, or by its connection. Nothing is retried here but the search for a
 * broker that can be reached.
 */
import { isIP } from 'node:net';
import {
  type API,
  apiVersionsV3,
  Connection,
  ConnectionStatuses,
  createTopicsV7,
  deleteRecordsV2,
  describeConfigsV4,
  describeLogDirsV2,
  fetchV13,
  initProducerIdV4,
  listOffsetsV7,
  metadataV12,
  parseBroker,
  produceV9,
} from '@platformatic/kafka';
import { fail } from '../../platform/errors.ts';
import { hasNumber, KAFKA, kafkaError } from './kafka-errors.ts';
import type { KafkaAccess } from './kafka-settings.ts';

const CONNECT_TIMEOUT_MS = 5_000;
/** Above the time that a broker may take over a request: a fetch that waits, an append that waits for replicas. */
const REQUEST_TIMEOUT_MS = 15_000;

type Broker = { readonly host: string; readonly port: number };

/** Where a topic is; a name that is given to another topic has another id. */
export type TopicPlace = {
  readonly id: string;
  readonly partitions: number;
  readonly leader: Broker;
  readonly leaderNode: number;
  /** Grows with each leader. */
  readonly leaderEpoch: number;
  readonly replicas: number;
};

export type ClusterPlace = { readonly brokers: number; readonly controller: Broker; readonly topic: TopicPlace | null };

/** What is asked of the brokers, in the versions in which it is asked. */
const NEEDED: readonly API<never, unknown>[] = [
  createTopicsV7.api,
  deleteRecordsV2.api,
  describeConfigsV4.api,
  fetchV13.api,
  initProducerIdV4.api,
  listOffsetsV7.api,
  metadataV12.api,
  produceV9.api,
  describeLogDirsV2.api,
];

export class KafkaLink implements AsyncDisposable {
  readonly #access: KafkaAccess;
  readonly #connections = new Map<string, Promise<Connection>>();
  /** Brokers that were heard of, to be asked first. */
  #known: readonly Broker[] = [];
  #isChecked = false;
  readonly #closing = new AbortController();

  constructor(access: KafkaAccess) {
    this.#access = access;
  }

  get isClosed(): boolean {
    return this.#closing.signal.aborted;
  }

  /** Aborts once the link is closed. */
  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  /** Where the cluster and the topic are now; no topic where there is none of that name. */
  async locate(topic: string): Promise<ClusterPlace> {
    const found = await this.#metadata(topic);
    const brokers = new Map(found.brokers.map(({ nodeId, host, port }) => [nodeId, { host, port }]));
    const controller = brokers.get(found.controllerId) ?? [...brokers.values()][0];
    if (controller === undefined) throw fail('SYN-L060', `the cluster at ${this.where} names no brokers`);
    this.#known = [...brokers.values()];
    const described = found.topics.find(({ name }) => name === topic);
    if (described === undefined) return { brokers: brokers.size, controller, topic: null };
    const first = described.partitions.find(({ partitionIndex }) => partitionIndex === 0);
    const leader = first === undefined ? undefined : brokers.get(first.leaderId);
    if (first === undefined || leader === undefined)
      throw fail('SYN-L060', `topic ${topic} has no leader at the moment`);
    const place = {
      id: described.topicId,
      partitions: described.partitions.length,
      leader,
      leaderNode: first.leaderId,
      leaderEpoch: first.leaderEpoch,
      replicas: first.replicaNodes.length,
    };
    return { brokers: brokers.size, controller, topic: place };
  }

  /** The broker's answer, or its error as the client gives it. */
  async ask<A extends unknown[], R>(broker: Broker, api: API<A, R>, ...args: A): Promise<R> {
    const connection = await this.connectionTo(broker);
    return await api.async(connection, ...args);
  }

  /** Asks any broker that can be reached. */
  async askAny<A extends unknown[], R>(api: API<A, R>, ...args: A): Promise<R> {
    const connection = await this.#any();
    return await api.async(connection, ...args);
  }

  /** The brokers of the configuration, and how they are spoken to, for messages. */
  get where(): string {
    const { brokers, tls, sasl } = this.#access;
    const login = sasl === undefined ? 'no login' : `${sasl.mechanism} as ${sasl.username}`;
    return `${brokers.join(', ')} (${tls === null ? 'no TLS' : 'TLS'}, ${login})`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    const open = [...this.#connections.values()];
    this.#connections.clear();
    for (const opening of open) await opening.then(close, () => undefined);
  }

  async #metadata(topic: string): Promise<metadataV12.MetadataResponse> {
    try {
      return await this.askAny(metadataV12.api, [topic], false, false);
    } catch (error) {
      // What the answer tells of the cluster is there all the same.
      const response = hasNumber(error, KAFKA.UNKNOWN_TOPIC_OR_PARTITION) ? responseOf(error) : null;
      if (response === null) throw kafkaError(error, `topic ${topic} cannot be looked up at ${this.where}`);
      return { ...response, topics: [] };
    }
  }

  async #any(): Promise<Connection> {
    const errors: unknown[] = [];
    const bootstrap = this.#access.brokers.map((broker) => parseBroker(broker) as Broker);
    for (const broker of new Map([...this.#known, ...bootstrap].map((each) => [keyOf(each), each])).values()) {
      try {
        return await this.connectionTo(broker);
      } catch (error) {
        errors.push(error);
        if (this.isClosed) break;
      }
    }
    throw errors.length === 1 ? errors[0] : new AggregateError(errors, 'no broker can be reached');
  }

  /** The connection to that broker: what is sent over it is carried out in that order. */
  async connectionTo(broker: Broker): Promise<Connection> {
    if (this.isClosed) throw fail('SYN-L060', 'the connection to Kafka is closed');
    const key = keyOf(broker);
    const last = this.#connections.get(key);
    if (last !== undefined) {
      const known = await last;
      const { status } = known;
      if (status === ConnectionStatuses.CONNECTED || status === ConnectionStatuses.REAUTHENTICATING) return known;
      // Several may see at once that it is gone. The first of them begins anew, without waiting for anything after this look:
      // a second connection would be nobody's, and stay open.
      if (this.#connections.get(key) !== last) return await this.connectionTo(broker);
    }
    const opening = this.#open(broker);
    this.#connections.set(key, opening);
    try {
      const connection = await opening;
      if (!this.isClosed) return connection;
      await close(connection);
    } catch (error) {
      if (this.#connections.get(key) === opening) this.#connections.delete(key);
      throw error;
    }
    throw fail('SYN-L060', 'the connection to Kafka is closed');
  }

  async #open({ host, port }: Broker): Promise<Connection> {
    const { client_id, tls, servername, sasl } = this.#access;
    const connection = new Connection(client_id, {
      connectTimeout: CONNECT_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      ...(tls === null ? {} : { tls, tlsServerName: servername ?? isIP(host) === 0 }),
      ...(sasl === undefined ? {} : { sasl }),
    });
    // What is in flight fails with it; an error event that nobody hears would end the process.
    connection.on('error', () => undefined);
    connection.on('timeout', () => undefined);
    try {
      await connection.connect(host, port);
      if (!this.#isChecked) await this.#checkVersions(connection);
    } catch (error) {
      connection.socket?.destroy();
      throw error;
    }
    return connection;
  }

  async #checkVersions(connection: Connection): Promise<void> {
    const { apiKeys } = await apiVersionsV3.api.async(connection, 'syncline', '1');
    const spoken = new Map(apiKeys.map((each) => [each.apiKey, each]));
    const lacking = NEEDED.filter(({ key, version }) => {
      const { minVersion = 1, maxVersion = 0 } = spoken.get(key) ?? {};
      return version < minVersion || version > maxVersion;
    });
    if (lacking.length > 0) {
      const names = lacking.map(({ key, version }) => `${spoken.get(key)?.name ?? `request ${key}`} v${version}`);
      throw fail('SYN-L067', `the brokers at ${this.where} lack ${names.join(', ')}`);
    }
    this.#isChecked = true;
  }
}

const keyOf = ({ host, port }: Broker): string => `${host}:${port}`;

async function close(connection: Connection): Promise<void> {
  await connection.close();
  connection.socket?.destroy();
}

function responseOf(error: unknown): metadataV12.MetadataResponse | null {
  if (!(error instanceof Error) || !('response' in error)) return null;
  return error.response as metadataV12.MetadataResponse;
}
