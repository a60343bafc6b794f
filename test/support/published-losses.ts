/**
 * Reads the streams of a cluster along with its agents, and says which writes to one table lost to which: the definition,
 * applied to everything that was published.
 */
import type { ChangeEvent } from '../../src/change/change-event.ts';
import { TransactionReader } from '../../src/log/transaction-reader.ts';
import { loadConfig } from '../../src/platform/config.ts';
import { RegionLogs } from '../../src/region-logs.ts';
import { type Contender, lossesOf } from '../../src/resolve/losses.ts';
import type { Cluster } from './cluster.ts';

const WAIT_MS = 100;

type RowEvent = Contender & { readonly event: ChangeEvent };

export class PublishedLosses implements AsyncDisposable {
  readonly #log: RegionLogs;
  readonly #readers: ReadonlyMap<string, TransactionReader>;
  readonly #table: string;
  readonly #rows = new Map<string, RowEvent[]>();
  readonly #stop = new AbortController();
  readonly #following: Promise<unknown>;

  private constructor(log: RegionLogs, readers: ReadonlyMap<string, TransactionReader>, table: string) {
    this.#log = log;
    this.#readers = readers;
    this.#table = table;
    this.#following = Promise.all([...readers].map(async ([origin, reader]) => await this.#follow(origin, reader)));
    // A failure is told by `losses`.
    this.#following.catch(() => undefined);
  }

  static async of(cluster: Cluster, table: string): Promise<PublishedLosses> {
    const [first] = cluster.regions;
    if (first === undefined) throw new Error('a cluster has regions');
    const log = await RegionLogs.open(await loadConfig(first.configPath), () => undefined);
    const readers = new Map<string, TransactionReader>();
    for (const { name } of cluster.regions) {
      const stream = await log.of(name).reader(name);
      readers.set(name, new TransactionReader(stream, (await stream.bounds())?.first ?? 0));
    }
    return new PublishedLosses(log, readers, table);
  }

  /** Reads to the end of the streams, which nobody writes any more: per loss, the loser and the winner. */
  async losses(): Promise<{ readonly loser: ChangeEvent; readonly winner: ChangeEvent }[]> {
    this.#stop.abort();
    await this.#following;
    for (const [origin, reader] of this.#readers) while (await reader.fill(0)) this.#take(origin, reader);
    return [...this.#rows.values()].flatMap((events) =>
      lossesOf(events).map(({ loser, winner }) => ({ loser: loser.event, winner: winner.event })),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#following.catch(() => undefined);
    await this.#log[Symbol.asyncDispose]();
  }

  async #follow(origin: string, reader: TransactionReader): Promise<void> {
    while (!this.#stop.signal.aborted) if (await reader.fill(WAIT_MS)) this.#take(origin, reader);
  }

  #take(origin: string, reader: TransactionReader): void {
    const item = reader.shift();
    if (item.kind !== 'transaction') return;
    const { hlc, position, seen } = item;
    const source = { origin, hlc, position, seen };
    for (const event of item.events) {
      if (event.table_name !== this.#table) continue;
      const key = JSON.stringify(event.row_pk);
      const row = this.#rows.get(key) ?? [];
      this.#rows.set(key, row);
      row.push({ source, index: event.transaction.index, isTruncate: false, event });
    }
  }
}
