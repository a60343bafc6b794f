import { test } from 'node:test';
import { systemRandom } from '../../src/platform/random.ts';
import { runChaos } from './chaos-run.ts';

const SEED = Number(process.env.SYNCLINE_SEED ?? systemRandom.below(1_000_000));
const ROUNDS = Number(process.env.SYNCLINE_CHAOS_ROUNDS ?? 6);

test(`${ROUNDS} rounds of faults, whatever comes together, lose and fork nothing`, async (t) => {
  t.diagnostic(`SYNCLINE_SEED=${SEED}`);
  await runChaos({
    seed: SEED,
    rounds: ROUNDS,
    clients: 2,
    clocks: false,
    logDisk: null,
    kafka: null,
    tell: (line) => t.diagnostic(line),
  });
});
