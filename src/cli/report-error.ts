// Errors for the person at the terminal: what happened, in this case and in general, and what to do.

import { styleText } from 'node:util';
import { ERRORS, SynclineError } from '../platform/errors.ts';
import { scrub } from '../platform/logger.ts';

/** Prints the error; returns the exit code. Only what has no code shows a stack: it is a fault of ours. */
export function reportError(error: unknown): number {
  if (error instanceof SynclineError) process.stderr.write(`${describeError(error)}\n`);
  else console.error(scrub(error instanceof Error ? (error.stack ?? error.message) : String(error)));
  return 1;
}

export function describeError(error: SynclineError): string {
  const heading = styleText(['red', 'bold'], `✖ ${error.code}`, { stream: process.stderr });
  const detail = indent(String(scrub(error.detail)));
  return `${heading} ${ERRORS[error.code].cause}\n${detail}\n${indent(`→ ${error.remedy}`)}`;
}

const indent = (text: string): string => text.replaceAll(/^/gm, '  ');
