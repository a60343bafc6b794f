/**
 * How long a write takes from its local commit until it is visible in another region, with streams in the embedded log and
 * in Kafka, side by side.
 *
 * Each side has two regions of its own, with real servers and real agents, and for Kafka a broker for each region; all are up
 * all the time and the sides take turns. Clients insert single rows, each in a transaction of its own, at a fixed rate: when a row is due
 * does not depend on how long the one before it took. A row's clock starts when its COMMIT is answered, and stops with the
 * first answer of the other region that shows it; that one is asked all the time, and all clocks are those of this process.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { PostgresClient } from '../src/platform/postgres.ts';
import { type KafkaBroker, startKafka } from '../src/platform/servers/embedded-kafka.ts';
import { Cluster } from '../test/support/cluster.ts';
import type { Measured } from './measured.ts';
import { quantile } from './quantile.ts';

const RATES = [500, 2_000];
const CLIENTS = 16;
const POLL_MS = 1;
const WARM_UP_SECONDS = 3;
const ARRIVAL_LIMIT_MS = 60_000;
const SCHEMA = 'create table item (client int, n bigint, note text, primary key (client, n))';

export async function measureLag(seconds: number, rounds: number): Promise<Measured[]> {
  await using stack = new AsyncDisposableStack();
  const brokers: Record<string, KafkaBroker> = {};
  for (const region of ['eu', 'us']) brokers[region] = stack.use(await startKafka({ isLongLived: true }));
  const logs = Object.fromEntries(
    Object.entries(brokers).map(([region, broker]) => [region, `{ type: kafka, brokers: ["${broker.brokers[0]}"] }`]),
  );
  const start = async (options: object): Promise<Side> =>
    stack.use(await Side.start(await Cluster.start({ regions: ['eu', 'us'], schema: SCHEMA, ...options })));
  const sides = { embedded: await start({}), kafka: await start({ logs }) };
  const runs: Measured[] = [];
  for (const rate of RATES) {
    // The first round warms up.
    for (let round = 0; round <= rounds; round += 1) {
      for (const [side, place] of Object.entries(sides)) {
        const { lags, perSecond } = await place.measure(rate, round === 0 ? WARM_UP_SECONDS : seconds);
        if (round === 0) continue;
        const add = (metric: string, value: number): void => {
          runs.push({ side, metric: `${metric}_at_${rate}_per_s`, value });
        };
        add('lag_p50_ms', quantile(lags, 0.5));
        add('lag_p99_ms', quantile(lags, 0.99));
        add('transactions_per_s', perSecond);
      }
    }
  }
  return runs;
}

/** When the rows of one client were committed, by their number; those that have arrived are at the front. */
type Client = { readonly committedMs: number[]; arrived: number };

class Side implements AsyncDisposable {
  readonly #cluster: Cluster;
  readonly #writers: readonly PostgresClient[];
  readonly #watcher: PostgresClient;
  readonly #clients: readonly Client[] = Array.from({ length: CLIENTS }, () => ({ committedMs: [], arrived: 0 }));

  private constructor(cluster: Cluster, writers: readonly PostgresClient[], watcher: PostgresClient) {
    this.#cluster = cluster;
    this.#writers = writers;
    this.#watcher = watcher;
  }

  static async start(cluster: Cluster): Promise<Side> {
    const eu = cluster.region('eu');
    const writers = await Promise.all(Array.from({ length: CLIENTS }, async () => await eu.session()));
    return new Side(cluster, writers, await cluster.region('us').session());
  }

  /** The lag of each row in ascending order, and how many were committed in a second. */
  async measure(rate: number, seconds: number): Promise<{ lags: number[]; perSecond: number }> {
    const startedMs = performance.now();
    const first = this.#clients.map(({ committedMs }) => committedMs.length);
    const writing = Promise.all(
      this.#writers.map(async (writer, place) => await this.#write(writer, place, rate, seconds, startedMs)),
    );
    let isDone = false;
    const done = writing.then(() => {
      isDone = true;
      return performance.now();
    });
    done.catch(() => undefined); // It is awaited below.
    const lags: number[] = [];
    let limitMs = Number.POSITIVE_INFINITY;
    while (!(isDone && this.#clients.every(({ committedMs, arrived }) => arrived === committedMs.length))) {
      await this.#look(lags);
      if (isDone) limitMs = Math.min(limitMs, performance.now() + ARRIVAL_LIMIT_MS);
      if (performance.now() > limitMs) throw new Error('not all rows have arrived');
      await delay(POLL_MS);
    }
    const tookMs = (await done) - startedMs;
    const rows = this.#clients.reduce(
      (sum, { committedMs }, place) => sum + committedMs.length - (first[place] ?? 0),
      0,
    );
    return { lags: lags.sort((a, b) => a - b), perSecond: (rows * 1_000) / tookMs };
  }

  async #write(writer: PostgresClient, place: number, rate: number, seconds: number, startedMs: number): Promise<void> {
    const client = this.#clients[place];
    const everyMs = (1_000 * CLIENTS) / rate;
    const insert = `insert into item values (${place}, $1, 'a row of common size, as an order or a payment has it')`;
    for (let step = 0; client !== undefined; step += 1) {
      const dueMs = startedMs + (step + place / CLIENTS) * everyMs;
      if (dueMs > startedMs + seconds * 1_000) return;
      const earlyMs = dueMs - performance.now();
      if (earlyMs > 0) await delay(earlyMs);
      await writer.query(insert, [String(client.committedMs.length)], { prepare: true });
      client.committedMs.push(performance.now());
    }
  }

  /** Notes which rows are visible by now. */
  async #look(lags: number[]): Promise<void> {
    const { rows } = await this.#watcher.queryArrays(
      `select (select max(n) from item where client = c) from generate_series(0, ${CLIENTS - 1}) c order by c`,
    );
    const nowMs = performance.now();
    for (const [place, client] of this.#clients.entries()) {
      const visible = Number(rows[place]?.[0] ?? -1) + 1;
      // A row can be visible there before its own client has read the answer to its COMMIT.
      const end = Math.min(visible, client.committedMs.length);
      for (; client.arrived < end; client.arrived += 1)
        lags.push(nowMs - (client.committedMs[client.arrived] ?? nowMs));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#watcher, ...this.#writers].map(async (session) => await session.end()));
    await this.#cluster[Symbol.asyncDispose]();
  }
}
