/** A broker of its own for the tests of a suite, and the settings of logs in it; to be asked for in the suite's body. */
import { after, before } from 'node:test';
import type { KafkaLogSettings } from '../../src/log/kafka/kafka-settings.ts';
import { type KafkaBroker, startKafka } from '../../src/platform/servers/embedded-kafka.ts';
import { kafkaSettings } from './kafka-streams.ts';

export class KafkaSuite {
  #broker: KafkaBroker | undefined;

  constructor() {
    before(async () => {
      this.#broker = await startKafka();
    });
    after(async () => await this.#broker?.[Symbol.asyncDispose]());
  }

  get broker(): KafkaBroker {
    if (this.#broker === undefined) throw new Error('the broker runs while tests do');
    return this.#broker;
  }

  settings(changes: Partial<KafkaLogSettings> = {}): KafkaLogSettings {
    return kafkaSettings(this.broker.brokers, changes);
  }
}
