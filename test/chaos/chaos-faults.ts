/** Carries out what a plan says: each fault begins, lasts for so many commits, and is over when `strike` resolves. */
import { setLink } from '../support/agent-client.ts';
import type { Cluster, ClusterRegion } from '../support/cluster.ts';
import { isLoss, type Journal } from '../support/journal.ts';
import type { SmallDisk } from '../support/small-disk.ts';
import type { TcpProxy } from '../support/tcp-proxy.ts';
import { waitFor } from '../support/wait-for.ts';
import type { Fault } from './chaos-plan.ts';

const SLOW_MS = [20, 80, 300];
const CLOCK_STEPS_SECONDS = [-3, -0.5, -0.05, 0.05, 0.5, 3];
const BULK_ROWS = 20_000;
const BULK_LOADS_KEPT = 2;
const LINK_LIMIT_MS = 120_000;

export type Broker = { kill(): Promise<void>; restart(): Promise<void> };

export type Struck = {
  readonly cluster: Cluster;
  readonly journal: Journal;
  readonly logDisk: SmallDisk | null;
  readonly broker: Broker | null;
};

export async function strike(fault: Fault, struck: Struck): Promise<void> {
  const { cluster, journal, logDisk, broker } = struck;
  const region = cluster.region(fault.region);
  const lasts = async (): Promise<void> => await journal.moreAcknowledged(fault.commits);
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
      await lasts();
      region.agent?.kill('SIGCONT');
      return;
    case 'backends-terminated':
      return await withoutLoss(async () => {
        await region.sql(`select pg_terminate_backend(pid) from pg_stat_activity
          where application_name like 'syncline/%' and pid <> pg_backend_pid()`);
      });
    case 'network-cut':
      return proxyOf(region).cut();
    case 'network-silent':
      proxyOf(region).blackHole();
      await lasts();
      return await proxyOf(region).heal();
    case 'network-refused':
      await proxyOf(region).refuse();
      await lasts();
      return await proxyOf(region).heal();
    case 'network-slow':
      proxyOf(region).latencyMs = pick(SLOW_MS, fault);
      await lasts();
      proxyOf(region).latencyMs = 0;
      return;
    case 'link-paused':
      await untilLink(fault, region, 'paused');
      await lasts();
      return await untilLink(fault, region, 'active');
    case 'row-held':
      return await holding(region, 'select from contended where id = 1 for update', lasts);
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
      await broker?.kill();
      await lasts();
      return await broker?.restart();
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
