// Merge rules: what is registered and how far it is, and what operators want. Any region's agent takes it for all.

import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Static, TSchema } from 'typebox';
import type { RolloutStep } from '../merge/merge-registry.ts';
import { fail } from '../platform/errors.ts';
import type { ApiContext } from './api-context.ts';
import { described } from './described.ts';
import { listMerges, readMerge, readShadow } from './merge-list.ts';
import {
  MergePage,
  MergeQuery,
  MergeRegistration,
  MergeVersion,
  RollbackRequest,
  RolloutRequest,
  ShadowQuery,
  ShadowReport,
  VersionParams,
} from './merge-schemas.ts';

type Params = Static<typeof VersionParams>;

export function addMergeRoutes(app: FastifyInstance, { config, database, agent }: ApiContext): void {
  const here = { region: config.region, members: [config.region, ...config.peers.map(({ region }) => region)] };
  const operator = { role: 'operator' } as const;
  /** What an operator wants of one version. */
  const wish = (says: string, body: TSchema) => ({
    config: operator,
    preValidation: withoutBody,
    schema: described(says, { params: VersionParams, body, answer: MergeVersion }),
  });

  app.get<{ Querystring: MergeQuery }>(
    '/merge-functions',
    {
      config: { role: 'viewer' },
      schema: described('Versions of merge rules, the newest first', { querystring: MergeQuery, answer: MergePage }),
    },
    async (request) => await listMerges(database, here, request.query),
  );

  app.get<{ Params: Params }>(
    '/merge-functions/:version_id',
    {
      config: operator,
      schema: described('One version, with its source', { params: VersionParams, answer: MergeVersion }),
    },
    async (request) => await readMerge(database, here, request.params.version_id),
  );

  app.get<{ Params: Params; Querystring: ShadowQuery }>(
    '/merge-functions/:version_id/shadow',
    {
      config: operator,
      schema: described('What a version would have made of conflicts in its shadow', {
        params: VersionParams,
        querystring: ShadowQuery,
        answer: ShadowReport,
      }),
    },
    async ({ params, query }) => await readShadow(database, here.region, params.version_id, query.limit),
  );

  app.post<{ Body: MergeRegistration }>(
    '/merge-functions',
    {
      config: operator,
      schema: described('Register a merge rule for a table, and roll it out', {
        body: MergeRegistration,
        answer: MergeVersion,
      }),
    },
    async ({ body }) => {
      const { table, rollout, ...request } = body;
      const id = await agent().merges.register(tableOf(table), request, howOf(rollout));
      return await readMerge(database, here, id);
    },
  );

  app.post<{ Params: Params; Body: RolloutRequest }>(
    '/merge-functions/:version_id/promote',
    wish('Want a version in all regions, for all rows or as a rollout', RolloutRequest),
    async ({ params: { version_id }, body }) => {
      await agent().merges.promote(version_id, howOf(body));
      return await readMerge(database, here, version_id);
    },
  );

  app.post<{ Params: Params; Body: RollbackRequest }>(
    '/merge-functions/:version_id/rollback',
    wish('Go back to what was in effect before a version', RollbackRequest),
    async ({ params: { version_id }, body }) => {
      await agent().merges.rollback(version_id, body.to);
      return await readMerge(database, here, version_id);
    },
  );
}

/** All that such a request could say is optional. */
async function withoutBody(request: FastifyRequest): Promise<void> {
  request.body ??= {};
}

function tableOf(name: string): { schema_name: string; table_name: string } {
  const dot = name.indexOf('.');
  if (dot < 0) return { schema_name: 'public', table_name: name };
  return { schema_name: name.slice(0, dot), table_name: name.slice(dot + 1) };
}

function howOf(rollout: RolloutRequest | undefined): RolloutStep {
  const { percent } = rollout ?? {};
  const mode = rollout?.mode ?? (percent === undefined ? 'immediate' : 'percent');
  if (mode === 'percent' && percent === undefined) throw fail('SYN-T005', 'percent: is missing for the mode percent');
  if (mode !== 'percent' && percent !== undefined) throw fail('SYN-T005', `percent: is not for the mode ${mode}`);
  return { mode, percent: percent ?? 100 };
}
