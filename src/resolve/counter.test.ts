import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { mergeCounter, OUT_OF_RANGE } from './counter.ts';
import { addDecimals, compareDecimals, parseDecimal, printDecimal, subtractDecimals } from './decimal.ts';

const decimalText = fc
  .record({ units: fc.bigInt({ min: -(10n ** 60n), max: 10n ** 60n }), scale: fc.nat(40) })
  .map((value) => printDecimal(value));

function parsed(text: string): NonNullable<ReturnType<typeof parseDecimal>> {
  const value = parseDecimal(text);
  assert.ok(value !== null, text);
  return value;
}

describe('exact decimals', () => {
  test('are printed as they were read, and sums have the larger scale', () => {
    fc.assert(
      fc.property(decimalText, decimalText, (a, b) => {
        assert.equal(printDecimal(parsed(a)), a);
        const sum = addDecimals(parsed(a), parsed(b));
        assert.equal(sum.scale, Math.max(parsed(a).scale, parsed(b).scale));
        assert.equal(compareDecimals(subtractDecimals(sum, parsed(b)), parsed(a)), 0);
      }),
    );
    const sums = [
      ['1.5', '2.25', '3.75'],
      ['0.1', '0.2', '0.3'],
      ['-0.05', '0.04', '-0.01'],
      ['1.00', '-1', '0.00'],
    ];
    for (const [a = '', b = '', sum] of sums) assert.equal(printDecimal(addDecimals(parsed(a), parsed(b))), sum);
  });

  test('are nothing else', () => {
    for (const text of ['NaN', 'Infinity', '1e5', '', '1.', '.5', '+1']) assert.equal(parseDecimal(text), null, text);
  });
});

describe('a counter column', () => {
  test('adds what the event added', () => {
    assert.equal(mergeCounter('int4', '10', '13', '15'), '18');
    assert.equal(mergeCounter('numeric', '1.10', '1.30', '0.9'), '1.10');
    assert.equal(mergeCounter('int8', '9007199254740993', '9007199254740994', '9007199254740995'), '9007199254740996');
  });

  test('takes NULL for 0, and keeps it where nothing was added', () => {
    assert.equal(mergeCounter('int4', null, '3', '5'), '8');
    assert.equal(mergeCounter('int4', '5', '8', null), '3');
    assert.equal(mergeCounter('int4', null, null, '5'), '5');
    assert.equal(mergeCounter('int4', null, null, null), null);
    assert.equal(mergeCounter('int4', '4', null, '4'), null);
  });

  test('is not valid beyond its type, at its very end', () => {
    assert.equal(mergeCounter('int2', '0', '32766', '1'), '32767');
    assert.equal(mergeCounter('int2', '0', '32767', '1'), OUT_OF_RANGE);
    assert.equal(mergeCounter('int2', '0', '-32768', '-1'), OUT_OF_RANGE);
    assert.equal(mergeCounter('int8', '0', '9223372036854775807', '1'), OUT_OF_RANGE);
    assert.equal(mergeCounter('numeric', '0', '9223372036854775807', '1'), '9223372036854775808');
  });

  test('sets what has no difference, and adds nothing to what is not finite', () => {
    assert.equal(mergeCounter('numeric', '1', '5', 'NaN'), 'NaN');
    assert.equal(mergeCounter('numeric', 'NaN', '5', '7'), '7');
    assert.equal(mergeCounter('numeric', '1', 'Infinity', '3'), 'Infinity');
    assert.equal(mergeCounter('numeric', '1', 'NaN', '3'), 'NaN');
  });
});
