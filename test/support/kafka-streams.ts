// Settings of Kafka logs for tests, whose topics are of a prefix that nobody else uses.

import { randomBytes } from 'node:crypto';
import {
  Admin,
  ClientQuotaEntityTypes,
  ClientQuotaKeys,
  ConfigResourceTypes,
  IncrementalAlterConfigOperationTypes,
} from '@platformatic/kafka';
import type { KafkaLogSettings } from '../../src/log/kafka/kafka-settings.ts';
import type { KafkaBroker } from '../../src/platform/servers/embedded-kafka.ts';

export function kafkaSettings(brokers: readonly string[], changes: Partial<KafkaLogSettings> = {}): KafkaLogSettings {
  const topic_prefix = `test-${randomBytes(6).toString('hex')}.`;
  return { brokers, client_id: 'syncline-test', topic_prefix, compression: 'none', keep_hours: 24, ...changes };
}

/** An administrator who may do everything. */
export function adminOf(broker: KafkaBroker): AsyncDisposable & { client: Admin } {
  const client = new Admin({ clientId: 'admin', bootstrapBrokers: broker.internalBrokers });
  return { client, [Symbol.asyncDispose]: async () => await client.close() };
}

/** Changes a setting of a topic, as an operator would. */
export async function setTopic(broker: KafkaBroker, topic: string, name: string, value: string): Promise<void> {
  await using admin = adminOf(broker);
  const configs = [{ name, value, configOperation: IncrementalAlterConfigOperationTypes.SET }];
  const resource = { resourceType: ConfigResourceTypes.TOPIC, resourceName: topic, configs };
  await admin.client.incrementalAlterConfigs({ resources: [resource], validateOnly: false });
}

/** How many bytes a second clients of that id may fetch; Kafka counts over some ten seconds. */
export async function setFetchQuota(broker: KafkaBroker, clientId: string, bytesPerSecond: number): Promise<void> {
  await using admin = adminOf(broker);
  const entities = [{ entityType: ClientQuotaEntityTypes.CLIENT_ID, entityName: clientId }];
  const ops = [{ key: ClientQuotaKeys.CONSUMER_BYTE_RATE, value: bytesPerSecond, remove: false as const }];
  await admin.client.alterClientQuotas({ entries: [{ entities, ops }] });
}
