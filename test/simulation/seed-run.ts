/** Runs many seeds on all processors and gathers what fails. */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { Share, Told } from './seed-worker.ts';

export type SeedRun = {
  readonly seeds: number;
  readonly steps: number;
  readonly failures: readonly { readonly seed: number; readonly text: string }[];
};

/** A schedule's garbage fits in, so it is rarely copied: the default makes a run about a fifth slower. */
const YOUNG_MB = 64;

/** Stops early once a thread has seen `failuresMax` seeds fail. */
export async function runSeeds(from: number, count: number, failuresMax = 3): Promise<SeedRun> {
  const threads = Math.max(1, Math.min(availableParallelism(), count));
  const failures: { seed: number; text: string }[] = [];
  let seeds = 0;
  let steps = 0;
  const runs = Array.from({ length: threads }, async (_, place) => {
    const share: Share = { from: from + place, count: count - place, stride: threads, failuresMax };
    const worker = new Worker(new URL('./seed-worker.ts', import.meta.url), {
      workerData: share,
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MB },
    });
    await new Promise<void>((resolve, reject) => {
      worker.on('message', (told: Told) => {
        if (told.kind === 'failure') failures.push({ seed: told.seed, text: told.text });
        else {
          seeds += told.seeds;
          steps += told.steps;
        }
      });
      worker.on('error', reject);
      worker.on('exit', () => resolve());
    });
  });
  await Promise.all(runs);
  failures.sort((a, b) => a.seed - b.seed);
  return { seeds, steps, failures };
}
