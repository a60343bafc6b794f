import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fail } from '../platform/errors.ts';
import { passingFault } from './start-fault.ts';

const withCode = (code: string): Error => Object.assign(new Error('boom'), { code });

test('a start waits for what passes in the database, and tells it with a code', () => {
  for (const state of ['57P01', '57014', '40P01', '55P03', '53100', '25006']) {
    const fault = passingFault(withCode(state));
    assert.deepEqual([fault?.code, fault?.detail, fault?.cause], ['SYN-P057', 'boom', withCode(state)], state);
  }
  const away = fail('SYN-P009', 'no route to host');
  assert.equal(passingFault(away), away);
});

test('a start ends with what an operator has to mend, and with what nobody foresaw', () => {
  for (const code of ['SYN-P008', 'SYN-P011', 'SYN-P014', 'SYN-K004', 'SYN-K005', 'SYN-K020', 'SYN-L002'] as const) {
    assert.equal(passingFault(fail(code, 'x', { cause: withCode('57P01') })), null, code);
  }
  for (const error of [withCode('42501'), withCode('42703'), new TypeError('x is not a function')]) {
    assert.equal(passingFault(error), null);
  }
});
