// A supervised loop: it keeps one activity of an agent going through the faults of the world.
//
// The activity runs until it fails or is asked to end. Infrastructure faults are retried for ever
// with backoff: giving up would turn a long outage into a manual task. They stay visible: every
// change of state goes to a callback, for the API and for alerts. Any other error stops the loop
// and is thrown, because running on after a broken invariant or a protocol fault could do harm.
//
//   state      event                     next
//   running    returns, or aborted       ended
//   running    infrastructure fault      waiting
//   running    any other error           failed
//   waiting    delay is over             running
//   waiting    aborted                   ended

import { setTimeout as delay } from 'node:timers/promises';
import type { Backoff } from './backoff.ts';
import { isInfrastructure } from './errors.ts';

export type RunState =
  | { readonly kind: 'running' }
  | { readonly kind: 'waiting'; readonly error: unknown; readonly attempt: number; readonly delayMs: number }
  | { readonly kind: 'failed'; readonly error: unknown }
  | { readonly kind: 'ended' };

export interface RunLoopOptions {
  /**
   * Calls `healthy` once it got somewhere: the next fault starts with a short delay then, and a fault from before is over. Until
   * then the state stays `waiting`, with the fault, while it is tried again.
   */
  readonly run: (signal: AbortSignal, healthy: () => void) => Promise<void>;
  readonly signal: AbortSignal;
  readonly backoff: Backoff;
  readonly onState: (state: RunState) => void;
  readonly isRetryable?: (error: unknown) => boolean;
  readonly sleep?: (delayMs: number, signal: AbortSignal) => Promise<void>;
}

/** Resolves once the activity ended by itself or by the signal; rejects with what stopped it. */
export async function runLoop(options: RunLoopOptions): Promise<void> {
  const { run, signal, backoff, onState } = options;
  const isRetryable = options.isRetryable ?? isInfrastructure;
  const sleep = options.sleep ?? sleepUntilAborted;
  let isWaiting = false;
  const healthy = (): void => {
    backoff.reset();
    if (isWaiting) onState({ kind: 'running' });
    isWaiting = false;
  };
  onState({ kind: 'running' });
  while (!signal.aborted) {
    try {
      await run(signal, healthy);
      break;
    } catch (error) {
      // Ending by the signal cuts connections under way; the faults that this causes are no news.
      if (signal.aborted && (isRetryable(error) || isAbort(error, signal))) break;
      if (!isRetryable(error)) {
        onState({ kind: 'failed', error });
        throw error;
      }
      isWaiting = true;
      const delayMs = backoff.nextMs();
      onState({ kind: 'waiting', error, attempt: backoff.attempt, delayMs });
      await sleep(delayMs, signal);
    }
  }
  onState({ kind: 'ended' });
}

const isAbort = (error: unknown, signal: AbortSignal): boolean =>
  error === signal.reason || (error instanceof Error && error.name === 'AbortError');

/** Waits for the delay, or less if the signal comes first; being woken up is no error. */
async function sleepUntilAborted(delayMs: number, signal: AbortSignal): Promise<void> {
  await delay(delayMs, undefined, { signal }).catch(() => undefined);
}
