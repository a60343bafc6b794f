// `npm run kafka`: real Kafka brokers in the foreground, to try Syncline with, until Ctrl-C. With
// `-- --count 3` there are three, each a cluster of its own, as three regions would have. Ports and
// data stay from run to run, so that what is configured for one run fits the next.
//
// `-- --fetch` only brings Kafka into the cache, and fails where it cannot be had: a build learns
// that before it tests for long.

import { join, relative } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { SynclineError } from '../src/platform/errors.ts';
import { type KafkaBroker, startKafka } from '../src/platform/servers/embedded-kafka.ts';
import { installKafka } from '../src/platform/servers/kafka-artifacts.ts';

const ROOT = join(import.meta.dirname, '..');
const DATA = join(ROOT, '.cache/kafka-data');
const PORT = 19_092;
const COUNT_MAX = 9;
const POLL_MS = 250;

async function serve(count: number, firstPort: number, data: string): Promise<number> {
  const stopped = Promise.withResolvers<void>();
  let isStopping = false;
  // One Ctrl-C may come twice, from the terminal and from npm.
  const stop = (): void => {
    isStopping = true;
    stopped.resolve();
  };
  process.on('SIGINT', stop).on('SIGTERM', stop);

  const brokers: KafkaBroker[] = [];
  try {
    for (let index = 0; index < count && !isStopping; index += 1) {
      const port = firstPort + index;
      console.log(`starting a broker on port ${port} …`);
      brokers.push(await startKafka({ directory: join(data, String(port)), port, isLongLived: true }));
    }
    if (!isStopping) describe(brokers, data);
    while (!isStopping) {
      const dead = brokers.find(({ pid }) => pid === undefined);
      if (dead !== undefined) {
        console.error(`the broker on port ${dead.port} ended by itself:\n${await dead.logTail()}`);
        return 1;
      }
      await Promise.race([stopped.promise, delay(POLL_MS)]);
    }
    console.log('stopping …');
    return 0;
  } finally {
    await Promise.all(brokers.map((broker) => broker[Symbol.asyncDispose]()));
  }
}

function describe(brokers: readonly KafkaBroker[], data: string): void {
  const lists = brokers.map((broker) => broker.brokers);
  console.log(`\nReady. For the configuration of ${lists.length === 1 ? 'an agent' : 'one agent each'}:\n`);
  for (const list of lists) console.log(`log: { type: kafka, brokers: ${JSON.stringify(list)} }`);
  console.log(`\nFor tests: export KAFKA_BROKERS=${lists[0]?.join(',') ?? ''}`);
  console.log(`Data are kept in ${relative(ROOT, data)}. Ctrl-C stops.`);
}

function wholeNumber(text: string, name: string, max: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1 && value <= max) return value;
  throw new RangeError(`--${name} is a whole number from 1 to ${max}, not ${text}`);
}

try {
  const { values } = parseArgs({
    options: {
      count: { type: 'string', default: '1' },
      port: { type: 'string', default: String(PORT) },
      data: { type: 'string', default: DATA },
      fetch: { type: 'boolean', default: false },
    },
  });
  const count = wholeNumber(values.count, 'count', COUNT_MAX);
  const port = wholeNumber(values.port, 'port', 65_535 - COUNT_MAX);
  if (values.fetch) console.log(`Kafka is there, to run with ${(await installKafka()).java}`);
  else process.exitCode = await serve(count, port, values.data);
} catch (error) {
  if (error instanceof SynclineError) console.error(`${error.message}\n${error.remedy}`);
  else console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
