// Gives every failure of a replication connection its code.
//
// A failure is classified by its SQLSTATE and by where it happened, because one SQLSTATE means
// different things in different places: 42704 is a missing slot while the stream starts and a
// missing publication once it runs. Where even that leaves two meanings, the name of the server's
// function that raised it decides. It is part of the protocol (field R), is never translated, and
// has been the same from 14 to 18, which cannot be said of the message text.

import { DatabaseError } from 'pg';
import { type ErrorCode, type ErrorContext, fail, SynclineError } from '../../platform/errors.ts';
import type { ServerReport } from './copy-framing.ts';

export type ReplicationPhase =
  /** Until the first command can be sent. */
  | 'connect'
  /** A command that returns rows: IDENTIFY_SYSTEM, SHOW. */
  | 'command'
  | 'create-slot'
  /** From START_REPLICATION until the server has switched to streaming. */
  | 'start'
  | 'stream';

interface Rule {
  readonly sqlState: string;
  readonly phases?: readonly ReplicationPhase[];
  readonly routine?: string;
  readonly file?: string;
  readonly code: ErrorCode;
}

// The first rule that fits decides.
const RULES: readonly Rule[] = [
  { sqlState: '28P01', code: 'SYN-P008' },
  { sqlState: '28000', code: 'SYN-P008' },
  { sqlState: '3D000', code: 'SYN-P010' },
  // Without CONNECT on the database; any other refusal up to the stream is about REPLICATION.
  { sqlState: '42501', routine: 'CheckMyDatabase', code: 'SYN-P011' },
  { sqlState: '42501', phases: ['connect', 'create-slot', 'start'], code: 'SYN-P004' },
  { sqlState: '42501', code: 'SYN-P011' },
  // A WAL sender has slots of its own, so running out of them here means max_wal_senders.
  { sqlState: '53300', routine: 'InitProcess', code: 'SYN-P003' },
  { sqlState: '53400', phases: ['create-slot'], code: 'SYN-P003' },
  { sqlState: '55000', routine: 'CheckSlotRequirements', code: 'SYN-P003' },
  { sqlState: '55000', routine: 'CheckLogicalDecodingRequirements', code: 'SYN-P001' },
  { sqlState: '0A000', routine: 'CheckLogicalDecodingRequirements', code: 'SYN-P014' },
  { sqlState: '42704', phases: ['start'], code: 'SYN-K001' },
  { sqlState: '42704', phases: ['stream'], code: 'SYN-K002' },
  // From 18 on the server only warns and leaves out the changes of the missing publication.
  { sqlState: '55000', routine: 'LoadPublications', code: 'SYN-K002' },
  // The slot was invalidated, and nothing else is left of 55000 while the stream starts.
  { sqlState: '55000', phases: ['start'], code: 'SYN-K001' },
  // WAL segments that the slot needs were removed.
  { sqlState: '58P01', phases: ['start', 'stream'], code: 'SYN-K001' },
  { sqlState: '55006', code: 'SYN-K004' },
  // The row's text form does not fit into a buffer of the server; the second form of this error,
  // from the allocator itself, has no SQLSTATE of its own.
  { sqlState: '54000', phases: ['stream'], code: 'SYN-K007' },
  { sqlState: 'XX000', phases: ['stream'], file: 'mcxt.c', code: 'SYN-K007' },
];

// Connection exceptions, resources, operator intervention: they pass.
const PASSING_CLASSES = new Set(['08', '53', '57']);

export function codeOf(report: ServerReport, phase: ReplicationPhase): ErrorCode {
  const rule = RULES.find(
    (candidate) =>
      candidate.sqlState === report.sqlState &&
      (candidate.phases?.includes(phase) ?? true) &&
      (candidate.routine ?? report.routine) === report.routine &&
      (candidate.file ?? report.file) === report.file,
  );
  if (rule !== undefined) return rule.code;
  if (PASSING_CLASSES.has(report.sqlState.slice(0, 2))) return cutCode(phase);
  return 'SYN-K010';
}

/** An error that the server reported in the stream. */
export function serverFailure(report: ServerReport, phase: ReplicationPhase, context: ErrorContext): SynclineError {
  const cause = new DatabaseError(report.message, report.message.length, 'error');
  cause.severity = report.severity;
  cause.code = report.sqlState;
  cause.detail = report.detail;
  cause.hint = report.hint;
  cause.file = report.file;
  cause.routine = report.routine;
  return fail(codeOf(report, phase), describe(report), {
    cause,
    context: { ...context, phase, sqlState: report.sqlState },
  });
}

/** Whatever the client library threw: an error of the server, or of the network below it. */
export function clientFailure(error: unknown, phase: ReplicationPhase, context: ErrorContext): SynclineError {
  if (error instanceof SynclineError) return error;
  if (error instanceof DatabaseError) {
    const report: ServerReport = {
      severity: error.severity ?? 'ERROR',
      sqlState: error.code ?? 'XX000',
      message: error.message,
      detail: error.detail,
      hint: error.hint,
      file: error.file,
      routine: error.routine,
    };
    return fail(codeOf(report, phase), describe(report), {
      cause: error,
      context: { ...context, phase, sqlState: report.sqlState },
    });
  }
  const detail = error instanceof Error ? error.message : String(error);
  return fail(cutCode(phase), detail, { cause: error, context: { ...context, phase } });
}

function cutCode(phase: ReplicationPhase): ErrorCode {
  return phase === 'connect' ? 'SYN-P009' : 'SYN-K003';
}

function describe(report: ServerReport): string {
  const parts = [report.message, report.detail, report.hint].filter((part) => part !== undefined);
  return `${parts.map((part) => part.replace(/\.$/, '')).join('. ')} (SQLSTATE ${report.sqlState})`;
}
