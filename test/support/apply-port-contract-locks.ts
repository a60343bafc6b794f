// Contract of the apply port, part 4: what waits for which lock, and that a wait ends. The lane must
// neither stall behind a foreground lock nor make the foreground a deadlock's victim.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sqlStateOf } from '../../src/platform/errors.ts';
import {
  ALL,
  applying,
  entry,
  FUTURE,
  keyed,
  keyOf,
  kv,
  kvShape,
  look,
  PAST,
  put,
  removal,
  row,
  withHarness,
} from './apply-port-fixtures.ts';
import type { MakeHarness } from './apply-port-harness.ts';

export function lockContract(make: MakeHarness): void {
  test(
    'everything waits for a row that is locked for update',
    withHarness(make, async (h) => {
      const foreground = await h.foreground();
      await foreground.insert(kv(1, 'local'));
      await foreground.insert(kv(2, 'local'));
      const shape = await kvShape(h);
      for (const way of ['upsert', 'remove', 'inspect'] as const) {
        await foreground.begin();
        await foreground.lock(1, 'update');
        const t = await h.port.begin('r1', FUTURE);
        const call =
          way === 'upsert'
            ? t.upsert(shape, [row(1, 'applied')], 'r1', ALL)
            : way === 'remove'
              ? t.remove(shape, [removal(1)], ALL)
              : t.inspect(shape, [keyed(1)]);
        await h.blocked('port');
        await foreground.commit();
        await call;
        await t.rollback();
      }
      assert.deepEqual(await h.rows(), [kv(1, 'local'), kv(2, 'local')]);
    }),
  );

  test(
    'a foreign key’s check on a row holds up its removal only',
    withHarness(make, async (h) => {
      const foreground = await h.foreground();
      await foreground.insert(kv(1, 'local'));
      await foreground.begin();
      await foreground.lock(1, 'key share');
      await applying(h, 'r1', FUTURE, async (t, shape) => {
        assert.deepEqual(await t.upsert(shape, [row(1, 'upserted')], 'r1', ALL), []);
      });
      await applying(h, 'r1', FUTURE, async (t, shape) => {
        assert.equal((await t.inspect(shape, [keyed(1)])).get(keyOf(1))?.image.v, 'upserted');
        await t.overwrite(shape, row(1, 'overwritten'));
      });
      assert.deepEqual(await h.rows(), [kv(1, 'overwritten')]);
      await applying(h, 'r1', FUTURE, async (t, shape) => {
        const call = t.remove(shape, [removal(1)], ALL);
        await h.blocked('port');
        await foreground.commit();
        assert.deepEqual(await call, ['removed']);
      });
      assert.deepEqual(await h.rows(), []);
    }),
  );

  test(
    'a foreign key’s check does not wait for an upsert, and a removal makes it wait',
    withHarness(make, async (h) => {
      const foreground = await h.foreground();
      await foreground.insert(kv(1, 'local'));
      await applying(h, 'r1', FUTURE, async (t, shape) => {
        await t.upsert(shape, [row(1, 'applied')], 'r1', ALL);
        await foreground.lock(1, 'key share');
      });
      const shape = await kvShape(h);
      const t = await h.port.begin('r1', FUTURE);
      await t.remove(shape, [removal(1)], ALL);
      const check = foreground.lock(1, 'key share');
      await h.blocked(foreground);
      await t.rollback();
      await check;
    }),
  );

  test(
    'a lock wait ends with 55P03, the transaction cannot commit, and nothing of it stays',
    withHarness(
      make,
      async (h) => {
        await put(h, 'r1', PAST, 1, 'one');
        const foreground = await h.foreground();
        await foreground.begin();
        await foreground.update(1, { v: 'local' });
        const shape = await kvShape(h);
        const t = await h.port.begin('r1', FUTURE);
        await t.putTombstones(shape, 'r1', [entry(5, 1n, 1)]);
        await t.putLooks([look(5)]);
        assert.deepEqual(await t.upsert(shape, [row(2, 'two')], 'r1', ALL), []);
        const call = t.upsert(shape, [row(1, 'applied')], 'r1', ALL);
        const failed = assert.rejects(call, (error) => sqlStateOf(error) === '55P03');
        await h.expireLockWait();
        await failed;
        await assert.rejects(t.upsert(shape, [row(3, 'three')], 'r1', ALL));
        await assert.rejects(t.commit(), { code: 'SYN-A002' });
        await t.rollback();
        await foreground.commit();
        assert.deepEqual(await h.rows(), [kv(1, 'local')]);
        assert.deepEqual(await h.port.ripeLooks(10), []);
        await put(h, 'r2', FUTURE, 3, 'three');
        assert.deepEqual(await h.rows(), [kv(1, 'local'), kv(3, 'three')]);
      },
      { lockWaits: 'short' },
    ),
  );

  test(
    'in a deadlock with the foreground the port gives way',
    withHarness(
      make,
      async (h) => {
        const foreground = await h.foreground();
        await foreground.insert(kv(1, 'local'));
        await foreground.insert(kv(2, 'local'));
        const shape = await kvShape(h);
        await foreground.begin();
        await foreground.update(1, { v: 'foreground' });
        const t = await h.port.begin('r1', FUTURE);
        await t.upsert(shape, [row(2, 'applied')], 'r1', ALL);
        const update = foreground.update(2, { v: 'foreground' });
        await h.blocked(foreground);
        const call = t.upsert(shape, [row(1, 'applied')], 'r1', ALL);
        const failed = assert.rejects(call, (error) => ['55P03', '40P01'].includes(sqlStateOf(error) ?? ''));
        await h.expireLockWait();
        await failed;
        await t.rollback();
        assert.equal(await update, 1);
        await foreground.commit();
        assert.deepEqual(await h.rows(), [kv(1, 'foreground'), kv(2, 'foreground')]);
      },
      { lockWaits: 'short' },
    ),
  );
}
