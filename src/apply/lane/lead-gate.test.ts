import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hlcFromMicros, hlcNext } from '../../change/hlc.ts';
import { leadOf } from './lead-gate.ts';

const NOW = 1_767_225_600_000_000n;
const LIMITS = { waitMicros: 20_000n, holdMicros: 60_000_000n };

const kindAt = (lead: bigint): string => leadOf(hlcFromMicros(NOW + lead), NOW, LIMITS).kind;

test('what is not ahead is due, and so is what it is not worth to wait for', () => {
  for (const lead of [-1_000_000n, -1n, 0n, 20_001n, 1_000_000n, 60_000_000n]) assert.equal(kindAt(lead), 'due');
});

test('a small lead is waited for until the clock has passed the stamp, also its counter', () => {
  assert.equal(kindAt(1n), 'wait');
  const stamp = hlcNext(hlcFromMicros(NOW + 19_999n));
  assert.deepEqual(leadOf(stamp, NOW, LIMITS), { kind: 'wait', leadMicros: 20_000n, restMicros: 20_000n });
  assert.deepEqual(leadOf(stamp, NOW + 20_000n, LIMITS), { kind: 'due' });
});

test('a lead beyond all measure is held, until it is within', () => {
  const stamp = hlcFromMicros(NOW + 61_000_000n);
  assert.deepEqual(leadOf(stamp, NOW, LIMITS), { kind: 'hold', leadMicros: 61_000_000n, restMicros: 1_000_000n });
  assert.equal(leadOf(stamp, NOW + 1_000_000n, LIMITS).kind, 'due');
  assert.equal(leadOf(stamp, NOW, { ...LIMITS, holdMicros: 61_000_000n }).kind, 'due');
});

test('without a wait, or with none beyond the bound, leads are due or held', () => {
  const stamp = hlcFromMicros(NOW + 1n);
  assert.equal(leadOf(stamp, NOW, { ...LIMITS, waitMicros: 0n }).kind, 'due');
  assert.equal(leadOf(stamp, NOW, { waitMicros: 20_000n, holdMicros: 0n }).kind, 'hold');
});
