/** A region's database that comes back as an older copy of its disk. */
import { execFile } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { promisify } from 'node:util';
import type { ClusterRegion } from './cluster.ts';

const run = promisify(execFile);

/** A copy of the region's disk, taken while its server is down for a moment. */
export async function copyOf(region: ClusterRegion): Promise<string> {
  const copy = `${region.server.dataDirectory}.${copies++}`;
  await region.stopAgent();
  await region.server.stop();
  await run('cp', ['-Rp', region.server.dataDirectory, copy]);
  await region.server.restart();
  region.startAgent();
  await region.agentReady();
  return copy;
}
let copies = 0;

/** The region's disk is as the copy again. */
export async function comesBack(region: ClusterRegion, copy: string): Promise<void> {
  await region.killAgent();
  await region.server.stop('immediate');
  await placeData(copy, region);
  await region.server.restart();
}

export async function placeData(from: string, { server }: ClusterRegion): Promise<void> {
  await rm(server.dataDirectory, { recursive: true });
  await run('cp', ['-Rp', from, server.dataDirectory]);
}
