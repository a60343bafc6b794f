// Tests never sleep for a fixed time: they wait until something is true, up to a limit. The limit
// is generous, since it only decides how long a failure takes, never whether a test passes.

import { setTimeout as delay } from 'node:timers/promises';

const LIMIT_MS = 30_000;
const POLL_MIN_MS = 2;
const POLL_MAX_MS = 50;

/** Thrown by a condition that can no longer come true: it ends the wait at once. */
export class Hopeless extends Error {}

type Truthy<T> = Exclude<T, false | null | undefined | 0 | 0n | ''>;

/**
 * Calls the condition until it gives something truthy, and returns that. An error that it throws
 * counts as not yet, and is the cause of the error at the limit, unless it is `Hopeless`.
 */
export async function waitFor<T>(
  condition: () => T | Promise<T>,
  /** `what` may be told only once it is needed, with what is known by then. */
  options: { what: string | (() => string); limitMs?: number },
): Promise<Truthy<T>> {
  const limitMs = options.limitMs ?? LIMIT_MS;
  const end = performance.now() + limitMs;
  let pollMs = POLL_MIN_MS;
  let last: unknown;
  for (;;) {
    let error: unknown;
    try {
      const value = await condition();
      if (value) return value as Truthy<T>;
      last = value;
    } catch (cause) {
      if (cause instanceof Hopeless) throw cause;
      error = cause;
    }
    if (performance.now() >= end) {
      const seen = error instanceof Error ? error.message : JSON.stringify(last);
      const what = typeof options.what === 'string' ? options.what : options.what();
      throw new Error(`not within ${limitMs} ms: ${what} (last: ${seen})`, { cause: error });
    }
    await delay(pollMs);
    pollMs = Math.min(POLL_MAX_MS, pollMs * 1.5);
  }
}
