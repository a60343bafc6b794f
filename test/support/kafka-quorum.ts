/**
 * A Kafka cluster of three brokers on this machine, each a process of its own: any one of them may be away, and what was
 * acknowledged is on the two others.
 */
import { randomUUID } from 'node:crypto';
import { metadataV12 } from '@platformatic/kafka';
import { KafkaLink } from '../../src/log/kafka/kafka-link.ts';
import { type KafkaBroker, startKafka } from '../../src/platform/servers/embedded-kafka.ts';
import { freePort } from '../../src/platform/servers/free-port.ts';
import type { KafkaMember } from '../../src/platform/servers/kafka-properties.ts';

const COUNT = 3;

export type TopicReplicas = {
  /** Node numbers. */
  readonly leader: number;
  readonly replicas: readonly number[];
  /** Those that have all that was acknowledged. */
  readonly inStep: readonly number[];
};

export class KafkaQuorum implements AsyncDisposable {
  readonly members: readonly KafkaBroker[];
  readonly #link: KafkaLink;

  private constructor(members: readonly KafkaBroker[]) {
    this.members = members;
    this.#link = new KafkaLink({ brokers: this.brokers, client_id: 'test', tls: null, servername: null });
  }

  static async start(): Promise<KafkaQuorum> {
    const numbers = new Set<number>();
    while (numbers.size < 3 * COUNT) numbers.add(await freePort());
    const free = [...numbers];
    const ports: KafkaMember['ports'] = Array.from({ length: COUNT }, (_, place) => {
      const [client = 0, internal = 0, controller = 0] = free.slice(3 * place);
      return { client, internal, controller };
    });
    const clusterId = randomUUID();
    await using started = new AsyncDisposableStack();
    const starting = ports.map(async (_, place) =>
      started.use(await startKafka({ member: { node: place + 1, clusterId, ports } })),
    );
    await Promise.allSettled(starting);
    const quorum = new KafkaQuorum(await Promise.all(starting));
    started.move();
    return quorum;
  }

  get brokers(): string[] {
    return this.members.flatMap((member) => member.brokers);
  }

  member(node: number): KafkaBroker {
    const found = this.members[node - 1];
    if (found === undefined) throw new Error(`there is no broker ${node}`);
    return found;
  }

  async replicasOf(topic: string): Promise<TopicReplicas> {
    const { topics } = await this.#link.askAny(metadataV12.api, [topic], false, false);
    const partition = topics[0]?.partitions[0];
    if (partition === undefined) throw new Error(`there is no topic ${topic}`);
    return { leader: partition.leaderId, replicas: partition.replicaNodes, inStep: partition.isrNodes };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#link[Symbol.asyncDispose]();
    await Promise.all(this.members.map(async (member) => await member[Symbol.asyncDispose]()));
  }
}
