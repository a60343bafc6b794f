/**
 * Two regions that replicate both ways, once by Syncline and once by PostgreSQL's own logical replication, on servers of one
 * version with the same settings and the same data. Each side has servers of its own; the sides are measured in turn.
 *
 * PostgreSQL's side has a publication and a subscription in each database, with `origin = none`, so that neither sends back what
 * it was sent. Syncline's has an agent for each, as users run it, and the embedded log unless it is told another one. The
 * regions can be far from each other: PostgreSQL's subscriptions are made through proxies then, whose delay a benchmark sets.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { connect, type PostgresClient } from '../src/platform/postgres.ts';
import { EmbeddedPostgres } from '../src/platform/servers/embedded-postgres.ts';
import { setLink } from '../test/support/agent-client.ts';
import { peakMegabytes } from '../test/support/agent-memory.ts';
import { Cluster, type ClusterOptions, type ClusterRegion } from '../test/support/cluster.ts';
import { TcpProxy } from '../test/support/tcp-proxy.ts';
import { waitFor } from '../test/support/wait-for.ts';

export const PAIR_SETTINGS = { shared_buffers: '256MB', max_wal_size: '8GB' };
const NAME = { applicationName: 'bench', statementTimeoutMs: 1_200_000 };
const LIMIT_MS = 1_200_000;
const LOOK_MS = 5;
/** Written last in a piece of work: once it is there, all is. */
const MARKS = 'create table public.marks (n int primary key)';

export type Waits = 'in-log' | 'in-slot';

export interface Pair extends AsyncDisposable {
  readonly side: string;
  readonly sourceUrl: string;
  readonly targetUrl: string;
  readonly source: PostgresClient;
  readonly target: PostgresClient;
  /** Those with an agent of ours. */
  readonly regions: readonly ClusterRegion[];
  /** From now on the target takes nothing; what is committed at the source waits, where it is told to or where it can. */
  pause(where: Waits): Promise<void>;
  /** Returns when the next thing to do is `resume`: what is to wait in the log is there. */
  waiting(where: Waits): Promise<void>;
  resume(where: Waits): Promise<void>;
  /** The largest resident memory that a replicating process of ours has had so far, in MB; null where there is none. */
  memoryPeakMb(): Promise<number | null>;
}

let marks = 0;

/** Writes the next mark at the source; resolves with its number. */
export async function writeMark({ source }: Pick<Pair, 'source'>): Promise<number> {
  marks += 1;
  await source.query('insert into public.marks values ($1)', [String(marks)]);
  return marks;
}

export async function markSeen({ target }: Pick<Pair, 'target'>, mark: number): Promise<void> {
  for (;;) {
    const { rows } = await target.query('select from public.marks where n = $1', [String(mark)]);
    if (rows.length > 0) return;
    await delay(LOOK_MS);
  }
}

/** Milliseconds until what is written at the source by now is visible in the target. */
export async function untilThere(pair: Pair): Promise<number> {
  const startedMs = performance.now();
  await markSeen(pair, await writeMark(pair));
  return performance.now() - startedMs;
}

/** Until what is written anywhere by now is everywhere. */
export async function untilBothThere({ source, target }: Pair): Promise<void> {
  const ways = [
    { source, target },
    { source: target, target: source },
  ];
  const marks = await Promise.all(ways.map(writeMark));
  await Promise.all(ways.map(async (way, place) => await markSeen(way, marks[place] ?? 0)));
}

export type PairOptions = Pick<ClusterOptions, 'logs' | 'logOfPeer'> & { readonly side?: string };

export class SynclinePair implements Pair {
  readonly side: string;
  readonly sourceUrl: string;
  readonly targetUrl: string;
  readonly source: PostgresClient;
  readonly target: PostgresClient;
  readonly #cluster: Cluster;

  private constructor(side: string, cluster: Cluster, source: PostgresClient, target: PostgresClient) {
    this.side = side;
    this.#cluster = cluster;
    this.sourceUrl = cluster.region('eu').url;
    this.targetUrl = cluster.region('us').url;
    this.source = source;
    this.target = target;
  }

  static async start(schema: string, { side = 'syncline', ...logs }: PairOptions = {}): Promise<SynclinePair> {
    const cluster = await Cluster.start({
      regions: ['eu', 'us'],
      schema: `${MARKS}; ${schema}`,
      settings: PAIR_SETTINGS,
      ...logs,
    });
    await cluster.settle();
    const [eu, us] = [cluster.region('eu'), cluster.region('us')];
    return new SynclinePair(side, cluster, await connect(eu.url, NAME), await connect(us.url, NAME));
  }

  get regions(): readonly ClusterRegion[] {
    return this.#cluster.regions;
  }

  /** Also what is looked at once more, after all has arrived. */
  async settle(): Promise<void> {
    await this.#cluster.settle(LIMIT_MS);
  }

  async pause(where: Waits): Promise<void> {
    if (where === 'in-log') await setLink('eu', this.#cluster.region('us'), 'paused');
    else this.#signal('SIGSTOP');
  }

  async waiting(where: Waits): Promise<void> {
    if (where === 'in-slot') return;
    const { rows } = await this.source.query('select pg_current_wal_lsn() as lsn');
    // By then the source is at rest too: its own stream has come back to it.
    const sql = `
      select confirmed_flush_lsn >= $1::pg_lsn
             and ('x' || right(position, 16))::bit(64)::bigint >= $1::pg_lsn - '0/0' as has
        from pg_replication_slots, syncline.applied
       where slot_name = 'syncline_eu' and origin = 'eu'`;
    await waitFor(async () => (await this.source.query(sql, [rows[0]?.lsn ?? '0/0'])).rows[0]?.has === 't', {
      what: 'all to be in the log, and its source at rest',
      limitMs: LIMIT_MS,
    });
  }

  async resume(where: Waits): Promise<void> {
    if (where === 'in-log') await setLink('eu', this.#cluster.region('us'), 'active');
    else this.#signal('SIGCONT');
  }

  async memoryPeakMb(): Promise<number> {
    return Math.max(...(await Promise.all(this.#cluster.regions.map(peakMegabytes))));
  }

  /** Both agents, as if the machine had stood still: nobody has to start again. */
  #signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    for (const { agent } of this.#cluster.regions) agent?.kill(signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.source.end();
    await this.target.end();
    await this.#cluster[Symbol.asyncDispose]();
  }
}

export class NativePair implements Pair {
  readonly side = 'postgresql';
  readonly regions = [];
  readonly sourceUrl: string;
  readonly targetUrl: string;
  readonly source: PostgresClient;
  readonly target: PostgresClient;
  readonly #servers: readonly EmbeddedPostgres[];
  /** Before each server, for the other one. */
  readonly #proxies: readonly TcpProxy[];

  private constructor(
    servers: readonly EmbeddedPostgres[],
    proxies: readonly TcpProxy[],
    urls: readonly string[],
    source: PostgresClient,
    target: PostgresClient,
  ) {
    this.#servers = servers;
    this.#proxies = proxies;
    [this.sourceUrl = '', this.targetUrl = ''] = urls;
    this.source = source;
    this.target = target;
  }

  static async start(schema: string, { isFar = false } = {}): Promise<NativePair> {
    const servers = await Promise.all(
      [0, 1].map(() => EmbeddedPostgres.start({ version: 18, settings: PAIR_SETTINGS })),
    );
    const urls = await Promise.all(servers.map(async (server) => server.url(await server.createDatabase())));
    const [source, target] = await Promise.all(urls.map(async (url) => await connect(url, NAME)));
    if (source === undefined || target === undefined) throw new Error('a pair has two ends');
    const proxies = isFar
      ? await Promise.all(servers.map(async ({ host, port }) => TcpProxy.start({ host, port })))
      : [];
    const fromAfar = urls.map((url, place) => proxies[place]?.url(url) ?? url);
    for (const client of [source, target]) {
      await client.query(`set search_path = public, pg_catalog; ${MARKS}; ${schema}; reset search_path`);
      await client.query('create publication bench for all tables');
    }
    for (const [client, other] of [
      [source, fromAfar[1]],
      [target, fromAfar[0]],
    ] as const) {
      const name = client === source ? 'bench_back' : 'bench';
      await client.query(
        `create subscription ${name} connection '${other}' publication bench with (copy_data = false, origin = none)`,
      );
    }
    return new NativePair(servers, proxies, urls, source, target);
  }

  /** How long every byte is under way between the regions, one way. */
  set delayMs(delayMs: number) {
    for (const proxy of this.#proxies) proxy.latencyMs = delayMs;
  }

  async pause(): Promise<void> {
    await this.target.query('alter subscription bench disable');
  }

  async waiting(): Promise<void> {}

  async resume(): Promise<void> {
    await this.target.query('alter subscription bench enable');
  }

  async memoryPeakMb(): Promise<null> {
    return null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.source.end();
    await this.target.end();
    for (const proxy of this.#proxies) await proxy[Symbol.asyncDispose]();
    for (const server of this.#servers) await server.stop('immediate');
  }
}
