/**
 * What an agent does now and then, one chore after the other. A round that a fault ends is put off: the chores behind it
 * wait for the next round, as most of them would meet the same database or log that is away.
 */
import { setTimeout as delay } from 'node:timers/promises';

const ROUND_PERIOD_MS = 5_000;

export type Chore = {
  readonly work: () => Promise<void>;
  /** Not every round, but no more often than that. */
  readonly periodMs?: number;
};

/** Resolves once the signal aborts. */
export async function keepUp(
  chores: readonly Chore[],
  signal: AbortSignal,
  onFault: (error: unknown) => void,
): Promise<void> {
  const due = new Map<Chore, number>();
  while (!signal.aborted) {
    try {
      for (const chore of chores) {
        if (Date.now() < (due.get(chore) ?? 0)) continue;
        due.set(chore, Date.now() + (chore.periodMs ?? 0));
        await chore.work();
      }
    } catch (error) {
      onFault(error);
    }
    await delay(ROUND_PERIOD_MS, undefined, { signal }).catch(() => undefined);
  }
}
