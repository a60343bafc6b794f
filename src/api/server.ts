/**
 * The HTTP API of an agent. Every answer is about this region; links are answered by the agent of their target, so a
 * PATCH of another's link is refused with the address of its owner.
 */
import swagger from '@fastify/swagger';
import fastify, { type FastifyInstance, type FastifyReply } from 'fastify';
import type { AgentControl, AgentStatus } from '../monitor/agent-status.ts';
import { AgentMetrics } from '../monitor/metrics.ts';
import { type Config, parseListen } from '../platform/config.ts';
import { fail, isInfrastructure, SynclineError } from '../platform/errors.ts';
import type { Logger } from '../platform/logger.ts';
import { StandingConnection } from '../platform/standing-connection.ts';
import { listConflicts, listQuarantine } from './lists.ts';
import { problemBody, statusOf } from './problem.ts';
import * as schema from './schemas.ts';
import { authorize, type Role } from './tokens.ts';

const BODY_BYTES_MAX = 256 * 1024;
const REQUEST_TIMEOUT_MS = 30_000;

/** Starts listening; SYN-T006 where the address cannot be had. */
export async function startApi(agent: AgentControl, config: Config, logger: Logger): Promise<FastifyInstance> {
  const api = fastify({
    bodyLimit: BODY_BYTES_MAX,
    requestTimeout: REQUEST_TIMEOUT_MS,
    forceCloseConnections: true,
    ajv: { customOptions: { coerceTypes: true, removeAdditional: false } },
  });
  const database = new StandingConnection(config.database, { applicationName: `syncline ${config.region} api` });
  api.addHook('onClose', async () => await database[Symbol.asyncDispose]());
  await api.register(swagger, { openapi: { info: { title: 'Syncline agent', version: '0.1.0' } } });
  handleErrors(api, config, logger);
  const needs = (role: Role) => ({
    onRequest: async (request: { headers: { authorization?: string | undefined } }): Promise<void> => {
      authorize(config.api.tokens, request.headers.authorization, role);
    },
  });

  api.get('/healthz', async () => ({ status: 'ok' }));
  api.get('/readyz', async (_request, reply) => await answerReady(agent.status(), reply));
  api.get('/openapi.json', { schema: { hide: true } }, async () => api.swagger());
  api.get('/status', needs('viewer'), async () => agent.status());
  api.get('/topology', needs('viewer'), async () => topology(agent.status(), config));
  api.get('/lag', needs('viewer'), async () => ({ items: agent.status().links.map(lagOf), next_cursor: null }));
  const metrics = new AgentMetrics(agent);
  api.get('/metrics', needs('viewer'), async (_request, reply) => {
    return await reply.type(metrics.contentType).send(await metrics.text());
  });
  api.patch<{ Params: { link_id: string }; Body: schema.LinkPatch }>(
    '/topology/links/:link_id',
    { ...needs('operator'), schema: { params: schema.LinkParams, body: schema.LinkPatch } },
    async (request) => await agent.patchLink(request.params.link_id, definedOnly(request.body)),
  );
  api.get<{ Querystring: schema.ConflictsQuery }>(
    '/conflicts',
    { ...needs('viewer'), schema: { querystring: schema.ConflictsQuery, response: { 200: schema.ConflictList } } },
    async (request) => await listConflicts(database, request.query),
  );
  api.get<{ Querystring: schema.QuarantineQuery }>(
    '/quarantine',
    { ...needs('viewer'), schema: { querystring: schema.QuarantineQuery, response: { 200: schema.QuarantineList } } },
    async (request) => await listQuarantine(database, request.query),
  );
  api.post<{ Body: schema.EventIds }>(
    '/quarantine/retry',
    { ...needs('operator'), schema: { body: schema.EventIds } },
    async (request) => ({ items: await agent.retryQuarantined(request.body.event_ids), next_cursor: null }),
  );
  api.post<{ Body: schema.EventIds }>(
    '/quarantine/discard',
    { ...needs('operator'), schema: { body: schema.EventIds } },
    async (request) => ({ discarded: await agent.discardQuarantined(request.body.event_ids) }),
  );

  const { host, port } = parseListen(config.api.listen);
  try {
    await api.listen({ host, port });
  } catch (cause) {
    await api.close();
    throw fail('SYN-T006', `the API cannot listen on ${config.api.listen}`, { cause, context: { host, port } });
  }
  return api;
}

function handleErrors(api: FastifyInstance, config: Config, logger: Logger): void {
  api.setErrorHandler(async (cause: Error & { validation?: unknown; statusCode?: number }, _request, reply) => {
    const error = toSynclineError(cause);
    const owner = config.peers.find((peer) => peer.region === error.context.owner);
    const extra = error.code === 'SYN-T002' ? { owner: error.context.owner, owner_api: owner?.api ?? null } : {};
    if (statusOf(error) >= 500) logger.error({ err: cause }, 'a request failed');
    return await reply.code(statusOf(error)).type('application/problem+json').send(problemBody(error, extra));
  });
  api.setNotFoundHandler(async (request, reply) => {
    const error = fail('SYN-T008', `there is nothing at ${request.method} ${request.url}`);
    return await reply.code(404).type('application/problem+json').send(problemBody(error));
  });
}

function toSynclineError(cause: Error & { validation?: unknown; statusCode?: number }): SynclineError {
  if (cause instanceof SynclineError) return cause;
  if (cause.validation !== undefined || (cause.statusCode ?? 500) < 500)
    return fail('SYN-T005', cause.message, { cause });
  if (isInfrastructure(cause)) return fail('SYN-P009', 'the database did not answer this request', { cause });
  return fail('SYN-T010', cause.message, { cause });
}

async function answerReady(status: AgentStatus, reply: FastifyReply): Promise<FastifyReply> {
  if (status.ready) return await reply.code(200).send({ status: 'ready', region: status.region });
  const reasons = [
    { part: 'capture', state: status.capture.state, problem: status.capture.problem },
    { part: 'apply', state: status.apply.state, problem: status.apply.problem },
  ].filter(({ state }) => state !== 'streaming' && state !== 'running');
  const first = reasons.find(({ problem }) => problem !== null)?.problem;
  const error = fail(first?.code ?? 'SYN-T011', first?.detail ?? `region ${status.region} is starting`);
  return await reply
    .code(503)
    .type('application/problem+json')
    .send({ ...problemBody(error, { reasons }), status: 503 });
}

function topology(status: AgentStatus, config: Config): unknown {
  const regions = [
    { region_id: status.region, api: null, log: config.log.type },
    ...config.peers.map((peer) => ({
      region_id: peer.region,
      api: peer.api ?? null,
      log: peer.log?.type ?? config.log.type,
    })),
  ];
  return { regions, links: status.links };
}

function lagOf(link: AgentStatus['links'][number]): unknown {
  const { link_id, source_region, target_region, status, lag_ms, lag_p50_ms, lag_p99_ms, events_waiting } = link;
  const { last_acked_event_id, updated_at } = link;
  return {
    link_id,
    source_region,
    target_region,
    status,
    lag_ms,
    lag_p50_ms,
    lag_p99_ms,
    events_waiting,
    last_acked_event_id,
    updated_at,
  };
}

/** Drops keys whose value is undefined, which the types of a patch do not know. */
function definedOnly<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, each]) => each !== undefined)) as never;
}
