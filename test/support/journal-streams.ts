/**
 * Follows the streams of a cluster beside its agents and keeps what went past: what was published, once or twice, and
 * where the streams end. It reads on while agents run, because what all of them have acknowledged is trimmed.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { TransactionReader } from '../../src/log/transaction-reader.ts';
import { loadConfig } from '../../src/platform/config.ts';
import { isInfrastructure } from '../../src/platform/errors.ts';
import { RegionLogs } from '../../src/region-logs.ts';
import type { Cluster } from './cluster.ts';
import { waitFor } from './wait-for.ts';

const WAIT_MS = 100;
const REST_LIMIT_MS = 120_000;

type Followed = {
  readonly reader: TransactionReader;
  /** By position, the event_id that a mark at it has. */
  readonly items: Map<string, string>;
  /** Positions of transactions, in the order of the stream. */
  readonly transactions: string[];
  /** By the ledger's token, how often it was published. */
  readonly tokens: Map<string, number>;
};

export class StreamFollower implements AsyncDisposable {
  readonly #log: RegionLogs;
  readonly #followed: ReadonlyMap<string, Followed>;
  readonly #stop = new AbortController();
  readonly #following: Promise<void>;

  private constructor(log: RegionLogs, followed: ReadonlyMap<string, Followed>) {
    this.#log = log;
    this.#followed = followed;
    this.#following = Promise.all([...followed.values()].map(async (each) => await this.#follow(each))).then(
      () => undefined,
    );
    // A failure is told by `end`.
    this.#following.catch(() => undefined);
  }

  static async start(cluster: Cluster): Promise<StreamFollower> {
    const [first] = cluster.regions;
    if (first === undefined) throw new Error('a cluster has regions');
    const log = await RegionLogs.open(await loadConfig(first.configPath), () => undefined);
    const followed = new Map<string, Followed>();
    for (const { name } of cluster.regions) {
      const stream = await log.of(name).reader(name);
      // A stream may begin above 0: what every region applied before the load is trimmed.
      const reader = new TransactionReader(stream, (await stream.bounds())?.first ?? 0);
      followed.set(name, { reader, items: new Map(), transactions: [], tokens: new Map() });
    }
    return new StreamFollower(log, followed);
  }

  /** Reads to the end of the streams, which nobody writes any more, and tells what is wrong with them. */
  async end(cluster: Cluster): Promise<string[]> {
    this.#stop.abort();
    await this.#following;
    const problems: string[] = [];
    for (const [origin, followed] of this.#followed) {
      await takeRest(cluster, origin, followed);
      const { transactions, tokens } = followed;
      for (const [place, position] of transactions.entries()) {
        const before = transactions[place - 1];
        if (before !== undefined && before >= position) problems.push(`${origin}: ${position} stands behind ${before}`);
      }
      for (const [token, count] of tokens) if (count > 1) problems.push(`${token} was published ${count} times`);
      problems.push(...(await this.#checkMarks(cluster, origin, followed)));
    }
    const published = [...this.#followed.values()].reduce((sum, { tokens }) => sum + tokens.size, 0);
    const rows = await cluster.equal('select count(*) from ledger');
    if (rows[0]?.[0] !== String(published)) problems.push(`${published} published, and ${rows[0]?.[0]} in the ledger`);
    return problems;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#following.catch(() => undefined);
    await this.#log[Symbol.asyncDispose]();
  }

  /** Every region's mark is a place of the stream, at or behind its last transaction. */
  async #checkMarks(cluster: Cluster, origin: string, { items, transactions }: Followed): Promise<string[]> {
    const problems: string[] = [];
    const last = transactions.at(-1) ?? '';
    for (const region of cluster.regions) {
      const [mark] = await region.sql(`select position, event_id from syncline.applied where origin = '${origin}'`);
      const [position, event_id] = mark ?? [];
      if (position == null || position < last) problems.push(`${region.name} has ${origin} up to ${position}: ${last}`);
      else if (items.get(position) !== event_id) problems.push(`${region.name}: ${position} of ${origin} is no event`);
    }
    return problems;
  }

  async #follow(followed: Followed): Promise<void> {
    while (!this.#stop.signal.aborted) {
      try {
        if (await followed.reader.fill(WAIT_MS, this.#stop.signal)) take(followed);
      } catch (error) {
        // The log may be away, as planned.
        if (!isInfrastructure(error)) throw error;
        await delay(WAIT_MS);
      }
    }
  }
}

/**
 * Reads on until all that is applied has passed. A log that brings records over a network says for a moment that there are none,
 * and what stands at its very end may be what a zombie left unfinished.
 */
async function takeRest(cluster: Cluster, origin: string, followed: Followed): Promise<void> {
  const applied = await Promise.all(
    cluster.regions.map(
      async (region) => await region.one(`select position from syncline.applied where origin = '${origin}'`),
    ),
  );
  await waitFor(
    async () => {
      while (await followed.reader.fill(WAIT_MS)) take(followed);
      return applied.every((position) => position === null || followed.items.has(position));
    },
    { what: `the stream of ${origin} to be read up to ${applied.join(', ')}`, limitMs: REST_LIMIT_MS },
  );
}

function take({ reader, items, transactions, tokens }: Followed): void {
  const item = reader.shift();
  if (item.kind === 'heartbeat') items.set(item.heartbeat.position, item.heartbeat.event_id);
  if (item.kind !== 'transaction') return;
  items.set(item.position, item.events.at(-1)?.event_id ?? '');
  transactions.push(item.position);
  for (const { table_name, after_image } of item.events) {
    if (table_name !== 'ledger') continue;
    const token = `${after_image?.token} ${after_image?.row_id}`;
    tokens.set(token, (tokens.get(token) ?? 0) + 1);
  }
}
