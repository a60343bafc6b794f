import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { canMeet, firstFrom, isAligned, type SequenceState, suggestedInterleave, unfitness } from './interleave.ts';

const SEQUENCE: SequenceState = {
  name: 'public.s',
  increment: 1n,
  start: 1n,
  minimum: 1n,
  maximum: 2n ** 31n - 1n,
  cycles: false,
  value: 1n,
};

test('the first number of a share is in it, not below the value, and less than a step away', () => {
  const shares = fc
    .integer({ min: 2, max: 64 })
    .chain((of) => fc.tuple(fc.constant(of), fc.integer({ min: 1, max: of })));
  fc.assert(
    fc.property(shares, fc.bigInt({ min: -(2n ** 40n), max: 2n ** 62n }), ([of, offset], value) => {
      const first = firstFrom(value, { of, offset });
      assert.ok(first >= value && first - value < BigInt(of));
      assert.equal((((first - BigInt(offset)) % BigInt(of)) + BigInt(of)) % BigInt(of), 0n);
    }),
  );
});

test('two shares of one plan never meet, and unplanned steps meet where their remainders do', () => {
  const step = fc.bigInt({ min: 1n, max: 40n });
  const value = fc.bigInt({ min: 1n, max: 60n });
  fc.assert(
    fc.property(step, step, value, value, (a, b, x, y) => {
      const one = { increment: a, value: x };
      const other = { increment: b, value: y };
      // What both draw up to the point where the pattern repeats.
      const drawn = new Set(Array.from({ length: 200 }, (_, n) => x + BigInt(n) * a));
      const meets = Array.from({ length: 200 }, (_, n) => y + BigInt(n) * b).some((number) => drawn.has(number));
      if (meets) assert.ok(canMeet(one, other));
      if (!canMeet(one, other)) assert.ok(!meets);
    }),
  );
  for (let offset = 1; offset < 8; offset += 1) {
    const [one, other] = [offset, offset + 1].map((each) => firstFrom(100n, { of: 8, offset: each }));
    assert.equal(canMeet({ increment: 8n, value: one ?? 0n }, { increment: 8n, value: other ?? 0n }), false);
  }
});

test('a sequence is in line only if step, value, start and, where it cycles, the minimum are', () => {
  const plan = { of: 8, offset: 3 };
  const aligned: SequenceState = { ...SEQUENCE, increment: 8n, start: 3n, value: 83n };
  assert.ok(isAligned(aligned, plan));
  assert.ok(isAligned({ ...aligned, value: null }, plan));
  assert.ok(isAligned({ ...aligned, cycles: true, minimum: 3n }, plan));
  for (const change of [{ increment: 1n }, { value: 84n }, { start: 1n }, { cycles: true }]) {
    assert.ok(!isAligned({ ...aligned, ...change }, plan), String(Object.keys(change)));
  }
});

test('what counts down, or is about to end, is not touched', () => {
  const plan = { of: 8, offset: 3 };
  assert.equal(unfitness(SEQUENCE, plan), null);
  assert.equal(unfitness({ ...SEQUENCE, increment: -1n }, plan), 'it counts down');
  assert.equal(unfitness({ ...SEQUENCE, maximum: 32_767n, value: 32_000n }, plan), '32767 is its last number');
});

test('the plan that is suggested has room for as many regions again, and is the same seen from each', () => {
  assert.deepEqual(suggestedInterleave('eu', ['us']), { of: 4, offset: 1 });
  assert.deepEqual(suggestedInterleave('us', ['eu', 'ap']), { of: 8, offset: 3 });
  assert.deepEqual(suggestedInterleave('ap', ['eu', 'us']), { of: 8, offset: 1 });
});
