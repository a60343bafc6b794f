// The contract of the apply port: what every implementation of it does, method by method and in
// interleavings with the foreground. It runs on real servers and on the simulation's model of one,
// since a model that differed from PostgreSQL would prove nothing.
//
// Two freedoms are left. A guard's number is compared with the least stamp of a call or with each
// row's own, so no test has a tuple between the two. And where a test waits for a lock, either side
// may be the first to notice a deadlock, as long as it is never the foreground.

import { describe } from 'node:test';
import { bookkeepingContract } from './apply-port-contract-bookkeeping.ts';
import { conflictContract } from './apply-port-contract-conflicts.ts';
import { guardContract } from './apply-port-contract-guards.ts';
import { interleavingContract } from './apply-port-contract-interleavings.ts';
import { lockContract } from './apply-port-contract-locks.ts';
import { mergesContract } from './apply-port-contract-merges.ts';
import { parkedContract } from './apply-port-contract-parked.ts';
import { pruningContract } from './apply-port-contract-pruning.ts';
import { rowContract } from './apply-port-contract-rows.ts';
import type { MakeHarness } from './apply-port-harness.ts';

export function applyPortContract(name: string, make: MakeHarness): void {
  describe(`apply port: ${name}`, () => {
    describe('rows', () => rowContract(make));
    describe('guards and tombstones', () => guardContract(make));
    describe('interleavings with the foreground', () => interleavingContract(make));
    describe('locks', () => lockContract(make));
    describe('rows that claim one value', () => parkedContract(make));
    describe('bookkeeping', () => bookkeepingContract(make));
    describe('pruning', () => pruningContract(make));
    describe('the conflict log', () => conflictContract(make));
    describe('rows that merge', () => mergesContract(make));
  });
}
