import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { chaosPlan, FAULT_KINDS, type FaultKind, OF_BROKERS } from './chaos-plan.ts';

const REGIONS = ['eu', 'us', 'ap'];
const ALL = { clocks: true, fullLogDisk: true, broker: true };
const NONE = { clocks: false, fullLogDisk: false, broker: false };

test('a plan is the same for the same seed, hits each region at most once a round, and is bounded', () => {
  fc.assert(
    fc.property(fc.nat(), fc.integer({ min: 1, max: 60 }), fc.constantFrom(ALL, NONE), (seed, count, abilities) => {
      const plan = chaosPlan(seed, count, REGIONS, abilities);
      assert.deepEqual(plan, chaosPlan(seed, count, REGIONS, abilities));
      assert.equal(plan.length, count);
      for (const { faults, before } of plan) {
        assert.ok(faults.length >= 1 && before >= 1);
        assert.equal(new Set(faults.map(({ region }) => region)).size, faults.length);
        for (const { region, peer, commits } of faults) assert.ok(region !== peer && commits >= 1);
      }
    }),
  );
});

test('a plan that is long enough has every kind that the machine can have, and no other', () => {
  const kinds = (abilities: typeof ALL): Set<string> =>
    new Set(chaosPlan(1, 60, REGIONS, abilities).flatMap(({ faults }) => faults.map(({ kind }) => kind)));
  assert.deepEqual([...kinds(ALL)].sort(), [...FAULT_KINDS].sort());
  const notEverywhere: readonly FaultKind[] = ['clock-stepped', 'log-disk-full', ...OF_BROKERS];
  const without = FAULT_KINDS.filter((kind) => !notEverywhere.includes(kind));
  assert.deepEqual([...kinds(NONE)].sort(), [...without].sort());
});
