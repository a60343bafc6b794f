/** What tests ask of a running agent over its API. */
import type { AgentStatus, ReplicationLink } from '../../src/monitor/agent-status.ts';
import type { ClusterRegion } from './cluster.ts';
import { waitFor } from './wait-for.ts';

/** The whole status, also of an agent that is not ready. */
export async function agentStatus(region: ClusterRegion): Promise<AgentStatus> {
  const answer = await fetch(`${region.api}/status`);
  const told = (await answer.json()) as AgentStatus | { readonly code: string };
  if (!('problems' in told)) throw new Error(`${region.name} answers ${answer.status}: ${JSON.stringify(told)}`);
  return told;
}

/** The link from a region, as the agent of its target tells. */
export async function linkFrom(source: string, target: ClusterRegion): Promise<ReplicationLink> {
  const link = (await agentStatus(target)).links.find(({ source_region }) => source_region === source);
  if (link === undefined) throw new Error(`${target.name} has no link from ${source}`);
  return link;
}

/**
 * What the link has acknowledged, once that is an event from that time (Unix ms) or later: the agent tells of it when it is
 * durable, which can be a moment after it is applied.
 */
export async function ackedSince(source: string, target: ClusterRegion, sinceMs: number): Promise<string> {
  const acked = async (): Promise<string> => (await linkFrom(source, target)).last_acked_event_id ?? '';
  const isSince = async (): Promise<boolean> => Number(`0x${(await acked()).replace('-', '').slice(0, 12)}`) >= sinceMs;
  await waitFor(isSince, { what: `${target.name} to acknowledge what ${source} wrote` });
  return await acked();
}

/** Pauses or resumes the link from a region, at the agent of its target. */
export async function setLink(source: string, target: ClusterRegion, status: 'paused' | 'active'): Promise<void> {
  const answer = await fetch(`${target.api}/topology/links/${source}:${target.name}`, {
    method: 'PATCH',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ status }),
  });
  if (!answer.ok) throw new Error(`${answer.status}: ${await answer.text()}`);
}
