/** Carries out what a plan says: each fault begins, lasts for so many commits, and is over when `strike` resolves. */
import { sqlStateOf } from '../../src/platform/errors.ts';
import { setLink } from '../support/agent-client.ts';
import type { Cluster, ClusterRegion } from '../support/cluster.ts';
import { isLoss, type Journal } from '../support/journal.ts';
import { pauseServer } from '../support/paused-server.ts';
import type { ProxiedKafka } from '../support/proxied-kafka.ts';
import type { SmallDisk } from '../support/small-disk.ts';
import type { TcpProxy } from '../support/tcp-proxy.ts';
import { waitFor } from '../support/wait-for.ts';
import type { Fault } from './chaos-plan.ts';

const SLOW_MS = [20, 80, 300];
const CLOCK_STEPS_SECONDS = [-3, -0.5, -0.05, 0.05, 0.5, 3];
/** Items that long transactions remove, of those that all clients change. */
const LONG_ITEMS = 5;
const BULK_ROWS = 20_000;
const BULK_LOADS_KEPT = 2;
const LINK_LIMIT_MS = 120_000;
/** One pause in so many is this many times as long, which makes it one of seconds. */
const LONG_PAUSE_OF = 2;
const LONG_PAUSE_TIMES = 6;

export type Struck = {
  readonly cluster: Cluster;
  readonly journal: Journal;
  /** Of the transactions that write `deltas`. */
  readonly deltas: Journal;
  readonly logDisk: SmallDisk | null;
  readonly kafka: ProxiedKafka | null;
};

export async function strike(fault: Fault, struck: Struck): Promise<void> {
  const { cluster, journal, deltas, logDisk, kafka } = struck;
  const region = cluster.region(fault.region);
  const lasts = async (): Promise<void> => await journal.moreAcknowledged(fault.commits);
  const isLong = fault.dice % LONG_PAUSE_OF === 0;
  const pauseLasts = async (): Promise<void> =>
    await journal.moreAcknowledged(fault.commits * (isLong ? LONG_PAUSE_TIMES : 1));
  switch (fault.kind) {
    case 'agent-killed':
      await region.killAgent();
      await lasts();
      region.startAgent();
      return;
    case 'server-killed':
      await region.server.kill9();
      await lasts();
      return await region.server.restart();
    case 'both-killed':
      await region.server.kill9();
      await region.killAgent();
      await lasts();
      await region.server.restart();
      region.startAgent();
      return;
    case 'server-stopped-immediately':
      await region.server.stop('immediate');
      await lasts();
      return await region.server.restart();
    case 'agent-paused':
      region.agent?.kill('SIGSTOP');
      await pauseLasts();
      region.agent?.kill('SIGCONT');
      return;
    case 'server-paused': {
      const resume = await pauseServer(region.server);
      await pauseLasts();
      return resume();
    }
    case 'backends-terminated':
      return await withoutLoss(async () => {
        await region.sql(`select pg_terminate_backend(pid) from pg_stat_activity
          where application_name like 'syncline/%' and pid <> pg_backend_pid()`);
      });
    case 'network-cut':
    case 'network-silent':
    case 'network-refused':
    case 'network-slow':
      return await strikeNetwork(fault, fault.kind, proxyOf(region), lasts);
    case 'link-paused':
      await untilLink(fault, region, 'paused');
      await lasts();
      return await untilLink(fault, region, 'active');
    case 'row-held':
      return await holding(region, 'select from contended where id = 1 for update', lasts);
    case 'long-transaction':
      return await transactLong(region, deltas, fault, lasts);
    case 'table-locked':
      return await holding(region, 'lock table items in access exclusive mode', lasts);
    case 'table-rewritten':
      return await withoutLoss(async () => {
        await region.sql('vacuum (full, freeze) contended');
        await region.sql('vacuum (full, freeze) handles');
      });
    case 'bulk-load':
      return await withoutLoss(async () => await loadBulk(region, fault.dice));
    case 'clock-stepped':
      await region.clock?.set(pick(CLOCK_STEPS_SECONDS, fault));
      return await lasts();
    case 'log-disk-full':
      await logDisk?.fill();
      await lasts();
      return await logDisk?.clear();
    case 'broker-killed':
      await kafka?.broker.kill();
      await lasts();
      return await kafka?.broker.restart();
    case 'broker-paused':
      kafka?.broker.pause();
      await pauseLasts();
      return kafka?.broker.resume();
    case 'log-network-cut':
    case 'log-network-silent':
    case 'log-network-refused':
    case 'log-network-slow':
      if (kafka === null) return;
      return await strikeNetwork(fault, OF_LOG_NETWORK[fault.kind], kafka.proxyOf(region.name), lasts);
  }
}

type NetworkKind = 'network-cut' | 'network-silent' | 'network-refused' | 'network-slow';

const OF_LOG_NETWORK = {
  'log-network-cut': 'network-cut',
  'log-network-silent': 'network-silent',
  'log-network-refused': 'network-refused',
  'log-network-slow': 'network-slow',
} as const;

/** Between an agent and its database, or its log. */
async function strikeNetwork(
  fault: Fault,
  kind: NetworkKind,
  proxy: TcpProxy,
  lasts: () => Promise<void>,
): Promise<void> {
  switch (kind) {
    case 'network-cut':
      return proxy.cut();
    case 'network-silent':
      proxy.blackHole();
      await lasts();
      return await proxy.heal();
    case 'network-refused':
      await proxy.refuse();
      await lasts();
      return await proxy.heal();
    case 'network-slow':
      proxy.latencyMs = pick(SLOW_MS, fault);
      await lasts();
      proxy.latencyMs = 0;
  }
}

function proxyOf({ name, proxy }: ClusterRegion): TcpProxy {
  if (proxy === null) throw new Error(`the agent of ${name} has no proxy before its database`);
  return proxy;
}

const pick = (choices: readonly number[], { dice }: Fault): number => choices[dice % choices.length] ?? 0;

/** An operator asks again until the agent answers: it may be gone itself. */
async function untilLink({ peer }: Fault, region: ClusterRegion, status: 'paused' | 'active'): Promise<void> {
  const asked = async (): Promise<boolean> => {
    await setLink(peer, region, status);
    return true;
  };
  await waitFor(asked, { what: `${peer}:${region.name} to be ${status}`, limitMs: LINK_LIMIT_MS });
}

/** A client that takes a lock and keeps it, and then undoes it all. */
async function holding(region: ClusterRegion, statement: string, lasts: () => Promise<void>): Promise<void> {
  const session = await region.session().catch(() => null);
  try {
    await session?.query('begin');
    await session?.query(statement);
    await lasts();
    await session?.query('rollback');
  } catch (error) {
    if (!isLossOf(error)) throw error;
  } finally {
    session?.destroy();
  }
}

/**
 * A transaction that writes at once and commits at last: whatever others do meanwhile is later in time, and earlier in the WAL.
 * Its snapshot, its locks and its age are there for as long.
 */
async function transactLong(
  region: ClusterRegion,
  deltas: Journal,
  { dice }: Fault,
  lasts: () => Promise<void>,
): Promise<void> {
  const session = await region.session().catch(() => null);
  if (session === null) return;
  longTransactions += 1;
  const attempt = deltas.begin(`long ${region.name} ${longTransactions}`, region.name);
  try {
    await session.query('begin isolation level repeatable read');
    await session.query('insert into deltas (token) values ($1)', [attempt.token]);
    await session.query('delete from items where id = $1', [String(1 + (dice % LONG_ITEMS))]);
    await lasts();
    attempt.outcome = 'unknown';
    await session.commit();
    deltas.acknowledge(attempt);
  } catch (error) {
    // It may also be refused, for what others have written since it began.
    if (!isLossOf(error) && sqlStateOf(error) !== '40001') throw error;
  } finally {
    session.destroy();
  }
}

let longTransactions = 0;

/** Many rows in one transaction; loads of before go, so that tables stay small. */
async function loadBulk(region: ClusterRegion, dice: number): Promise<void> {
  await using session = await region.session();
  await session.query(
    `insert into bulk select $1, i, repeat(md5(i::text), 1 + i % 5) from generate_series(1, ${BULK_ROWS}) as i
     on conflict (load, id) do update set filler = excluded.filler`,
    [`${region.name}${dice % (BULK_LOADS_KEPT + 1)}`],
  );
  await session.query('delete from bulk where load = $1', [`${region.name}${(dice + 1) % (BULK_LOADS_KEPT + 1)}`]);
}

/** The server may go down meanwhile, by another fault of the round. */
async function withoutLoss(work: () => Promise<void>): Promise<void> {
  await work().catch((error: unknown) => {
    if (!isLossOf(error)) throw error;
  });
}

const isLossOf = (error: unknown): boolean => error instanceof Error && 'code' in error && isLoss(String(error.code));
