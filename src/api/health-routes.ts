// How the region is: for people, for Prometheus, and for whoever decides whether to send traffic here.
// Probes carry no tokens, so /healthz and /readyz tell nothing that needs one.

import type { FastifyInstance } from 'fastify';
import type { AgentStatus } from '../monitor/agent-status.ts';
import { LAG_WINDOW_MS } from '../monitor/lag-window.ts';
import { fail } from '../platform/errors.ts';
import type { ApiContext } from './api-context.ts';
import { described } from './described.ts';
import { Health, LagPage, Status } from './schemas.ts';

export function addHealthRoutes(app: FastifyInstance, { config, agent }: ApiContext): void {
  const { region } = config;
  const viewer = { role: 'viewer' } as const;

  app.get('/healthz', { schema: described('Whether the process lives', { answer: Health }) }, async () => {
    return { status: 'ok', region };
  });

  app.get(
    '/readyz',
    { schema: described('Whether every stream of the region is captured and applied', { answer: Health }) },
    async () => {
      const status = agent().status();
      if (status.ready) return { status: 'ready', region };
      const reasons = reasonsOf(status);
      throw fail('SYN-T011', reasons.join('; '), { context: { reasons } });
    },
  );

  app.get(
    '/status',
    { config: viewer, schema: described('Everything that the agent can tell of itself', { answer: Status }) },
    async () => agent().status(),
  );

  app.get(
    '/lag',
    { config: viewer, schema: described('How far each link is behind', { answer: LagPage }) },
    async () => {
      const items = agent()
        .status()
        .links.map((link) => ({
          link_id: link.link_id,
          source_region: link.source_region,
          target_region: link.target_region,
          status: link.status,
          lag_ms: link.lag_ms,
          lag_p50_ms: link.lag_p50_ms,
          lag_p99_ms: link.lag_p99_ms,
          window_ms: LAG_WINDOW_MS,
          lag_slo_ms: link.lag_slo_ms,
          clock_drift_ms: link.clock_drift_ms,
          clock_drift_error_ms: link.clock_drift_error_ms,
          events_waiting: link.events_waiting,
          last_acked_event_id: link.last_acked_event_id,
          last_heard_at: link.last_heard_at,
        }));
      return { items, next_cursor: null };
    },
  );

  let metrics: Promise<import('../monitor/metrics.ts').Metrics> | undefined;
  app.get('/metrics', { config: viewer, schema: { summary: 'Prometheus metrics' } }, async (_request, reply) => {
    const status = agent().status();
    metrics ??= import('../monitor/metrics.ts').then(({ Metrics }) => new Metrics(region));
    const { contentType } = await metrics;
    return await reply.type(contentType).send(await (await metrics).render(status));
  });

  app.get('/openapi.json', { schema: { hide: true } }, async () => app.swagger());
}

/** Without details, which may name tables: those are for callers with a token. */
function reasonsOf({ capture, apply, links }: AgentStatus): string[] {
  const reasons: string[] = [];
  const because = (problem: { readonly code: string } | null): string => (problem === null ? '' : ` (${problem.code})`);
  if (capture.state !== 'streaming') reasons.push(`capture is ${capture.state}${because(capture.problem)}`);
  else if (capture.problem !== null) reasons.push(`capture is held up${because(capture.problem)}`);
  if (apply.state !== 'running') reasons.push(`apply is ${apply.state}${because(apply.problem)}`);
  for (const { link_id, status, reason } of links) {
    if (status === 'degraded') reasons.push(`link ${link_id} is degraded${because(reason)}`);
  }
  return reasons.length === 0 ? ['a stream is not captured or applied yet'] : reasons;
}
