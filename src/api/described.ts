// A route's entry in /openapi.json: what it takes, what it gives, and that it fails with a problem.

import type { FastifySchema } from 'fastify';
import type { TSchema } from 'typebox';
import { ProblemDocument } from './schemas.ts';

export function described(
  summary: string,
  parts: { readonly answer: TSchema } & Pick<FastifySchema, 'body' | 'params' | 'querystring'>,
): FastifySchema {
  const { answer, ...rest } = parts;
  return {
    summary,
    ...rest,
    response: {
      200: { description: 'OK', content: { 'application/json': { schema: answer } } },
      default: {
        description: 'An error with its code',
        content: { 'application/problem+json': { schema: ProblemDocument } },
      },
    },
  };
}
