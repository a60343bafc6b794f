// Runs `bin/syncline` as a user does, and keeps what it prints.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { ERRORS, type ErrorCode } from '../../src/platform/errors.ts';

const PROGRAM = resolve(import.meta.dirname, '../../bin/syncline');
const OUTPUT_MAX = 1_000_000;
const LIMIT_MS = 60_000;

export type Outcome = { readonly code: number | null; readonly stdout: string; readonly stderr: string };

export type Running = { readonly process: ChildProcess; readonly outcome: Promise<Outcome> };

/** Starts a command; it is killed at the limit, and a test that ends with it running has to end it. */
export function start(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  limitMs = LIMIT_MS,
  program = PROGRAM,
): Running {
  const child = spawn(program, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: limitMs,
    killSignal: 'SIGKILL',
    env: { ...process.env, NO_COLOR: '1', ...env },
  });
  const printed = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (chunk: string) => {
      printed[name] = (printed[name] + chunk).slice(-OUTPUT_MAX);
    });
  }
  const outcome = once(child, 'close').then(([code]) => ({ code: code as number | null, ...printed }));
  return { process: child, outcome };
}

/** Starts a command whose standard output goes to that file. */
export function startInto(path: string, args: readonly string[]): Running {
  return start(['-c', 'exec "$0" "$@" >> "$STDOUT"', PROGRAM, ...args], { STDOUT: path }, LIMIT_MS, '/bin/sh');
}

/** Runs a command to its end. */
export async function run(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  program = PROGRAM,
): Promise<Outcome> {
  return await start(args, env, LIMIT_MS, program).outcome;
}

/** Asserts that the command failed with this code, told what to do and named what is concerned. */
export function assertSays({ code, stderr }: Outcome, wanted: ErrorCode, ...names: readonly string[]): void {
  assert.equal(code, 1, stderr);
  assert.ok(stderr.startsWith(`✖ ${wanted} ${ERRORS[wanted].cause}\n`), stderr);
  assert.ok(stderr.includes(`→ ${ERRORS[wanted].remedy}`), stderr);
  for (const name of names) assert.ok(stderr.includes(name), `${name} is not named in:\n${stderr}`);
  assert.doesNotMatch(stderr, /^ +at /m);
}
