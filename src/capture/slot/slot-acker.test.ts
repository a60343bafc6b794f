import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SlotAcker } from './slot-acker.ts';

test('only what was received and is durable is confirmed, in order', () => {
  const confirmed: bigint[] = [];
  const acker = new SlotAcker(10n, (lsn) => confirmed.push(lsn));
  assert.throws(() => acker.durable(20n), /before it was received/);
  acker.received(20n);
  acker.received(30n);
  acker.received(40n);
  acker.durable(20n);
  acker.durable(20n);
  acker.durable(40n);
  assert.deepEqual(confirmed, [20n, 40n]);
  assert.equal(acker.durableLsn, 40n);
  assert.throws(() => acker.durable(30n), /out of order/);
  assert.throws(() => acker.received(40n), /comes again/);
});
