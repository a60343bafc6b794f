// Where the streams of the demo live: in one embedded log, or in Apache Kafka.
//
// In Kafka each region has a cluster of its own, as regions that are far from each other would: a broker that lives as
// long as the demo. Where KAFKA_BROKERS names a cluster, that one is used instead, and is left as it was found: the
// topics have prefixes that nobody else uses, and are deleted in the end. A demo that is killed cannot do that; then what
// is in its topics goes after an hour, by itself.

import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Admin } from '@platformatic/kafka';
import { fail } from '../platform/errors.ts';
import { startKafka } from '../platform/servers/embedded-kafka.ts';
import { installKafka } from '../platform/servers/kafka-artifacts.ts';

export const LOG_TYPES = ['embedded', 'kafka'] as const;
export type LogType = (typeof LOG_TYPES)[number];

export interface DemoLogs extends AsyncDisposable {
  /** What the configuration of an agent says of the log of a region: its own, or the one of a peer. */
  of(region: string): LogSettings;
}

export interface LogSettings {
  readonly own: object;
  /** Null where peers share the log. */
  readonly peer: object | null;
}

export interface LogsOptions {
  readonly type: LogType;
  readonly regions: readonly string[];
  /** The folder of the demo. */
  readonly folder: string;
  readonly say: (text: string) => void;
  readonly signal: AbortSignal;
}

const KEEP_HOURS = 1;
const DELETE_LIMIT_MS = 10_000;

export async function openLogs(options: LogsOptions): Promise<DemoLogs> {
  if (options.type === 'embedded') return await openEmbedded(options);
  const brokers = (process.env.KAFKA_BROKERS ?? '').split(',').map((address) => address.trim());
  const named = brokers.filter((address) => address !== '');
  return named.length > 0 ? openNamed(options, named) : await startBrokers(options);
}

async function openEmbedded({ folder }: LogsOptions): Promise<DemoLogs> {
  const path = join(folder, 'log');
  await mkdir(path);
  return {
    of: () => ({ own: { type: 'embedded', path }, peer: null }),
    [Symbol.asyncDispose]: async () => undefined,
  };
}

async function startBrokers({ regions, say, signal }: LogsOptions): Promise<DemoLogs> {
  say('Looking for Apache Kafka; the first time, Maven fetches it …');
  await installKafka(signal);
  signal.throwIfAborted();
  say('Starting a Kafka cluster of one broker for each region …');
  await using stack = new AsyncDisposableStack();
  const starting = regions.map(async (region) => [region, stack.use(await startKafka()).brokers] as const);
  // Waits for all, also where one fails: what is half started cannot be ended yet.
  await Promise.allSettled(starting);
  const brokersOf = new Map(await Promise.all(starting));
  signal.throwIfAborted();
  const started = stack.move();
  return {
    of: (region) => kafka(brokersOf.get(region) ?? [], 'syncline.'),
    [Symbol.asyncDispose]: async () => await started.disposeAsync(),
  };
}

function openNamed({ regions, say }: LogsOptions, brokers: readonly string[]): DemoLogs {
  const run = `syncline-demo-${randomBytes(4).toString('hex')}`;
  const prefixOf = (region: string): string => `${run}.${region}.`;
  say(`Streams go to the Kafka cluster at ${brokers.join(', ')}, into topics that begin with ${run}.`);
  return {
    of: (region) => kafka(brokers, prefixOf(region)),
    [Symbol.asyncDispose]: async () => {
      const topics = regions.flatMap((region) =>
        ['data', 'control'].map((kind) => `${prefixOf(region)}${region}.${kind}`),
      );
      await deleteTopics(brokers, topics, run).catch((cause: unknown) => {
        // It must not hide how the demo itself ended.
        const error = fail('SYN-D140', `at ${brokers.join(', ')}, those that begin with ${run}`, { cause });
        say(`${error.message}\n  ${error.remedy}`);
      });
    },
  };
}

function kafka(brokers: readonly string[], topic_prefix: string): LogSettings {
  const place = { type: 'kafka', brokers, topic_prefix };
  return { own: { ...place, keep_hours: KEEP_HOURS }, peer: place };
}

/** Those that are there: a demo that ended early has not made all of them. */
async function deleteTopics(brokers: readonly string[], topics: readonly string[], run: string): Promise<void> {
  const admin = new Admin({
    clientId: run,
    bootstrapBrokers: [...brokers],
    timeout: DELETE_LIMIT_MS,
    connectTimeout: DELETE_LIMIT_MS,
    retries: 1,
  });
  try {
    const existing = new Set(await admin.listTopics());
    const made = topics.filter((topic) => existing.has(topic));
    if (made.length > 0) await admin.deleteTopics({ topics: made });
  } finally {
    await admin.close();
  }
}
