/**
 * When the next append to the stream starts: at once after a rest, and else not before a while after the one before it.
 *
 * What an append costs depends little on how much goes in it: a flush of the disk or a round trip to a broker, a turn of the log's
 * thread, and in every region that reads the stream a wake-up and a batch with its transaction. Where commits come every
 * two milliseconds, one append for each would have all processors busy with turns, and it is that which makes a lag long. So some go
 * together. A commit that comes alone waits for nobody, and a backlog fills its appends and does not wait either.
 */
import type { DeferAppend } from './group-commit.ts';

/** Half of it is what a commit waits on average where commits are many. */
const PERIOD_MS = 5;

export function pacedAppends(nowMs: () => number = () => performance.now()): DeferAppend {
  let nextMs = Number.NEGATIVE_INFINITY;
  return (start, isUrgent) => {
    const run = (): void => {
      nextMs = nowMs() + PERIOD_MS;
      start();
    };
    const restMs = nextMs - nowMs();
    // All that has arrived in this turn goes together in any case.
    if (isUrgent || restMs <= 0) setImmediate(run);
    else setTimeout(run, restMs);
  };
}
