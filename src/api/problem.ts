// Errors as RFC 9457 problem+json, with the code of our table.
//
// `detail` is for people and goes out scrubbed; of an error's context only what a client can act on
// does. An error without a code is a fault of ours: its message may hold anything, so it stays in the
// agent's log.

import { ERRORS, type ErrorCode, type SynclineError } from '../platform/errors.ts';
import { scrub } from '../platform/logger.ts';

export const PROBLEM_TYPE = 'application/problem+json; charset=utf-8';

export type ProblemBody = {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly instance: string;
  readonly code: ErrorCode;
  readonly remedy: string;
  /** SYN-T005: each field that is wrong. */
  readonly problems?: unknown;
  /** SYN-T002: whose link it is, and the address of that agent where it is known. */
  readonly owner?: unknown;
  /** SYN-T011: what the region waits for. */
  readonly reasons?: unknown;
};

const STATUS: Partial<Record<ErrorCode, number>> = {
  'SYN-A020': 404,
  'SYN-A021': 422,
  'SYN-A080': 422,
  'SYN-A081': 422,
  'SYN-A082': 422,
  'SYN-A083': 422,
  'SYN-A084': 422,
  'SYN-P012': 422,
  'SYN-T001': 404,
  'SYN-T002': 409,
  'SYN-T003': 401,
  'SYN-T004': 403,
  'SYN-T005': 400,
  'SYN-T008': 404,
  'SYN-T010': 500,
  'SYN-T100': 404,
  'SYN-T101': 422,
  'SYN-T102': 422,
  'SYN-T103': 404,
  'SYN-T104': 409,
  'SYN-T105': 409,
  'SYN-T160': 404,
  'SYN-T161': 422,
  'SYN-T162': 422,
  'SYN-T163': 422,
  'SYN-T164': 422,
  'SYN-T165': 422,
};

export function statusOf(error: SynclineError): number {
  const { status } = error.context;
  if (typeof status === 'number') return status;
  return STATUS[error.code] ?? (error.class === 'infrastructure' ? 503 : error.class === 'data' ? 422 : 500);
}

export function problemOf(error: SynclineError, instance: string): ProblemBody {
  const { problems, owner, reasons } = error.context;
  return {
    type: `urn:syncline:error:${error.code}`,
    title: ERRORS[error.code].cause,
    status: statusOf(error),
    detail: String(scrub(error.detail)),
    instance,
    code: error.code,
    remedy: error.remedy,
    ...(problems === undefined ? {} : { problems }),
    ...(owner === undefined ? {} : { owner }),
    ...(reasons === undefined ? {} : { reasons }),
  };
}
