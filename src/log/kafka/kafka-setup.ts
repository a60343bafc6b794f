/**
 * Makes the topics of a stream, and checks the settings of those that are there.
 *
 * A stream is one order, so its data topic has one partition. Compaction would take all but the last event of a row from it;
 * without compaction the control topic would lose, with time, what it tells. What an operator set is never changed, only
 * refused where it loses records, and warned of where it keeps them for a shorter time than the configuration says.
 *
 * Services that run Kafka for others refuse some settings of topics; then those that are not vital are left out.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { ConfigResourceTypes, createTopicsV7, describeConfigsV4 } from '@platformatic/kafka';
import { fail } from '../../platform/errors.ts';
import { hasNumber, KAFKA, kafkaError, kafkaNumbers } from './kafka-errors.ts';
import type { ClusterPlace, KafkaLink } from './kafka-link.ts';
import type { KafkaLogSettings } from './kafka-settings.ts';

export type TopicKind = 'data' | 'control';

/** What of a topic's settings its users go by. */
export type TopicLimits = { readonly batchBytesMax: number; readonly retentionMs: number | null };

const MS_PER_HOUR = 3_600_000;
const CREATE_TIMEOUT_MS = 10_000;
const APPEAR_LIMIT_MS = 15_000;
const APPEAR_POLL_MS = 50;
const REPLICAS_MAX = 3;
/** What Kafka takes unless it is told otherwise; assumed where settings may not be read. */
const BATCH_BYTES_DEFAULT = 1_048_588;
/** A record of common size has to fit, with its key and its headers. */
const BATCH_BYTES_MIN = 64 * 1024;
/** Larger batches are not faster, and block others for longer. */
const BATCH_BYTES_MAX = 1024 * 1024;
const INVALID_CONFIG = 40;
const POLICY_VIOLATION = 44;
const REFUSED = [INVALID_CONFIG, POLICY_VIOLATION];

type Setting = readonly [name: string, value: string];
type WantedTopic = createTopicsV7.CreateTopicsRequestTopic;
/** Whether the brokers only tell if they would. */
type Trial = { readonly isTrial: boolean };

export class KafkaSetup {
  readonly #link: KafkaLink;
  readonly #settings: KafkaLogSettings;
  readonly #onWarning: (detail: string) => void;

  constructor(link: KafkaLink, settings: KafkaLogSettings, onWarning: (detail: string) => void) {
    this.#link = link;
    this.#settings = settings;
    const told = new Set<string>();
    this.#onWarning = (detail) => {
      if (!told.has(detail)) onWarning(detail);
      told.add(detail);
    };
  }

  /** Makes the topic where there is none; throws where it would not do. */
  async ensure(topic: string, kind: TopicKind): Promise<TopicLimits> {
    const cluster = await this.#link.locate(topic);
    if (cluster.topic === null) await this.#create(topic, kind, cluster, { isTrial: false });
    return await this.check(topic, kind);
  }

  /** Throws where the topic, which is not there, could not be made. */
  async tryToCreate(topic: string, kind: TopicKind): Promise<void> {
    await this.#create(topic, kind, await this.#link.locate(topic), { isTrial: true });
  }

  /** Throws where the topic is not there, or would not do. */
  async check(topic: string, kind: TopicKind): Promise<TopicLimits> {
    const { topic: place } = await this.#link.locate(topic);
    if (place === null) throw fail('SYN-L065', `topic ${topic} is gone`, { context: { topic } });
    if (place.partitions !== 1) {
      throw unfit(topic, `it has ${place.partitions} partitions, and a stream is one order: it takes one`);
    }
    const found = await this.#describe(topic);
    const policies = found.get('cleanup.policy')?.split(',') ?? [];
    if (kind === 'control') {
      if (policies.length > 0 && (policies.length > 1 || policies[0] !== 'compact')) {
        throw unfit(topic, `cleanup.policy is ${policies.join()}, and a control topic needs compact`);
      }
      return { batchBytesMax: BATCH_BYTES_DEFAULT, retentionMs: null };
    }
    if (policies.includes('compact')) {
      throw unfit(topic, `cleanup.policy is ${policies.join()}, which would lose events; a data topic needs delete`);
    }
    const batchBytes = Number(found.get('max.message.bytes') ?? BATCH_BYTES_DEFAULT);
    if (batchBytes < BATCH_BYTES_MIN) {
      throw unfit(topic, `max.message.bytes is ${batchBytes}, and at least ${BATCH_BYTES_MIN} are needed`);
    }
    return { batchBytesMax: Math.min(batchBytes, BATCH_BYTES_MAX), retentionMs: this.#retention(topic, found) };
  }

  /** Null where the topic keeps its records for ever. */
  #retention(topic: string, found: ReadonlyMap<string, string>): number | null {
    const wanted = this.#settings.keep_hours * MS_PER_HOUR;
    const text = found.get('retention.ms');
    if (text === undefined) return wanted;
    const retention = Number(text);
    if (retention < 0) return null;
    if (retention < wanted) {
      this.#onWarning(
        `topic ${topic} keeps events for ${retention / MS_PER_HOUR} h; log.keep_hours is ${wanted / MS_PER_HOUR}`,
      );
    }
    return retention;
  }

  async #create(topic: string, kind: TopicKind, cluster: ClusterPlace, { isTrial }: Trial): Promise<void> {
    const replicas = this.#settings.replication_factor ?? Math.min(REPLICAS_MAX, cluster.brokers);
    const vital = kind === 'data' ? this.#dataSettings() : CONTROL_VITAL;
    const useful = kind === 'data' ? this.#dataExtras(replicas) : controlExtras(replicas);
    const wanted = (settings: readonly Setting[]): WantedTopic => ({
      name: topic,
      numPartitions: 1,
      replicationFactor: replicas,
      assignments: [],
      configs: settings.map(([name, value]) => ({ name, value })),
    });
    try {
      try {
        await this.#createWith(wanted([...vital, ...useful]), cluster, isTrial);
      } catch (error) {
        if (!kafkaNumbers(error).some((number) => REFUSED.includes(number))) throw error;
        await this.#createWith(wanted(vital), cluster, isTrial);
      }
    } catch (error) {
      if (!hasNumber(error, KAFKA.TOPIC_ALREADY_EXISTS)) {
        throw kafkaError(error, `topic ${topic} with ${replicas} replica(s) cannot be created at ${this.#link.where}`);
      }
    }
    if (!isTrial) await this.#appeared(topic);
  }

  async #createWith(wanted: WantedTopic, { controller }: ClusterPlace, isTrial: boolean): Promise<void> {
    await this.#link.ask(controller, createTopicsV7.api, [wanted], CREATE_TIMEOUT_MS, isTrial);
  }

  /** Not every broker knows of a topic at once. */
  async #appeared(topic: string): Promise<void> {
    for (const end = performance.now() + APPEAR_LIMIT_MS; ; ) {
      try {
        if ((await this.#link.locate(topic)).topic !== null) return;
      } catch (error) {
        if (performance.now() >= end) throw error;
      }
      if (performance.now() >= end) throw fail('SYN-L060', `topic ${topic} was created and does not appear`);
      await delay(APPEAR_POLL_MS);
    }
  }

  #dataSettings(): Setting[] {
    return [
      ['cleanup.policy', 'delete'],
      ['retention.ms', String(this.#settings.keep_hours * MS_PER_HOUR)],
      ['message.timestamp.type', 'CreateTime'],
    ];
  }

  /** Kafka drops whole segments: with a quarter of the time in each, records go soon after they may. */
  #dataExtras(replicas: number): Setting[] {
    const segmentMs = Math.max(MS_PER_HOUR, (this.#settings.keep_hours * MS_PER_HOUR) / 4);
    return [['retention.bytes', '-1'], ['segment.ms', String(segmentMs)], ...durable(replicas)];
  }

  /** Settings by name; empty where the user may not read them. */
  async #describe(topic: string): Promise<ReadonlyMap<string, string>> {
    const resource = {
      resourceType: ConfigResourceTypes.TOPIC,
      resourceName: topic,
      configurationKeys: ['cleanup.policy', 'max.message.bytes', 'retention.ms'],
    };
    try {
      const { results } = await this.#link.askAny(describeConfigsV4.api, [resource], false, false);
      return new Map((results[0]?.configs ?? []).map(({ name, value }) => [name, value ?? '']));
    } catch (error) {
      const failure = kafkaError(error, `the settings of topic ${topic} cannot be read at ${this.#link.where}`);
      if (failure.code !== 'SYN-L062') throw failure;
      this.#onWarning(`the settings of topic ${topic} are not checked: the user lacks DescribeConfigs on it`);
      return new Map();
    }
  }
}

const CONTROL_VITAL: readonly Setting[] = [['cleanup.policy', 'compact']];

/** Small segments, since the newest one is never compacted. */
function controlExtras(replicas: number): Setting[] {
  return [
    ['segment.bytes', String(1024 * 1024)],
    ['segment.ms', String(MS_PER_HOUR)],
    ['min.cleanable.dirty.ratio', '0.1'],
    ...durable(replicas),
  ];
}

/** With three replicas one may be away; what was acknowledged is then on two. */
function durable(replicas: number): Setting[] {
  return [
    ['min.insync.replicas', replicas >= REPLICAS_MAX ? '2' : '1'],
    ['unclean.leader.election.enable', 'false'],
  ];
}

function unfit(topic: string, detail: string): Error {
  return fail('SYN-L064', `topic ${topic}: ${detail}`, { context: { topic } });
}
