import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nextStep, type TransferState, type TransferWord } from './transfer-steps.ts';

const MEMBERS = ['a', 'b', 'c'];

function words(states: Readonly<Record<string, TransferState>>, generation = 1): TransferWord[] {
  return Object.entries(states).map(([region, state], place) => {
    const sealed_at = state === 'published' || state === 'absent' ? null : BigInt(100 + place);
    return { region, generation, state, sealed_at };
  });
}

test('no state is entered before all regions are in the one before', () => {
  const expected = { published: 'seal', sealed: 'get-ready', ready: 'tell', done: 'finish' } as const;
  for (const state of ['published', 'sealed', 'ready', 'done'] as const) {
    assert.equal(nextStep('a', MEMBERS, words({ a: state, b: state, c: state })).kind, expected[state]);
  }
  assert.deepEqual(nextStep('a', MEMBERS, words({ a: 'ready', b: 'sealed', c: 'ready' })), {
    kind: 'wait',
    for: ['b'],
  });
  assert.deepEqual(nextStep('a', MEMBERS, words({ a: 'published', b: 'done' })), { kind: 'wait', for: ['c'] });
});

test('what is told is up to the highest seal', () => {
  assert.deepEqual(nextStep('a', MEMBERS, words({ a: 'ready', b: 'ready', c: 'done' })), { kind: 'tell', since: 102n });
});

test('a region without the table is not waited for, and nobody tells rows to himself', () => {
  assert.equal(nextStep('a', MEMBERS, words({ a: 'ready', b: 'ready', c: 'absent' })).kind, 'tell');
  assert.equal(nextStep('a', MEMBERS, words({ a: 'published', b: 'absent', c: 'absent' })).kind, 'conclude');
  assert.equal(nextStep('a', MEMBERS, words({ b: 'absent' })).kind, 'finish');
  assert.equal(nextStep('a', MEMBERS, []).kind, 'finish');
});

test('a newer generation is joined, and one that refuses stops it for all', () => {
  const later = words({ b: 'published' }, 2);
  assert.deepEqual(nextStep('a', MEMBERS, [...words({ a: 'done', c: 'done' }), ...later]), {
    kind: 'join',
    generation: 2,
  });
  assert.deepEqual(nextStep('a', MEMBERS, words({ a: 'published', b: 'refused' })), { kind: 'stop', because: 'b' });
});
