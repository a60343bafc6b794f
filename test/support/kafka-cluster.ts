// The cluster of a test that needs no more than plain brokers: the one that KAFKA_BROKERS names, else
// a broker of its own. Topics of such a test have names of their own, since others may use the cluster too.

import { startKafka } from '../../src/platform/servers/embedded-kafka.ts';

export interface KafkaCluster extends AsyncDisposable {
  /** Bootstrap addresses. */
  readonly brokers: readonly string[];
}

export async function plainKafka(environment: NodeJS.ProcessEnv = process.env): Promise<KafkaCluster> {
  const brokers = (environment.KAFKA_BROKERS ?? '').split(',').map((address) => address.trim());
  const named = brokers.filter((address) => address !== '');
  if (named.length > 0) return { brokers: named, [Symbol.asyncDispose]: async () => undefined };
  return await startKafka();
}
