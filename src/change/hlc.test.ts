import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  HLC_MAX,
  hlcCounter,
  hlcFromMicros,
  hlcFromText,
  hlcMicros,
  hlcMicrosCeil,
  hlcNext,
  hlcToText,
} from './hlc.ts';

const MICROS_MAX = HLC_MAX >> 10n;
const COUNTER_MAX = 1_023n;

const anyStamp = fc.bigInt({ min: 0n, max: HLC_MAX });
const anyMicros = fc.bigInt({ min: 0n, max: MICROS_MAX });

test('a physical time comes back, with counter 0, and stamps are in the order of their times', () => {
  fc.assert(
    fc.property(anyMicros, anyMicros, (a, b) => {
      assert.equal(hlcMicros(hlcFromMicros(a)), a);
      assert.equal(hlcCounter(hlcFromMicros(a)), 0n);
      assert.equal(hlcFromMicros(a) < hlcFromMicros(b), a < b);
    }),
  );
});

test('the next stamp is the least above, and a counter that overflows carries into the microseconds', () => {
  fc.assert(
    fc.property(
      fc.bigInt({ min: 0n, max: MICROS_MAX - 1n }),
      fc.oneof(fc.bigInt({ min: 0n, max: COUNTER_MAX }), fc.constant(COUNTER_MAX)),
      (micros, counter) => {
        const stamp = hlcFromMicros(micros) + counter;
        const next = hlcNext(stamp);
        assert.equal(next - stamp, 1n);
        const carries = counter === COUNTER_MAX;
        assert.equal(hlcMicros(next), carries ? micros + 1n : micros);
        assert.equal(hlcCounter(next), carries ? 0n : counter + 1n);
      },
    ),
  );
  assert.throws(() => hlcNext(HLC_MAX), /exhausted/);
});

test('rounded up, a physical time covers the stamp, and none below does', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 1n, max: hlcFromMicros(MICROS_MAX) }), (stamp) => {
      const micros = hlcMicrosCeil(stamp);
      assert.ok(hlcFromMicros(micros) >= stamp);
      assert.ok(hlcFromMicros(micros - 1n) < stamp);
    }),
  );
});

test('as text, stamps sort as they do as numbers, and come back', () => {
  fc.assert(
    fc.property(anyStamp, anyStamp, (a, b) => {
      assert.equal(hlcFromText(hlcToText(a)), a);
      assert.equal(hlcToText(a) < hlcToText(b), a < b);
    }),
  );
  for (const text of ['', '-1', '1.5', '0x1', '1'.repeat(20)]) assert.throws(() => hlcFromText(text));
});

test('a time outside the range is refused', () => {
  assert.throws(() => hlcFromMicros(-1n));
  assert.throws(() => hlcFromMicros(MICROS_MAX + 1n));
});
