/** Runs a share of the seeds in a thread of its own: every second, third, … one, and tells of each that fails. */
import { parentPort, workerData } from 'node:worker_threads';
import { simulate } from './simulate.ts';

export type Share = {
  readonly from: number;
  readonly count: number;
  readonly stride: number;
  readonly failuresMax: number;
};
export type Told =
  | { readonly kind: 'failure'; readonly seed: number; readonly text: string }
  | { readonly kind: 'done'; readonly seeds: number; readonly steps: number };

const share = workerData as Share;
let steps = 0;
let seeds = 0;
let failures = 0;
for (let seed = share.from; seed < share.from + share.count && failures < share.failuresMax; seed += share.stride) {
  const outcome = await simulate(seed);
  seeds += 1;
  steps += outcome.steps;
  if (outcome.failure === null) continue;
  failures += 1;
  tell({ kind: 'failure', seed, text: `${outcome.failure.invariant}: ${outcome.failure.message.slice(0, 600)}` });
}
tell({ kind: 'done', seeds, steps });

function tell(told: Told): void {
  parentPort?.postMessage(told);
}
