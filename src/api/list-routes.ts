// Conflicts and quarantine, read from the database, and what an operator does about quarantined events.

import type { FastifyInstance } from 'fastify';
import type { Static } from 'typebox';
import type { ApiContext } from './api-context.ts';
import { listConflicts } from './conflict-list.ts';
import { described } from './described.ts';
import { listQuarantine } from './quarantine-list.ts';
import {
  ConflictPage,
  ConflictParams,
  ConflictQuery,
  Discarded,
  Edit,
  Edited,
  EventIds,
  QuarantinePage,
  QuarantineQuery,
  Reapplied,
  Retried,
} from './schemas.ts';

export function addListRoutes(app: FastifyInstance, { database, agent }: ApiContext): void {
  app.get<{ Querystring: ConflictQuery }>(
    '/conflicts',
    {
      config: { role: 'viewer' },
      schema: described('The conflict log, newest first', { querystring: ConflictQuery, answer: ConflictPage }),
    },
    async (request) => await listConflicts(database, request.query),
  );

  app.post<{ Params: Static<typeof ConflictParams> }>(
    '/conflicts/:conflict_id/reapply',
    {
      config: { role: 'operator' },
      schema: described('Write the losing side again, as a new write in this region; each call is another one', {
        params: ConflictParams,
        answer: Reapplied,
      }),
    },
    async (request) => await agent().reapplyLoser(request.params.conflict_id),
  );

  app.get<{ Querystring: QuarantineQuery }>(
    '/quarantine',
    {
      config: { role: 'viewer' },
      schema: described('Events that could not be applied, and parked rows, newest first', {
        querystring: QuarantineQuery,
        answer: QuarantinePage,
      }),
    },
    async (request) => await listQuarantine(database, request.query),
  );

  app.post<{ Body: EventIds }>(
    '/quarantine/retry',
    { config: { role: 'operator' }, schema: described('Apply events again', { body: EventIds, answer: Retried }) },
    async (request) => ({ items: await agent().retryQuarantined(known(request.body)) }),
  );

  app.post<{ Body: EventIds }>(
    '/quarantine/discard',
    {
      config: { role: 'operator' },
      schema: described('Give events up for good', { body: EventIds, answer: Discarded }),
    },
    async (request) => ({ discarded: await agent().discardQuarantined(known(request.body)) }),
  );

  app.post<{ Body: Edit }>(
    '/quarantine/edit',
    {
      config: { role: 'operator' },
      schema: described('Give a parked row other values, in every region', { body: Edit, answer: Edited }),
    },
    async ({ body }) => {
      await agent().editParked(body.event_id.toLowerCase(), body.values);
      return { edited: true };
    },
  );
}

/** Ids as they are kept: in lower case. */
const known = ({ event_ids }: EventIds): string[] => event_ids.map((id) => id.toLowerCase());
