import assert from 'node:assert/strict';
import { test } from 'node:test';
import { claimOf, type HeldTuple } from './row-claim.ts';

const LOCAL: HeldTuple = { local: true, writer: 'a', foreign: false, stamp: 50n, exact: null, isSealed: true };
const SINCE = 100n;

test('a local row has its commit time for a version, and none that tells nothing', () => {
  assert.deepEqual(claimOf('a', LOCAL, SINCE), { kind: 'claim', version: 50n });
  assert.deepEqual(claimOf('a', { ...LOCAL, stamp: null }, SINCE), { kind: 'claim', version: 0n });
  assert.deepEqual(claimOf('a', { ...LOCAL, foreign: true }, SINCE), { kind: 'claim', version: 0n });
});

test('what the stream tells already, or another region, is not told', () => {
  assert.equal(claimOf('a', { ...LOCAL, isSealed: false }, SINCE), null);
  assert.equal(claimOf('a', { ...LOCAL, local: false, writer: 'b' }, SINCE), null);
  assert.equal(claimOf('a', { ...LOCAL, local: false, stamp: 120n }, SINCE), null);
});

test('a row that an echo has rewritten is told under its exact version', () => {
  assert.deepEqual(claimOf('a', { ...LOCAL, local: false, stamp: 120n, exact: 60n }, SINCE), {
    kind: 'claim',
    version: 60n,
  });
});

test('a row of a clock that was set back is written anew', () => {
  assert.deepEqual(claimOf('a', { ...LOCAL, stamp: 500n }, SINCE), { kind: 'rewrite' });
});
