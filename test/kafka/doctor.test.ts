// What doctor says of a region whose stream is to be in Kafka.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Admin } from '@platformatic/kafka';
import { checkKafkaLogs } from '../../src/cli/doctor-kafka.ts';
import { KafkaLog } from '../../src/log/kafka/kafka-log.ts';
import { type KafkaLogSettings, topicNames } from '../../src/log/kafka/kafka-settings.ts';
import { type Config, parseConfig } from '../../src/platform/config.ts';
import { type KafkaBroker, startKafka } from '../../src/platform/servers/embedded-kafka.ts';
import { kafkaSettings } from '../support/kafka-streams.ts';
import { waitFor } from '../support/wait-for.ts';

const BOB = { name: 'bob', password: 'bob-secret' };

describe('doctor', () => {
  let broker: KafkaBroker;
  let admin: Admin;
  before(async () => {
    broker = await startKafka({
      security: { sasl: { mechanisms: ['SCRAM-SHA-512'], users: [BOB] }, acls: { superUsers: ['alice'] } },
    });
    admin = new Admin({ clientId: 'admin', bootstrapBrokers: broker.internalBrokers });
  });
  after(async () => {
    await admin?.close();
    await broker?.[Symbol.asyncDispose]();
  });

  const configOf = (log: KafkaLogSettings, peerLog?: object): Config => {
    const peers = peerLog === undefined ? [] : [{ region: 'us', log: peerLog }];
    const whole = { region: 'eu', database: 'postgres://localhost/shop', log: { type: 'kafka', ...log }, peers };
    return parseConfig(JSON.stringify(whole), {});
  };
  const findings = async (config: Config): Promise<string[][]> =>
    (await checkKafkaLogs(config)).map(({ code, severity }) => [code, severity]);

  test('finds nothing where the topics are, or could be made, and makes none', async () => {
    const settings = kafkaSettings(broker.internalBrokers);
    assert.deepEqual(await findings(configOf(settings)), []);
    assert.deepEqual(await admin.listTopics(), []);
    await using log = await KafkaLog.open(settings);
    await (await log.writer('eu'))[Symbol.asyncDispose]();
    assert.deepEqual(await findings(configOf(settings)), []);
  });

  test('tells topics that cannot be made, or would not do', async () => {
    const many = kafkaSettings(broker.internalBrokers, { replication_factor: 3 });
    assert.deepEqual(await findings(configOf(many)), [['SYN-L068', 'error']]);
    const settings = kafkaSettings(broker.internalBrokers);
    const { data } = topicNames(settings.topic_prefix, 'eu');
    await admin.createTopics({ topics: [data], partitions: 3, replicas: 1 });
    // A broker tells of a new topic a moment after it was made.
    await waitFor(async () => (await findings(configOf(settings))).length > 0, { what: 'the topic to be told' });
    assert.deepEqual(await findings(configOf(settings)), [['SYN-L064', 'error']]);
  });

  test('tells a user without rights, a login that is refused, and brokers that are away, its own and those of a peer', async () => {
    const sasl = { mechanism: 'SCRAM-SHA-512', username: BOB.name, password: BOB.password } as const;
    const bob = kafkaSettings(broker.brokers, { sasl });
    assert.deepEqual(await findings(configOf(bob)), [['SYN-L062', 'error']]);
    assert.deepEqual(await findings(configOf({ ...bob, sasl: { ...sasl, password: 'wrong' } })), [
      ['SYN-L061', 'error'],
    ]);
    assert.deepEqual(await findings(configOf(kafkaSettings(['127.0.0.1:1']))), [['SYN-L060', 'error']]);
    const well = kafkaSettings(broker.internalBrokers);
    assert.deepEqual(await findings(configOf(well, { brokers: ['127.0.0.1:1'] })), [['SYN-L060', 'warning']]);
    assert.deepEqual(await findings(configOf(well, {})), []);
  });
});
