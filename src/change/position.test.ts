import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { areOfOneEpoch, haveSeenTheSame, makePosition, positionEpoch } from './position.ts';

const EPOCH = fc.bigInt({ min: 0n, max: 10n ** 19n - 1n }).map((number) => String(number).padStart(19, '0'));
/** Two that differ in one digit at most, wherever that is, as two epochs of one region do at the end. */
const TWO_EPOCHS = fc.tuple(EPOCH, fc.nat(18), fc.nat(9)).map(([epoch, place, digit]) => {
  return [epoch, `${epoch.slice(0, place)}${digit}${epoch.slice(place + 1)}`] as const;
});
const LSN = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });

test('two positions are of one epoch where their epochs are equal texts', () => {
  fc.assert(
    fc.property(TWO_EPOCHS, LSN, LSN, ([one, other], a, b) => {
      const [first, second] = [makePosition(one, a), makePosition(other, b)];
      assert.equal(areOfOneEpoch(first, second), positionEpoch(first) === positionEpoch(second));
    }),
  );
});

test('what was seen is the same where every origin has the same position', () => {
  const position = makePosition('0'.repeat(19), 1n);
  const seen = fc.dictionary(
    fc.constantFrom('eu', 'us', 'ap'),
    fc.constantFrom(position, makePosition('1'.repeat(19), 1n)),
    { noNullPrototype: true },
  );
  fc.assert(
    fc.property(seen, seen, (a, b) => {
      assert.equal(haveSeenTheSame(a, b), isDeepStrictEqual(a, b));
      assert.equal(haveSeenTheSame(a, { ...a }), true);
    }),
  );
});
