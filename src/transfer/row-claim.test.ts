import assert from 'node:assert/strict';
import { test } from 'node:test';
import { claimOf, type HeldTuple } from './row-claim.ts';

const LOCAL: HeldTuple = { local: true, writer: 'a', foreign: false, stamp: 50n, exact: null, isSealed: true };
const SINCE = 100n;
const REGIONS = { self: 'a', members: ['a', 'b'] };

test('a local row has its commit time for a version, and none that tells nothing', () => {
  assert.deepEqual(claimOf(REGIONS, LOCAL, SINCE), { kind: 'claim', version: 50n });
  assert.deepEqual(claimOf(REGIONS, { ...LOCAL, stamp: null }, SINCE), { kind: 'claim', version: 0n });
  assert.deepEqual(claimOf(REGIONS, { ...LOCAL, foreign: true }, SINCE), { kind: 'claim', version: 0n });
});

test('what the stream tells already, or another region, is not told', () => {
  assert.equal(claimOf(REGIONS, { ...LOCAL, isSealed: false }, SINCE), null);
  assert.equal(claimOf(REGIONS, { ...LOCAL, local: false, writer: 'b' }, SINCE), null);
  assert.equal(claimOf(REGIONS, { ...LOCAL, local: false, stamp: 120n }, SINCE), null);
});

test('a row that an echo has rewritten is told under its exact version', () => {
  assert.deepEqual(claimOf(REGIONS, { ...LOCAL, local: false, stamp: 120n, exact: 60n }, SINCE), {
    kind: 'claim',
    version: 60n,
  });
});

test('a row of a clock that was set back is written anew', () => {
  assert.deepEqual(claimOf(REGIONS, { ...LOCAL, stamp: 500n }, SINCE), { kind: 'rewrite' });
});

test('what was last written by a region that was taken out is told by all who hold it, under the version that it shows', () => {
  const gone = { ...LOCAL, local: false, writer: 'd' };
  assert.deepEqual(claimOf(REGIONS, gone, SINCE), { kind: 'claim', version: 50n });
  assert.deepEqual(claimOf(REGIONS, { ...gone, exact: 40n }, SINCE), { kind: 'claim', version: 40n });
  assert.deepEqual(claimOf(REGIONS, { ...gone, stamp: null }, SINCE), { kind: 'claim', version: 0n });
});
