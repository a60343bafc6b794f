/** Errors on the wire: RFC 9457 problem+json with the code of the error table. */
import type { ErrorCode, SynclineError } from '../platform/errors.ts';

export type ProblemBody = {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly code: string;
  readonly detail: string;
  readonly remedy: string;
  readonly [extra: string]: unknown;
};

const STATUS: Partial<Record<ErrorCode, number>> = {
  'SYN-T001': 404,
  'SYN-T002': 409,
  'SYN-T003': 401,
  'SYN-T004': 403,
  'SYN-T005': 400,
  'SYN-T008': 404,
  'SYN-T009': 503,
  'SYN-T011': 503,
};

export function statusOf(error: SynclineError): number {
  return STATUS[error.code] ?? (error.class === 'infrastructure' ? 503 : 500);
}

export function problemBody(error: SynclineError, extra: Readonly<Record<string, unknown>> = {}): ProblemBody {
  return {
    type: `urn:syncline:error:${error.code}`,
    title: error.code,
    status: statusOf(error),
    code: error.code,
    detail: error.detail,
    remedy: error.remedy,
    ...extra,
  };
}
