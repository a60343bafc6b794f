// How much memory agents took, at most so far, as the kernel counts it.

import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import type { ClusterRegion } from './cluster.ts';

const KILOBYTE = 1024;
const MEGABYTE = KILOBYTE * KILOBYTE;

/** The agent's highest resident size in MB; where no kernel keeps that, the present one. */
export async function peakMegabytes(region: ClusterRegion): Promise<number> {
  return await megabytesOf(region, /^VmHWM:\s+(\d+) kB$/m);
}

/** The agent's present resident size in MB. */
export async function residentMegabytes(region: ClusterRegion): Promise<number> {
  return await megabytesOf(region, /^VmRSS:\s+(\d+) kB$/m);
}

async function megabytesOf({ name, agent }: ClusterRegion, line: RegExp): Promise<number> {
  if (agent?.pid === undefined) throw new Error(`${name} has no agent`);
  const status = await readFile(`/proc/${agent.pid}/status`, 'utf8').catch(() => '');
  const told = line.exec(status)?.[1];
  const kilobytes = told ?? (await promisify(execFile)('ps', ['-o', 'rss=', '-p', String(agent.pid)])).stdout.trim();
  return (Number(kilobytes) * KILOBYTE) / MEGABYTE;
}

/** Of all agents, by region, for a diagnostic. */
export async function peaksOf(regions: readonly ClusterRegion[]): Promise<Record<string, number>> {
  const peaks = regions.map(async (region) => [region.name, Math.round(await peakMegabytes(region))] as const);
  return Object.fromEntries(await Promise.all(peaks));
}
