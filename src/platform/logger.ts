// Structured logs: one JSON object per line, for machines first.
//
// What is secret never reaches a line. Redaction by known paths misses a secret at a path that
// nobody thought of, so every value is walked before it is written: keys that name secrets lose
// their value wherever they stand, and passwords inside of URLs are cut out of every text, also of
// messages and stacks of errors. The walk is bounded in depth and breadth.

import pino, { type DestinationStream } from 'pino';
import { SynclineError } from './errors.ts';
import { LogOutput } from './log-output.ts';

export type Logger = pino.Logger;
export type LogLevel = 'silent' | 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace';

export interface LoggerOptions {
  readonly level?: LogLevel;
  /** Fields of every line, such as the region. */
  readonly fields?: Readonly<Record<string, string>>;
  /** Standard output unless given. */
  readonly destination?: DestinationStream;
}

const STANDARD_OUTPUT = 1;
const REDACTED = '[redacted]';
const SECRET_KEY = /passw|token|secret|authorization|credential/i;
const PASSWORD_IN_URL = /(\b[a-z][a-z0-9+.-]*:\/\/[^\s:/@]*):[^\s@]*@/gi;
const DEPTH_MAX = 6;
const ENTRIES_MAX = 100;

export function createLogger(options: LoggerOptions = {}): Logger {
  const base = { pid: process.pid, ...options.fields };
  const noteOfLoss = (lines: number, why: string): string => {
    const msg = 'lines of this log could not be written';
    return `${JSON.stringify({ level: 'warn', time: new Date().toISOString(), ...base, lines, why, msg })}\n`;
  };
  const logger = pino(
    {
      level: options.level ?? 'info',
      base,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: (error: unknown) => error },
      hooks: {
        logMethod(args, method) {
          const [first, ...rest] = args as unknown[];
          const scrubbed = rest.map((value) => scrub(value));
          const message = scrubbed.length === 0 && first instanceof Error ? [scrubText(first.message)] : scrubbed;
          const object = first instanceof Error ? { err: scrub(first) } : scrub(first);
          Reflect.apply(method, this, [object, ...message]);
        },
      },
    },
    options.destination ?? new LogOutput({ fd: STANDARD_OUTPUT, noteOfLoss }),
  );
  // The library has no hook for the fields of children; they inherit this method from their parent.
  const child = Reflect.get(logger, 'child') as unknown as (...args: unknown[]) => unknown;
  Reflect.set(logger, 'child', function scrubbedChild(this: Logger, fields: unknown, ...rest: unknown[]) {
    return Reflect.apply(child, this, [scrub(fields), ...rest]);
  });
  return logger;
}

/** A copy of the value without secrets, in which errors are plain objects. */
export function scrub(value: unknown, depth = 0): unknown {
  if (typeof value === 'string') return scrubText(value);
  if (typeof value === 'bigint') return String(value);
  if (typeof value !== 'object' || value === null) return value;
  if (depth >= DEPTH_MAX) return '[deeper]';
  if (value instanceof Error) return scrub(describe(value), depth);
  if (value instanceof Date) return value;
  if (Array.isArray(value)) return value.slice(0, ENTRIES_MAX).map((each) => scrub(each, depth + 1));
  const entries = Object.entries(value).slice(0, ENTRIES_MAX);
  return Object.fromEntries(
    entries.map(([key, each]) => [key, SECRET_KEY.test(key) && each !== null ? REDACTED : scrub(each, depth + 1)]),
  );
}

const scrubText = (text: string): string => text.replace(PASSWORD_IN_URL, `$1:${REDACTED}@`);

function describe(error: Error): Record<string, unknown> {
  const code = 'code' in error ? { code: error.code } : {};
  const context = error instanceof SynclineError ? { context: error.context, remedy: error.remedy } : {};
  const cause = error.cause === undefined ? {} : { cause: error.cause };
  return { type: error.name, message: error.message, ...code, ...context, stack: error.stack, ...cause };
}
