import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { canonicalText, isInShare, type KeyShape } from './key-share.ts';

const SHAPE: KeyShape = { schema: 'public', table: 'carts' };

describe('the share of a table', () => {
  test('is about as large as it is called, for keys in a row and for keys at random', () => {
    for (const percent of [1, 10, 50, 90]) {
      const kept = (keys: readonly string[]): number =>
        keys.filter((key) => isInShare(SHAPE, [key], percent)).length / keys.length;
      const numbers = Array.from({ length: 20_000 }, (_, place) => String(place));
      const texts = numbers.map((number) => `customer-${Number(number) * 7919}@example.com`);
      for (const keys of [numbers, texts]) {
        const share = kept(keys) * 100;
        assert.ok(Math.abs(share - percent) < 1.5, `${percent} percent are ${share}`);
      }
    }
  });

  test('grows without letting go of a row, from none to all', () => {
    const key = fc.array(fc.option(fc.string()), { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(key, fc.nat({ max: 100 }), fc.nat({ max: 100 }), (of, a, b) => {
        const [less, more] = a < b ? [a, b] : [b, a];
        assert.ok(!isInShare(SHAPE, of, less) || isInShare(SHAPE, of, more));
        assert.equal(isInShare(SHAPE, of, 0), false);
        assert.equal(isInShare(SHAPE, of, 100), true);
      }),
    );
  });

  test('has the same rows in every region and version: the hash never changes', () => {
    const taken = Array.from({ length: 40 }, (_, place) => String(place)).filter((key) => isInShare(SHAPE, [key], 20));
    assert.deepEqual(taken, ['0', '12', '14', '18', '38']);
  });

  test('is another one for another table', () => {
    const keys = Array.from({ length: 200 }, (_, place) => String(place));
    const of = (table: string): string[] => keys.filter((key) => isInShare({ ...SHAPE, table }, [key], 50));
    assert.notDeepEqual(of('carts'), of('orders'));
  });

  test('has no two minds about keys that PostgreSQL takes for one', () => {
    const one = (nature: 'numeric' | 'float' | 'citext' | 'bpchar', ...texts: string[]): void => {
      assert.equal(new Set(texts.map((text) => canonicalText(text, nature))).size, 1, `${nature} ${texts.join(' ')}`);
    };
    one('numeric', '1', '1.0', '1.00');
    one('numeric', '-120.5', '-120.500');
    one('numeric', '0', '0.000');
    one('float', '0', '-0');
    one('citext', 'Straße', 'STRAßE');
    one('bpchar', 'a', 'a  ');
    const apart = ['100', '10', '1', '1.01', 'NaN', 'Infinity'].map((text) => canonicalText(text, 'numeric'));
    assert.equal(new Set(apart).size, apart.length);
    assert.equal(canonicalText('1.00 ', 'text'), '1.00 ');
    for (let percent = 1; percent < 100; percent += 1) {
      const shape: KeyShape = { ...SHAPE, natures: ['numeric', 'citext'] };
      assert.equal(isInShare(shape, ['1.0', 'Ann'], percent), isInShare(shape, ['1', 'ANN'], percent));
    }
  });
});
