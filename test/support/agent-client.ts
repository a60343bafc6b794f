/** What tests ask of a running agent over its API. */
import type { AgentStatus, ReplicationLink } from '../../src/monitor/agent-status.ts';
import type { ClusterRegion } from './cluster.ts';

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

/** Pauses or resumes the link from a region, at the agent of its target. */
export async function setLink(source: string, target: ClusterRegion, status: 'paused' | 'active'): Promise<void> {
  const answer = await fetch(`${target.api}/topology/links/${source}:${target.name}`, {
    method: 'PATCH',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ status }),
  });
  if (!answer.ok) throw new Error(`${answer.status}: ${await answer.text()}`);
}
