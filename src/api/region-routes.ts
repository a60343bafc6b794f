// What other regions compare theirs with: how tables are defined here, how sequences count, and the clock of
// the database. The agent needs not be at work for it, only its database.

import type { FastifyInstance } from 'fastify';
import { portraitText, readPortrait } from '../monitor/checks/portrait.ts';
import { serverTimeMs } from '../monitor/clock-offset.ts';
import type { ApiContext } from './api-context.ts';
import { described } from './described.ts';
import { Clock, RegionPortrait } from './schemas.ts';

export function addRegionRoutes(app: FastifyInstance, { config, database }: ApiContext): void {
  const viewer = { role: 'viewer' } as const;

  app.get(
    '/region',
    {
      config: viewer,
      schema: described('Server, tables and sequences, to compare regions', { answer: RegionPortrait }),
    },
    async (_request, reply) => {
      const portrait = await readPortrait(database, config);
      return await reply.type('application/json; charset=utf-8').send(portraitText(portrait));
    },
  );

  app.get(
    '/region/clock',
    { config: viewer, schema: described("The time of the database server's clock", { answer: Clock }) },
    async () => ({ region: config.region, now_ms: await serverTimeMs(database) }),
  );
}
