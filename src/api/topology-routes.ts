// Regions and links. A link belongs to the agent of its target: other agents say whose it is and where
// that agent listens, as far as the configuration tells.

import type { FastifyInstance } from 'fastify';
import type { Static } from 'typebox';
import { fail, SynclineError } from '../platform/errors.ts';
import type { ApiContext } from './api-context.ts';
import { described } from './described.ts';
import { Link, LinkParams, LinkPatch, Topology } from './schemas.ts';

export function addTopologyRoutes(app: FastifyInstance, { config, agent }: ApiContext): void {
  app.get(
    '/topology',
    { config: { role: 'viewer' }, schema: described('Regions, and the links that end here', { answer: Topology }) },
    async () => {
      const { region, links, capture } = agent().status();
      const self = { region_id: region, is_self: true, api: null, last_heard_at: capture.last_published_at };
      const peers = config.peers.map((peer) => ({
        region_id: peer.region,
        is_self: false,
        api: peer.api ?? null,
        last_heard_at: links.find((link) => link.source_region === peer.region)?.last_heard_at ?? null,
      }));
      return { regions: [self, ...peers], links };
    },
  );

  app.patch<{ Params: Static<typeof LinkParams>; Body: LinkPatch }>(
    '/topology/links/:link_id',
    {
      config: { role: 'operator' },
      schema: described('Pause or resume a link, or change its policy', {
        params: LinkParams,
        body: LinkPatch,
        answer: Link,
      }),
    },
    async (request) => {
      try {
        return await agent().patchLink(request.params.link_id, request.body);
      } catch (error) {
        if (!(error instanceof SynclineError) || error.code !== 'SYN-T002') throw error;
        const { owner } = error.context;
        const region = typeof owner === 'string' ? owner : (request.params.link_id.split(':')[1] ?? '');
        const api = config.peers.find((peer) => peer.region === region)?.api ?? null;
        const where = api === null ? '' : ` at ${api}`;
        throw fail('SYN-T002', `${error.detail}${where}`, { cause: error, context: { owner: { region, api } } });
      }
    },
  );
}
