// Contract of the apply port, part 3: the foreground is at work on the same rows. A statement that
// meets a row which an open transaction has changed waits for its end, and judges what it finds then.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sqlStateOf } from '../../src/platform/errors.ts';
import {
  ALL,
  applying,
  FUTURE,
  FUTURE_HLC,
  keyed,
  keyOf,
  kv,
  kvShape,
  PAST,
  put,
  removal,
  row,
  stampOf,
  withHarness,
} from './apply-port-fixtures.ts';
import type { ApplyPortHarness, Foreground, MakeHarness } from './apply-port-harness.ts';

/** A row of the foreground and a guard that admits just this tuple of it. */
async function localRow(h: ApplyPortHarness): Promise<{ foreground: Foreground; guard: { home: bigint } }> {
  const foreground = await h.foreground();
  await foreground.insert(kv(1, 'first'));
  return { foreground, guard: { home: await stampOf(h, 1) } };
}

export function interleavingContract(make: MakeHarness): void {
  test(
    'an upsert waits for a foreground update and leaves the newer tuple',
    withHarness(make, async (h) => {
      const { foreground, guard } = await localRow(h);
      await foreground.begin();
      await foreground.update(1, { v: 'second' });
      await applying(h, 'r1', FUTURE, async (t, shape) => {
        const call = t.upsert(shape, [row(1, 'applied'), row(2, 'applied')], 'r1', guard);
        await h.blocked('port');
        await foreground.commit();
        assert.deepEqual(await call, [0]);
        const tuple = (await t.inspect(shape, [keyed(1)])).get(keyOf(1));
        assert.deepEqual([tuple?.image.v, tuple?.local], ['second', true]);
      });
      assert.deepEqual(await h.rows(), [kv(1, 'second'), kv(2, 'applied')]);
    }),
  );

  test(
    'an upsert waits for a foreground update and replaces the newer tuple where the guard admits it',
    withHarness(make, async (h) => {
      const { foreground } = await localRow(h);
      await foreground.begin();
      await foreground.update(1, { v: 'second', u: 'kept' });
      await applying(h, 'r1', FUTURE, async (t, shape) => {
        const call = t.upsert(shape, [{ ...row(1, ''), image: { id: '1', v: 'applied' } }], 'r1', { home: FUTURE });
        await h.blocked('port');
        await foreground.commit();
        assert.deepEqual(await call, []);
      });
      assert.deepEqual(await h.rows(), [kv(1, 'applied', 'kept')]);
    }),
  );

  test(
    'an updater that rolls back leaves the older tuple to be judged',
    withHarness(make, async (h) => {
      const { foreground, guard } = await localRow(h);
      await foreground.begin();
      await foreground.update(1, { v: 'second' });
      await applying(h, 'r1', FUTURE, async (t, shape) => {
        const call = t.upsert(shape, [row(1, 'applied')], 'r1', guard);
        await h.blocked('port');
        await foreground.rollback();
        assert.deepEqual(await call, []);
      });
      assert.deepEqual(await h.rows(), [kv(1, 'applied')]);
    }),
  );

  test(
    'tuples of subtransactions carry the stamp of the whole, and what a savepoint took back is gone',
    withHarness(make, async (h) => {
      const { foreground, guard } = await localRow(h);
      await foreground.insert(kv(2, 'first'));
      const both = { home: await stampOf(h, 2) };
      await foreground.begin();
      await foreground.savepoint('a');
      await foreground.update(1, { v: 'kept' });
      await foreground.savepoint('b');
      await foreground.update(1, { v: 'taken back' });
      await foreground.update(2, { v: 'taken back' });
      await foreground.rollbackTo('b');
      await applying(h, 'r1', FUTURE, async (t, shape) => {
        const call = t.upsert(shape, [row(1, 'applied'), row(2, 'applied')], 'r1', both);
        await h.blocked('port');
        await foreground.commit();
        assert.deepEqual(await call, [0]);
      });
      assert.deepEqual(await h.rows(), [kv(1, 'kept'), kv(2, 'applied')]);
      const tuple = await h.tuple(1);
      assert.equal(tuple?.local, true);
      assert.ok((tuple?.stampMicros ?? 0n) > guard.home);
      await applying(h, 'r1', FUTURE, async (t, shape) => {
        const at = { home: tuple?.stampMicros ?? 0n };
        assert.deepEqual(await t.upsert(shape, [row(1, 'applied')], 'r1', at), []);
      });
    }),
  );

  // A row that appears while the statement waits is left to be looked at, whatever the guard.
  for (const [end, guard, untouched, left] of [
    ['commit', { home: 'never' }, [0], kv(1, 'local')],
    ['commit', { home: 'always' }, [0], kv(1, 'local')],
    ['rollback', { home: 'never' }, [], kv(1, 'applied')],
  ] as const) {
    test(
      `an upsert waits for a foreground insert of its key: ${end}, local ${guard.home}`,
      withHarness(make, async (h) => {
        const foreground = await h.foreground();
        await foreground.begin();
        await foreground.insert(kv(1, 'local'));
        await applying(h, 'r1', FUTURE, async (t, shape) => {
          const call = t.upsert(shape, [row(1, 'applied')], 'r1', guard);
          await h.blocked('port');
          await foreground[end]();
          assert.deepEqual(await call, untouched);
        });
        assert.deepEqual(await h.rows(), [left]);
      }),
    );
  }

  for (const [end, inserted] of [
    ['commit', false],
    ['rollback', true],
  ] as const) {
    test(
      `an insert waits for a foreground insert of its key: ${end}`,
      withHarness(make, async (h) => {
        const foreground = await h.foreground();
        await foreground.begin();
        await foreground.insert(kv(1, 'local'));
        await applying(h, 'r1', FUTURE, async (t, shape) => {
          assert.equal((await t.inspect(shape, [keyed(1)])).size, 0);
          const call = t.insert(shape, row(1, 'applied'));
          await h.blocked('port');
          await foreground[end]();
          assert.equal(await call, inserted);
        });
        assert.deepEqual(await h.rows(), [kv(1, inserted ? 'applied' : 'local')]);
      }),
    );
  }

  test(
    'an insert finds that the foreground was quicker, and can look again',
    withHarness(make, async (h) => {
      const foreground = await h.foreground();
      await applying(h, 'r1', FUTURE, async (t, shape) => {
        assert.equal((await t.inspect(shape, [keyed(1)])).size, 0);
        await foreground.insert(kv(1, 'local'));
        assert.equal(await t.insert(shape, row(1, 'applied')), false);
        const tuple = (await t.inspect(shape, [keyed(1)])).get(keyOf(1));
        assert.deepEqual([tuple?.local, tuple?.image.v], [true, 'local']);
        await t.overwrite(shape, row(1, 'applied'));
      });
      assert.deepEqual(await h.rows(), [kv(1, 'applied')]);
    }),
  );

  for (const [end, outcome, left] of [
    ['commit', 'absent', []],
    ['rollback', 'removed', []],
  ] as const) {
    test(
      `upsert and removal wait for a foreground delete: ${end}`,
      withHarness(make, async (h) => {
        const { foreground } = await localRow(h);
        await foreground.begin();
        await foreground.delete(1);
        await applying(h, 'r1', FUTURE, async (t, shape) => {
          const call = t.remove(shape, [removal(1)], ALL);
          await h.blocked('port');
          await foreground[end]();
          assert.deepEqual(await call, [outcome]);
        });
        assert.deepEqual(await h.rows(), left);

        await foreground.insert(kv(2, 'local'));
        await foreground.begin();
        await foreground.delete(2);
        await applying(h, 'r1', FUTURE, async (t, shape) => {
          const call = t.upsert(shape, [row(2, 'applied')], 'r1', ALL);
          await h.blocked('port');
          await foreground[end]();
          assert.deepEqual(await call, []);
        });
        assert.deepEqual(await h.rows(), [kv(2, 'applied')]);
      }),
    );
  }

  test(
    'a removal waits for a foreground update and keeps the newer tuple',
    withHarness(make, async (h) => {
      const { foreground, guard } = await localRow(h);
      await foreground.begin();
      await foreground.update(1, { v: 'second' });
      await applying(h, 'r1', FUTURE, async (t, shape) => {
        const call = t.remove(shape, [removal(2), removal(1)], guard);
        await h.blocked('port');
        await foreground.commit();
        assert.deepEqual(await call, ['absent', 'kept']);
      });
      assert.deepEqual(await h.rows(), [kv(1, 'second')]);
    }),
  );

  test(
    'removals do not see, and do not wait for, rows that the foreground is inserting',
    withHarness(make, async (h) => {
      const { foreground } = await localRow(h);
      await foreground.begin();
      await foreground.insert(kv(2, 'in progress'));
      await applying(h, 'r1', FUTURE, async (t, shape) => {
        assert.deepEqual(await t.remove(shape, [removal(2)], ALL), ['absent']);
        assert.deepEqual(await t.removeAll(shape, FUTURE_HLC, ALL), { removed: 1, left: [] });
        assert.equal((await t.inspect(shape, [keyed(2)])).size, 0);
      });
      await foreground.commit();
      assert.deepEqual(await h.rows(), [kv(2, 'in progress')]);
    }),
  );

  test(
    'the removal of all rows waits for a foreground update and leaves the newer tuple',
    withHarness(make, async (h) => {
      const { foreground, guard } = await localRow(h);
      await foreground.begin();
      await foreground.update(1, { v: 'second' });
      await applying(h, 'r1', FUTURE, async (t, shape) => {
        const call = t.removeAll(shape, FUTURE_HLC, guard);
        await h.blocked('port');
        await foreground.commit();
        assert.deepEqual(await call, { removed: 0, left: [keyed(1)] });
      });
      assert.deepEqual(await h.rows(), [kv(1, 'second')]);
    }),
  );

  test(
    'an inspection waits for a foreground update and tells the newer tuple',
    withHarness(make, async (h) => {
      const { foreground } = await localRow(h);
      await put(h, 'r1', PAST, 2, 'applied');
      const writer = await h.foreground();
      await foreground.begin();
      await foreground.update(1, { v: 'second' });
      await writer.begin();
      await writer.delete(2);
      await applying(h, 'r2', FUTURE, async (t, shape) => {
        const call = t.inspect(shape, [keyed(1), keyed(2)]);
        await h.blocked('port');
        await foreground.commit();
        await writer.commit();
        const found = await call;
        assert.deepEqual([...found.keys()], [keyOf(1)]);
        const { image, own, ...facts } = found.get(keyOf(1)) ?? assert.fail('row 1 is there');
        assert.deepEqual([image.v, own], ['second', false]);
        assert.deepEqual(facts, await h.tuple(1));
      });
    }),
  );

  test(
    'a row that moves to another key while an upsert waits is inserted anew',
    withHarness(make, async (h) => {
      const { foreground } = await localRow(h);
      await foreground.begin();
      await foreground.changeKey(1, 7);
      await applying(h, 'r1', FUTURE, async (t, shape) => {
        const call = t.upsert(shape, [row(1, 'applied')], 'r1', ALL);
        await h.blocked('port');
        await foreground.commit();
        assert.deepEqual(await call, []);
      });
      assert.deepEqual(await h.rows(), [kv(1, 'applied'), kv(7, 'first')]);
    }),
  );

  for (const end of ['commit', 'rollback'] as const) {
    test(
      `an upsert waits for a foreground row with the same unique value: ${end}`,
      withHarness(make, async (h) => {
        const foreground = await h.foreground();
        await foreground.begin();
        await foreground.insert(kv(2, 'local', 'same'));
        const work = applying(h, 'r1', FUTURE, async (t, shape) => {
          const call = t.upsert(shape, [row(1, 'applied', FUTURE_HLC, 'same')], 'r1', ALL);
          // It may be rejected before the foreground hears that its own statement is done.
          call.catch(() => undefined);
          await h.blocked('port');
          await foreground[end]();
          assert.deepEqual(await call, []);
        });
        if (end === 'rollback') await work;
        else await assert.rejects(work, (error) => sqlStateOf(error) === '23505');
        assert.deepEqual(await h.rows(), [end === 'rollback' ? kv(1, 'applied', 'same') : kv(2, 'local', 'same')]);
      }),
    );
  }

  test(
    'the foreground waits for a batch, then writes over it',
    withHarness(make, async (h) => {
      const { foreground } = await localRow(h);
      const shape = await kvShape(h);
      const t = await h.port.begin('r1', FUTURE);
      await t.upsert(shape, [row(1, 'applied'), row(2, 'applied')], 'r1', ALL);
      const update = foreground.update(1, { v: 'local' });
      await h.blocked(foreground);
      const other = await h.foreground();
      const insertion = assert.rejects(other.insert(kv(2, 'local')), (error) => sqlStateOf(error) === '23505');
      await h.blocked(other);
      await t.commit();
      assert.equal(await update, 1);
      await insertion;
      assert.deepEqual(await h.rows(), [kv(1, 'local'), kv(2, 'applied')]);
      assert.deepEqual([(await h.tuple(1))?.local, (await h.tuple(2))?.local], [true, false]);
    }),
  );

  test(
    'a foreground TRUNCATE waits for a batch and takes what it wrote',
    withHarness(make, async (h) => {
      const foreground = await h.foreground();
      const shape = await kvShape(h);
      const t = await h.port.begin('r1', FUTURE);
      await t.upsert(shape, [row(1, 'applied')], 'r1', ALL);
      const truncate = foreground.truncate();
      await h.blocked(foreground);
      await t.commit();
      await truncate;
      assert.deepEqual(await h.rows(), []);
    }),
  );
}
