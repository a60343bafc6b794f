import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { makePosition, positionEpoch } from '../change/position.ts';
import { areOfOneLine, lineOf } from './losses.ts';

test('a line is an epoch of an origin, whatever was asked for before', () => {
  const at = fc.record({
    origin: fc.constantFrom('eu', 'us'),
    position: fc
      .tuple(fc.constantFrom('1'.repeat(19), '2'.repeat(19), `${'1'.repeat(18)}2`), fc.bigInt({ min: 0n, max: 9n }))
      .map(([epoch, lsn]) => makePosition(epoch, lsn)),
  });
  fc.assert(
    fc.property(fc.array(at, { maxLength: 20 }), (all) => {
      const named = all.map(({ origin, position }) => `${positionEpoch(position)} ${origin}`);
      assert.deepEqual(all.map(lineOf), named);
      for (const [place, one] of all.entries()) {
        for (const [other, another] of all.entries())
          assert.equal(areOfOneLine(one, another), named[place] === named[other]);
      }
    }),
  );
});
