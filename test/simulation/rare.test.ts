/**
 * Schedules that a rule is needed for which hardly any other one needs: found among hundreds of thousands. Whether they still
 * come to it tells the mutation that names this file, since a change of the model makes other schedules of the same seeds.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { simulate } from './simulate.ts';

for (const [seed, what] of [
  [201_551, 'an echo goes through values that a later row of a user has taken by now'],
  [258_037, 'an echo finds its row overwritten from elsewhere, and its value taken by a later row of a user'],
] as const) {
  test(what, async () => {
    const { failure } = await simulate(seed);
    assert.equal(failure, null, `seed ${seed}: ${failure?.message}`);
  });
}
