/** The HTTP API of an agent. */
import fastify, { type FastifyInstance } from 'fastify';
import type { AgentControl } from '../monitor/agent-status.ts';
import { type Config, parseListen } from '../platform/config.ts';
import { fail } from '../platform/errors.ts';

export async function startApi(agent: AgentControl, config: Config): Promise<FastifyInstance> {
  const api = fastify();
  api.get('/healthz', async () => ({ status: 'ok' }));
  api.get('/readyz', async (_request, reply) => {
    const status = agent.status();
    return await reply.code(status.ready ? 200 : 503).send(status);
  });
  api.get('/topology', async () => {
    const { links, region } = agent.status();
    return { regions: [{ region_id: region }, ...config.peers.map((peer) => ({ region_id: peer.region }))], links };
  });
  api.patch<{ Params: { id: string }; Body: { status?: 'paused' | 'active' } }>(
    '/topology/links/:id',
    async (request) => await agent.patchLink(request.params.id, request.body),
  );
  const { host, port } = parseListen(config.api.listen);
  try {
    await api.listen({ host, port });
  } catch (cause) {
    throw fail('SYN-T006', `${host}:${port}`, { cause });
  }
  return api;
}
