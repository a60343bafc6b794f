// Settings of Kafka logs for tests, whose topics are of a prefix that nobody else uses.

import { randomBytes } from 'node:crypto';
import { Admin, ConfigResourceTypes, IncrementalAlterConfigOperationTypes } from '@platformatic/kafka';
import type { KafkaLogSettings } from '../../src/log/kafka-settings.ts';
import type { KafkaBroker } from '../../src/platform/embedded-kafka.ts';

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
