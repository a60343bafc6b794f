import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { fullXidNear, xidOf } from './sql-xid.ts';

const EPOCH = 1n << 32n;

describe('transaction ids', () => {
  test('a 32-bit id means the nearest 64-bit one, on either side of a wrap', () => {
    assert.equal(fullXidNear(1000n, 990), 990n);
    assert.equal(fullXidNear(1000n, 1010), 1010n);
    assert.equal(fullXidNear(3n * EPOCH + 5n, 0xffff_fff0), 2n * EPOCH + 0xffff_fff0n);
    assert.equal(fullXidNear(3n * EPOCH - 5n, 7), 3n * EPOCH + 7n);
  });

  test('before the first wrap there is nothing below zero', () => {
    assert.equal(fullXidNear(10n, 0xffff_fff0), 0xffff_fff0n);
  });

  test('the low half of an id and a recent id give it back', () => {
    const recent = fc.bigInt({ min: EPOCH, max: EPOCH << 20n });
    const distance = fc.bigInt({ min: -(1n << 31n), max: (1n << 31n) - 1n });
    fc.assert(fc.property(recent, distance, (near, away) => fullXidNear(near, xidOf(near + away)) === near + away));
  });
});
