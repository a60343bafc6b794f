/** Carries out what a plan says: each fault begins, lasts for so many commits, and is over when `strike` resolves. */
import { sqlStateOf } from '../../src/platform/errors.ts';
import { agentStatus, linkFrom, setLink } from '../support/agent-client.ts';
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

/** Resolves once it is over, with what was seen of it: a fault that did nothing shows. */
export async function strike(fault: Fault, struck: Struck): Promise<string> {
  const { cluster, journal, deltas, logDisk, kafka } = struck;
  const region = cluster.region(fault.region);
  const lasts = async (): Promise<void> => await journal.moreAcknowledged(fault.commits);
  const isLong = fault.dice % LONG_PAUSE_OF === 0;
  const pauseLasts = async (): Promise<void> =>
    await journal.moreAcknowledged(fault.commits * (isLong ? LONG_PAUSE_TIMES : 1));
  switch (fault.kind) {
    case 'agent-killed':
      return await withoutAgent(region, lasts);
    case 'server-killed':
      return await withoutServer(region, async () => await region.server.kill9(), lasts);
    case 'server-stopped-immediately':
      return await withoutServer(region, async () => await region.server.stop('immediate'), lasts);
    case 'both-killed': {
      const kill = async (): Promise<void> => {
        await region.server.kill9();
        await region.killAgent();
      };
      const seen = await withoutServer(region, kill, lasts);
      region.startAgent();
      return seen;
    }
    case 'agent-paused':
      region.agent?.kill('SIGSTOP');
      await pauseLasts();
      region.agent?.kill('SIGCONT');
      return `process ${region.agent?.pid}`;
    case 'server-paused': {
      const { processes, resume } = await pauseServer(region.server);
      await pauseLasts();
      resume();
      return `${processes} processes`;
    }
    case 'backends-terminated':
      return await withoutLoss(async () => {
        const ended = await region.sql(`select pg_terminate_backend(pid) from pg_stat_activity
          where application_name like 'syncline/%' and pid <> pg_backend_pid()`);
        return `${ended.length} backends`;
      });
    case 'network-cut':
    case 'network-silent':
    case 'network-refused':
    case 'network-slow':
      return await strikeNetwork(fault, fault.kind, proxyOf(region), lasts);
    case 'link-paused': {
      await untilLink(fault, region, 'paused');
      await lasts();
      const waiting = await linkFrom(fault.peer, region).then(({ events_waiting }) => events_waiting, nothing);
      await untilLink(fault, region, 'active');
      return `${waiting ?? 'unknown'} events waited`;
    }
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
        return 'two tables';
      });
    case 'bulk-load':
      return await withoutLoss(async () => await loadBulk(region, fault.dice));
    case 'clock-stepped': {
      await region.clock?.set(pick(CLOCK_STEPS_SECONDS, fault));
      await lasts();
      const now = await region.one('select extract(epoch from clock_timestamp())').catch(nothing);
      return now === undefined ? 'unknown' : `the clock is off by ${(Number(now) - Date.now() / 1_000).toFixed(2)} s`;
    }
    case 'log-disk-full':
      await logDisk?.fill();
      await lasts();
      return await told(cluster, async () => await logDisk?.clear());
    case 'broker-killed':
      await kafka?.broker.kill();
      await lasts();
      return await told(cluster, async () => await kafka?.broker.restart());
    case 'broker-paused':
      kafka?.broker.pause();
      await pauseLasts();
      return await told(cluster, async () => kafka?.broker.resume());
    case 'log-network-cut':
    case 'log-network-silent':
    case 'log-network-refused':
    case 'log-network-slow':
      if (kafka === null) throw new Error('only a broker is reached through a network');
      return await strikeNetwork(fault, OF_LOG_NETWORK[fault.kind], kafka.proxyOf(region.name), lasts);
  }
}

const nothing = (): undefined => undefined;

async function withoutAgent(region: ClusterRegion, lasts: () => Promise<void>): Promise<string> {
  const pid = region.agent?.pid;
  await region.killAgent();
  await lasts();
  region.startAgent();
  return `process ${pid}`;
}

async function withoutServer(
  { server }: ClusterRegion,
  kill: () => Promise<void>,
  lasts: () => Promise<void>,
): Promise<string> {
  const { pid } = server;
  await kill();
  await lasts();
  await server.restart();
  return `process ${pid}`;
}

/** Ends a fault of the log, and tells what agents said of it until then. */
async function told({ regions }: Cluster, end: () => Promise<void>): Promise<string> {
  const statuses = await Promise.all(regions.map(async (region) => await agentStatus(region).catch(nothing)));
  await end();
  const codes = statuses.flatMap((status) => status?.problems.map(({ code }) => code) ?? ['no status']);
  return `agents tell of ${[...new Set(codes)].sort().join(', ') || 'nothing'}`;
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
): Promise<string> {
  const seen = `${proxy.connections} connections`;
  switch (kind) {
    case 'network-cut':
      proxy.cut();
      return seen;
    case 'network-silent':
      proxy.blackHole();
      await lasts();
      await proxy.heal();
      return seen;
    case 'network-refused':
      await proxy.refuse();
      await lasts();
      await proxy.heal();
      return seen;
    case 'network-slow':
      proxy.latencyMs = pick(SLOW_MS, fault);
      await lasts();
      proxy.latencyMs = 0;
      return `${seen}, by ${pick(SLOW_MS, fault)} ms`;
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
async function holding(region: ClusterRegion, statement: string, lasts: () => Promise<void>): Promise<string> {
  return await withoutLoss(async () => {
    const session = await region.session();
    try {
      await session.query('begin');
      await session.query(statement);
      await lasts();
      await session.query('rollback');
      return 'held';
    } finally {
      session.destroy();
    }
  });
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
): Promise<string> {
  return await withoutLoss(async () => {
    const session = await region.session();
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
      return 'committed';
    } catch (error) {
      // For what others have written since it began.
      if (sqlStateOf(error) === '40001') return 'refused';
      throw error;
    } finally {
      session.destroy();
    }
  });
}

let longTransactions = 0;

/** Many rows in one transaction; loads of before go, so that tables stay small. */
async function loadBulk(region: ClusterRegion, dice: number): Promise<string> {
  await using session = await region.session();
  await session.query(
    `insert into bulk select $1, i, repeat(md5(i::text), 1 + i % 5) from generate_series(1, ${BULK_ROWS}) as i
     on conflict (load, id) do update set filler = excluded.filler`,
    [`${region.name}${dice % (BULK_LOADS_KEPT + 1)}`],
  );
  await session.query('delete from bulk where load = $1', [`${region.name}${(dice + 1) % (BULK_LOADS_KEPT + 1)}`]);
  return `${BULK_ROWS} rows`;
}

/** The server may go down meanwhile, by another fault of the round, or not be up yet. */
async function withoutLoss(work: () => Promise<string>): Promise<string> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Error && 'code' in error && isLoss(String(error.code))) return `lost to ${error.code}`;
    throw error;
  }
}
