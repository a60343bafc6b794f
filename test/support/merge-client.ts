/** Merge rules as an operator asks a running agent about them. */
import assert from 'node:assert/strict';
import type { MergeRegistration, MergeVersion } from '../../src/api/merge-schemas.ts';
import type { ClusterRegion } from './cluster.ts';
import { waitFor } from './wait-for.ts';

async function call<Answer>({ api }: ClusterRegion, path: string, body?: unknown): Promise<Answer> {
  const answer = await fetch(api + path, {
    ...(body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }),
    headers: body === undefined ? {} : { 'content-type': 'application/json' },
  });
  const text = await answer.text();
  assert.ok(answer.ok, `${path}: ${answer.status} ${text}`);
  return JSON.parse(text) as Answer;
}

/** Every region has to hear of it from every other. */
const LIMIT_MS = 180_000;

export async function registerMerge(region: ClusterRegion, body: MergeRegistration): Promise<MergeVersion> {
  return await call(region, '/merge-functions', body);
}

export async function promoteMerge(region: ClusterRegion, id: string, body: unknown = {}): Promise<MergeVersion> {
  return await call(region, `/merge-functions/${id}/promote`, body);
}

export async function rollbackMerge(region: ClusterRegion, id: string, body: unknown = {}): Promise<MergeVersion> {
  return await call(region, `/merge-functions/${id}/rollback`, body);
}

/** The version as that region's agent tells; undefined where it has not heard of it. */
export async function mergeIn(region: ClusterRegion, id: string): Promise<MergeVersion | undefined> {
  const { items } = await call<{ items: MergeVersion[] }>(region, '/merge-functions');
  return items.find(({ version_id }) => version_id === id);
}

/** Waits until the agents of these regions say that it is in that state. */
export async function untilMerge(
  regions: readonly ClusterRegion[],
  id: string,
  state: MergeVersion['state'],
  fits: (version: MergeVersion) => boolean = () => true,
): Promise<void> {
  for (const region of regions) {
    await waitFor(
      async () => {
        const version = await mergeIn(region, id);
        return version?.state === state && fits(version);
      },
      {
        what: () => `${id} to be ${state} in ${region.name}; its agent printed:\n${region.output.slice(-2_000)}`,
        limitMs: LIMIT_MS,
      },
    );
  }
}
