/**
 * How long the row of a heartbeat takes from its commit until it is visible in the other region, while users write there or
 * not: through the embedded log, through Kafka, and by PostgreSQL's own logical replication (`heartbeat`); and the same with
 * the regions far from each other (`wan`), through Kafka and by PostgreSQL.
 *
 * A row is due every 20 ms, in a transaction of its own; its clock starts when its COMMIT is answered, and stops with the
 * first answer of the other region that shows it, which is asked all the time. The users' load is in the source alone, comes
 * from another process (load.ts), and goes on from before the first row until after the last one.
 *
 * Regions are far by proxies that hold every byte of each way for the delay. They are where a region reads the other one: for
 * Syncline before the listener of a broker that the other region's agent connects to, for PostgreSQL in the connection of each
 * subscription. The clients, and what writes to its own region's log, are near. A lag cannot be below the delay of one way.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { type KafkaBroker, startKafka } from '../src/platform/servers/embedded-kafka.ts';
import { kafkaLog } from '../test/support/cluster-log.ts';
import { ProxiedKafka } from '../test/support/proxied-kafka.ts';
import { ACCOUNTS_SCHEMA, startLoad } from './load.ts';
import type { Measured } from './measured.ts';
import { peaks } from './memory.ts';
import { NativePair, type Pair, SynclinePair, untilThere } from './pairs.ts';
import { quantile } from './quantile.ts';

const EVERY_MS = 20;
const POLL_MS = 1;
const CLIENTS = 16;
const WARM_UP_SECONDS = 3;
/** The load begins so long before the first row and ends so long after the last one, at most. */
const LOAD_AROUND_SECONDS = 1;
const ARRIVAL_LIMIT_MS = 60_000;
const RATES = [0, 500, 2_000];
const RATES_FROM_AFAR = [0, 500];
const DELAYS_MS = [40, 150];
const SCHEMA = `${ACCOUNTS_SCHEMA}; create table public.heartbeat (n bigint primary key)`;
const REGIONS = ['eu', 'us'];
/** Who reaches a broker from afar. */
const OTHER_REGION = 'the other region';

export async function measureHeartbeat(seconds: number, rounds: number): Promise<Measured[]> {
  await using stack = new AsyncDisposableStack();
  const brokers: [string, KafkaBroker][] = [];
  for (const region of REGIONS) brokers.push([region, stack.use(await startKafka({ isLongLived: true }))]);
  const logs = Object.fromEntries(brokers.map(([region, broker]) => [region, kafkaLog(broker)]));
  const pairs = [
    stack.use(await SynclinePair.start(SCHEMA, { side: 'embedded' })),
    stack.use(await SynclinePair.start(SCHEMA, { side: 'kafka', logs })),
    stack.use(await NativePair.start(SCHEMA)),
  ];
  const runs: Measured[] = [];
  for (const rate of RATES) await measureAt(pairs, rate, `at_${rate}_per_s`, seconds, rounds, runs);
  for (const pair of pairs) runs.push(...(await peaks(pair)));
  return runs;
}

export async function measureFromAfar(seconds: number, rounds: number): Promise<Measured[]> {
  await using stack = new AsyncDisposableStack();
  const brokers = new Map<string, ProxiedKafka>();
  for (const region of REGIONS) {
    brokers.set(region, stack.use(await ProxiedKafka.start([OTHER_REGION], { isLongLived: true })));
  }
  const logs = Object.fromEntries([...brokers].map(([region, broker]) => [region, broker.log()]));
  const logOfPeer = (_region: string, peer: string): string => brokers.get(peer)?.log(OTHER_REGION) ?? '';
  const ours = stack.use(await SynclinePair.start(SCHEMA, { side: 'kafka', logs, logOfPeer }));
  const peer = stack.use(await NativePair.start(SCHEMA, { isFar: true }));
  const runs: Measured[] = [];
  for (const delayMs of DELAYS_MS) {
    for (const broker of brokers.values()) broker.proxyOf(OTHER_REGION).latencyMs = delayMs;
    peer.delayMs = delayMs;
    for (const rate of RATES_FROM_AFAR) {
      await measureAt([ours, peer], rate, `at_${delayMs}_ms_and_${rate}_per_s`, seconds, rounds, runs);
    }
  }
  runs.push(...(await peaks(ours)));
  return runs;
}

async function measureAt(
  pairs: readonly Pair[],
  rate: number,
  where: string,
  seconds: number,
  rounds: number,
  runs: Measured[],
): Promise<void> {
  // The first round warms up.
  for (let round = 0; round <= rounds; round += 1) {
    for (const pair of pairs) {
      await untilThere(pair);
      const { lags, perSecond } = await measure(pair, rate, round === 0 ? WARM_UP_SECONDS : seconds, round);
      if (round === 0) continue;
      const add = (metric: string, value: number): void => {
        runs.push({ side: pair.side, metric: `${metric}_${where}`, value });
      };
      add('lag_p50_ms', quantile(lags, 0.5));
      add('lag_p95_ms', quantile(lags, 0.95));
      add('lag_p99_ms', quantile(lags, 0.99));
      add('lag_max_ms', quantile(lags, 1));
      if (rate > 0) add('transactions_per_s', perSecond);
    }
  }
}

/** Lags in ascending order, and what the load's users reached. */
async function measure(
  pair: Pair,
  rate: number,
  seconds: number,
  seed: number,
): Promise<{ lags: number[]; perSecond: number }> {
  const load =
    rate === 0
      ? null
      : await startLoad({
          url: pair.sourceUrl,
          clients: CLIENTS,
          seconds: seconds + 2 * LOAD_AROUND_SECONDS,
          seed,
          rate,
          tpcb: null,
        });
  if (load !== null) await delay(LOAD_AROUND_SECONDS * 1_000);
  const lags = await beat(pair, seconds);
  const figures = await load?.done;
  if (figures !== undefined && Object.keys(figures.failures).length > 0) {
    throw new Error(`transactions of users failed: ${JSON.stringify(figures.failures)}`);
  }
  return { lags, perSecond: figures === undefined ? 0 : figures.transactions / figures.seconds };
}

/** Writes rows for so long, and sees all of them arrive. */
async function beat({ source, target }: Pair, seconds: number): Promise<number[]> {
  const before = await newest(source);
  const committedMs: number[] = [];
  const lags: number[] = [];
  const count = Math.floor((seconds * 1_000) / EVERY_MS);
  const startedMs = performance.now();
  const write = async (): Promise<void> => {
    for (let n = 0; n < count; n += 1) {
      const earlyMs = startedMs + n * EVERY_MS - performance.now();
      if (earlyMs > 0) await delay(earlyMs);
      await source.query('insert into public.heartbeat values ($1)', [String(before + n + 1)], { prepare: true });
      committedMs.push(performance.now());
    }
  };
  const watch = async (): Promise<void> => {
    const limitMs = startedMs + seconds * 1_000 + ARRIVAL_LIMIT_MS;
    for (let seen = 0; seen < count; ) {
      const visible = (await newest(target)) - before;
      const nowMs = performance.now();
      // A row can be visible there before its own client has read the answer to its COMMIT.
      for (const end = Math.min(visible, committedMs.length); seen < end; seen += 1) {
        lags.push(nowMs - (committedMs[seen] ?? nowMs));
      }
      if (nowMs > limitMs) throw new Error(`row ${seen + 1} of ${count} has not arrived`);
      await delay(POLL_MS);
    }
  };
  await Promise.all([write(), watch()]);
  return lags.sort((a, b) => a - b);
}

async function newest(region: Pair['target']): Promise<number> {
  const { rows } = await region.query('select max(n) as n from public.heartbeat', [], { prepare: true });
  return Number(rows[0]?.n ?? 0);
}
