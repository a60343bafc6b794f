/**
 * Whether a region's agent could keep its stream in Kafka, found out without changing anything: brokers are asked, and
 * where a topic is not there yet, they are asked whether they would make it.
 */
import { metadataV12 } from '@platformatic/kafka';
import { fail, SynclineError } from '../../platform/errors.ts';
import { kafkaError } from './kafka-errors.ts';
import { KafkaLink } from './kafka-link.ts';
import { type KafkaLogSettings, kafkaAccess, topicNames } from './kafka-settings.ts';
import { KafkaSetup, type TopicKind } from './kafka-setup.ts';

export type KafkaFault = { readonly severity: 'error' | 'warning'; readonly error: SynclineError };

/** Kafka's numbers of operations, which are places in the answer's bits. */
const OPERATIONS = { Read: 3, Write: 4 } as const;
/** The answer of brokers that do not tell. */
const UNTOLD = -0x8000_0000;

/** What is wrong for the agent that publishes the stream. */
export async function checkKafka(settings: KafkaLogSettings, stream: string): Promise<KafkaFault[]> {
  const faults: KafkaFault[] = [];
  try {
    await using link = new KafkaLink(await kafkaAccess(settings));
    const setup = new KafkaSetup(link, settings, (detail) => {
      faults.push({ severity: 'warning', error: fail('SYN-L064', detail) });
    });
    const names = topicNames(settings.topic_prefix, stream);
    for (const kind of ['data', 'control'] as const) await checkTopic(link, setup, names[kind], kind);
  } catch (error) {
    if (!(error instanceof SynclineError)) throw error;
    faults.push({ severity: 'error', error });
  }
  return faults;
}

/** Whether the brokers of a peer let this region in; null where they do. */
export async function checkKafkaOfPeer(settings: KafkaLogSettings, stream: string): Promise<SynclineError | null> {
  try {
    await using link = new KafkaLink(await kafkaAccess(settings));
    await link.locate(topicNames(settings.topic_prefix, stream).data);
    return null;
  } catch (error) {
    if (error instanceof SynclineError) return error;
    throw error;
  }
}

async function checkTopic(link: KafkaLink, setup: KafkaSetup, topic: string, kind: TopicKind): Promise<void> {
  const { topic: place } = await link.locate(topic);
  if (place === null) {
    await setup.tryToCreate(topic, kind);
    return;
  }
  await setup.check(topic, kind);
  const lacking = await rightsLacking(link, topic);
  if (lacking.length > 0) throw fail('SYN-L062', `topic ${topic}: the user lacks ${lacking.join(' and ')} on it`);
}

async function rightsLacking(link: KafkaLink, topic: string): Promise<string[]> {
  try {
    const { topics } = await link.askAny(metadataV12.api, [topic], false, true);
    const bits = topics[0]?.topicAuthorizedOperations ?? UNTOLD;
    if (bits === UNTOLD) return [];
    return Object.entries(OPERATIONS).flatMap(([name, place]) => (((bits >> place) & 1) === 1 ? [] : [name]));
  } catch (error) {
    throw kafkaError(error, `the rights on topic ${topic} cannot be read at ${link.where}`);
  }
}
