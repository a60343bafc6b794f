import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { mergeExtreme, orderOf } from './ordered-values.ts';

/** Each in its order, by hand. */
const ORDERED: Readonly<Record<string, readonly string[]>> = {
  int8: ['-9223372036854775808', '-1', '0', '9007199254740993', '9007199254740994'],
  numeric: ['-Infinity', '-1.5', '-1.4999999999999999999999', '0', '0.1', '2', '10', 'Infinity', 'NaN'],
  float8: ['-Infinity', '-1e+300', '-0.5', '1e-10', '2', '1e+20', 'Infinity', 'NaN'],
  date: [
    '-infinity',
    '4713-01-01 BC',
    '0044-03-15 BC',
    '0001-12-31 BC',
    '0001-01-01',
    '2024-02-29',
    '2024-03-01',
    '12024-01-01',
    'infinity',
  ],
  timestamp: [
    '-infinity',
    '0002-12-31 23:59:59 BC',
    '2024-02-29 23:59:59.999999',
    '2024-03-01 00:00:00',
    '2024-03-01 00:00:00.1',
    'infinity',
  ],
  timestamptz: [
    '2024-01-01 12:00:00+02',
    '2024-01-01 11:00:00+00',
    '2024-01-01 11:00:00.000001+00',
    '2024-01-01 10:30:00-05:30',
  ],
  text: ['', 'A', 'Z', 'a', 'é', '\uffee', '\u{1f600}'],
  bool: ['f', 't'],
  uuid: [
    '00000000-0000-0000-0000-000000000001',
    '00000000-0000-0000-0000-00000000000a',
    'ffffffff-0000-0000-0000-000000000000',
  ],
};

describe('the order of values', () => {
  test('is that of their type', () => {
    for (const [type, values] of Object.entries(ORDERED)) {
      const compare = orderOf(type);
      assert.ok(compare !== null, type);
      for (const [i, a] of values.entries()) {
        for (const [j, b] of values.entries())
          assert.equal(Math.sign(compare(a, b)), Math.sign(i - j), `${a} and ${b}`);
      }
    }
    assert.equal(orderOf('numeric')?.('1.0', '1.00'), 0);
  });

  test('of days is that of the calendar', () => {
    const day = fc.date({ min: new Date('0001-01-01'), max: new Date('9999-12-31'), noInvalidDate: true });
    fc.assert(
      fc.property(day, day, (a, b) => {
        const [one, other] = [a, b].map((date) => date.toISOString().slice(0, 10)) as [string, string];
        assert.equal(Math.sign(orderOf('date')?.(one, other) ?? 9), one < other ? -1 : one > other ? 1 : 0);
      }),
    );
  });

  test('decides where both sides changed the value; what one side alone did, stays', () => {
    assert.equal(mergeExtreme(1, 'int4', '5', '9', '10'), '10');
    assert.equal(mergeExtreme(-1, 'int4', '5', '9', '10'), '9');
    assert.equal(mergeExtreme(1, 'int4', '5', '5', '3'), '3');
    assert.equal(mergeExtreme(1, 'int4', '5', '7', '5'), '7');
    assert.equal(mergeExtreme(1, 'int4', '5', null, '3'), '3');
    assert.equal(mergeExtreme(1, 'int4', '5', '3', null), '3');
  });
});
