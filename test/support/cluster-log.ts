/**
 * Where the streams of a cluster live whose test does not say, so that what is proven of regions on one log is proven on
 * the others too. SYNCLINE_LOG chooses: an embedded log unless it says `kafka`, which is one Kafka cluster for all
 * regions, or `kafka-each`, a cluster for each region.
 *
 * Brokers are started once per process and end with it; each cluster of regions has topics of its own in them.
 */
import { randomBytes } from 'node:crypto';
import type { KafkaCluster } from './kafka-cluster.ts';
import { plainKafka } from './kafka-cluster.ts';

const brokers = new Map<string, Promise<KafkaCluster>>();

/** The `log` of each region's configuration, in YAML's flow style. */
export async function logsOf(regions: readonly string[], embeddedPath: string): Promise<Record<string, string>> {
  const engine = process.env.SYNCLINE_LOG ?? 'embedded';
  if (engine !== 'embedded' && engine !== 'kafka' && engine !== 'kafka-each') {
    throw new Error(`SYNCLINE_LOG is ${engine}; there are embedded, kafka and kafka-each`);
  }
  const topicPrefix = randomPrefix();
  const logs = regions.map(async (region) => {
    if (engine === 'embedded') return [region, `{ type: embedded, path: ${embeddedPath} }`];
    // A cluster that the environment names is one; those of regions are brokers of our own.
    const cluster = await brokerOf(engine === 'kafka' ? '' : region, engine === 'kafka' ? process.env : {});
    return [region, kafkaLog(cluster, topicPrefix)];
  });
  return Object.fromEntries(await Promise.all(logs)) as Record<string, string>;
}

/** A log in that cluster, as YAML in flow style. */
export function kafkaLog({ brokers: addresses }: Pick<KafkaCluster, 'brokers'>, topicPrefix = randomPrefix()): string {
  return `{ type: kafka, brokers: ${JSON.stringify(addresses)}, topic_prefix: ${topicPrefix} }`;
}

export const randomPrefix = (): string => `test-${randomBytes(6).toString('hex')}.`;

function brokerOf(name: string, environment: NodeJS.ProcessEnv): Promise<KafkaCluster> {
  const known = brokers.get(name);
  if (known !== undefined) return known;
  const started = plainKafka(environment);
  brokers.set(name, started);
  return started;
}
