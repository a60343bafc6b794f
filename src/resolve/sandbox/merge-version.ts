/**
 * One version of a custom merge function: plain JavaScript, its limits, and its identity.
 *
 * The identity is a hash over the source, the limits and the build of the sandbox, so that two regions with the same hash
 * compute the same. Types are stripped once, where the function is registered, and what is published is what is left: how
 * a later Node strips them cannot make regions differ.
 */
import { hash } from 'node:crypto';
import { stripTypeScriptTypes } from 'node:module';
import { fail } from '../../platform/errors.ts';
import type { MergeFunction } from '../merge-rule.ts';
import { SANDBOX_BUILD } from './sandbox-build.ts';

export type MergeLimits = {
  /** In units of about ten thousand steps of the interpreter. */
  readonly steps: number;
  readonly memory_mb: number;
  /** Of what goes in, and of what comes out. */
  readonly row_bytes: number;
};

export type MergeVersion = MergeFunction & { readonly source: string; readonly limits: MergeLimits };

export const DEFAULT_LIMITS: MergeLimits = { steps: 500, memory_mb: 16, row_bytes: 1024 * 1024 };
/** Each bounds what one call can cost, and with it how long a working sandbox can be silent. */
const LIMITS_MAX: MergeLimits = { steps: 5_000, memory_mb: 64, row_bytes: 8 * 1024 * 1024 };
const SOURCE_BYTES_MAX = 256 * 1024;

export type MergeLanguage = 'javascript' | 'typescript';

/** Throws SYN-A082 or SYN-A084; whether it runs at all is for `compileCheck` of the sandbox. */
export function makeMergeVersion(
  source: string,
  language: MergeLanguage = 'typescript',
  chosen: Partial<MergeLimits> = {},
): MergeVersion {
  if (Buffer.byteLength(source) > SOURCE_BYTES_MAX) {
    throw fail('SYN-A084', `the source is larger than ${SOURCE_BYTES_MAX} bytes`);
  }
  const limits: MergeLimits = { ...DEFAULT_LIMITS, ...chosen };
  for (const [name, max] of Object.entries(LIMITS_MAX)) {
    const value = limits[name as keyof MergeLimits];
    if (!Number.isInteger(value) || value < 1 || value > max) {
      throw fail('SYN-A084', `${name} is a whole number from 1 to ${max}`, { context: { limit: name } });
    }
  }
  const plain = language === 'typescript' ? stripTypes(source) : source;
  const { steps, memory_mb, row_bytes } = limits;
  const identity = JSON.stringify([plain, steps, memory_mb, row_bytes, SANDBOX_BUILD]);
  return { hash: hash('sha256', identity, 'hex'), source: plain, limits };
}

function stripTypes(source: string): string {
  try {
    return stripTypeScriptTypes(source, { mode: 'strip' });
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    const { line, column } = placeOf(error.stack ?? '');
    throw fail('SYN-A082', `line ${line}, column ${column}: ${error.message}`, {
      cause: error,
      context: { line, column },
    });
  }
}

/** The stack begins with the line's number, some lines, and marks below the place. */
function placeOf(stack: string): { line: number; column: number } {
  const lines = stack.split('\n');
  const marks = lines.find((line) => /^\s*\^+$/.test(line)) ?? '';
  return { line: Number(/\d+$/.exec(lines[0] ?? '')?.[0] ?? 0), column: marks.indexOf('^') + 1 };
}
