import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkMutations } from './check-mutations.ts';
import { MUTATIONS } from './mutations.ts';

test('a mutation whose text is gone, or stands twice, is told', () => {
  const [first] = MUTATIONS;
  assert.ok(first);
  const told = (text: string): string[] => {
    return checkMutations(new Map([[first.file, text]])).filter((line) => line.includes(` ${first.name} `));
  };
  assert.equal(told('').length, 1);
  assert.deepEqual(told(first.find), []);
  assert.equal(told(first.find + first.find).length, 1);
});
