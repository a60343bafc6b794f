/**
 * Whole systems under every schedule that can be generated: three to five regions, their users, crashes, pauses, lost and
 * repeated deliveries. One seed is one schedule; a failing one replays step by step with the command that is printed.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runSeeds } from './seed-run.ts';
import { simulate } from './simulate.ts';

const SEEDS = Number(process.env.SYNCLINE_SEEDS ?? 20_000);
const FIRST = Number(process.env.SYNCLINE_FIRST_SEED ?? 1);

test('every schedule ends equal everywhere, with nothing lost, doubled or out of order', async (context) => {
  const run = await runSeeds(FIRST, SEEDS);
  context.diagnostic(`${run.seeds} schedules, ${run.steps} steps`);
  const told = run.failures.map(
    ({ seed, text }) => `seed ${seed}: ${text}\n  node test/simulation/run-seed.ts ${seed}`,
  );
  assert.equal(run.failures.length, 0, `\n${told.join('\n')}`);
  assert.equal(run.seeds, SEEDS);
});

test('a seed replays: the same schedule, step by step', async () => {
  for (const seed of [7, 77, 777]) {
    const first = await simulate(seed, true);
    const second = await simulate(seed, true);
    assert.ok(first.trace.length > 100);
    assert.deepEqual(second.trace, first.trace);
  }
});
