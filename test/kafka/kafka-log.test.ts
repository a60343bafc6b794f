// The log on Kafka keeps the contract of every log.

import { KafkaLog } from '../../src/log/kafka/kafka-log.ts';
import { eventLogContract } from '../support/event-log-contract.ts';
import { plainKafka } from '../support/kafka-cluster.ts';
import { kafkaSettings } from '../support/kafka-streams.ts';

eventLogContract('the log on Kafka', async () => {
  const cluster = await plainKafka();
  const log = await KafkaLog.open(kafkaSettings(cluster.brokers));
  const close = log[Symbol.asyncDispose].bind(log);
  log[Symbol.asyncDispose] = async () => {
    await close();
    await cluster[Symbol.asyncDispose]();
  };
  return log;
});
