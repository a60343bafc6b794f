// How much of a processor a region's agent and its sessions in the database have taken, as the kernel of Linux counts it.

import { readFile } from 'node:fs/promises';
import type { ClusterRegion } from './cluster.ts';

/** The kernel's unit of these times for programs, on every architecture that we run on. */
const TICKS_PER_SECOND = 100;

/** Seconds of each process that is at work for a region, by its pid. */
export type ProcessorTimes = ReadonlyMap<number, number>;

export async function processorTimes(region: ClusterRegion): Promise<ProcessorTimes> {
  if (region.agent?.pid === undefined) throw new Error(`${region.name} has no agent`);
  const sessions = await region.sql("select pid from pg_stat_activity where application_name like 'syncline%'");
  const pids = [region.agent.pid, ...sessions.map(([pid]) => Number(pid))];
  return new Map(await Promise.all(pids.map(async (pid) => [pid, await secondsOf(pid)] as const)));
}

/** What was taken in between; a session that ended meanwhile is left out. */
export function takenSince(before: ProcessorTimes, after: ProcessorTimes): number {
  return [...after].reduce((sum, [pid, seconds]) => sum + seconds - (before.get(pid) ?? 0), 0);
}

/** Fields of /proc/<pid>/stat: `pid (name) state …`, where the name may hold anything; user and system time are 14 and 15. */
async function secondsOf(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  const [user = 0, system = 0] = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 13)
    .map(Number);
  return (user + system) / TICKS_PER_SECOND;
}
