import assert from 'node:assert/strict';
import { test } from 'node:test';
import { InvariantViolation, invariant, unreachable } from './assert.ts';

test('invariant narrows when it holds and throws when it does not', () => {
  const value: string | undefined = ['x'][0];
  invariant(value !== undefined, 'a value');
  assert.equal(value.length, 1);
  assert.throws(() => invariant(false, 'never below zero'), {
    name: 'InvariantViolation',
    message: 'never below zero',
  });
});

test('unreachable names what it met', () => {
  assert.throws(() => unreachable('x' as never, 'state'), InvariantViolation);
});
