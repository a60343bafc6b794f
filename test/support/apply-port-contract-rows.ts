// Contract of the apply port, part 1: what each method does to rows when nobody else is there.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { UpsertRow } from '../../src/apply/apply-port.ts';
import { hlcFromMicros } from '../../src/change/hlc.ts';
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
  NONE,
  PAST,
  pkOf,
  put,
  removal,
  row,
  stampOf,
  trying,
  withHarness,
} from './apply-port-fixtures.ts';
import type { MakeHarness } from './apply-port-harness.ts';

export function rowContract(make: MakeHarness): void {
  test(
    'a shape tells key and columns, and there is none for a table that does not exist',
    withHarness(make, async (h) => {
      const shape = await kvShape(h);
      assert.equal(shape.id, '"public"."kv"');
      assert.deepEqual([shape.schema, shape.table, shape.keyNeedsDatabase], ['public', 'kv', false]);
      assert.deepEqual([...shape.key], ['id']);
      assert.deepEqual([...shape.columns], ['id', 'v', 'u']);
      assert.equal(await h.port.shape('public', 'nothing'), null);
      h.port.forgetShapes();
      assert.deepEqual((await kvShape(h)).id, shape.id);
      const keys = await trying(h, 'r1', (t) => t.canonicalKeys(shape, [pkOf(2), pkOf(1)]));
      assert.deepEqual(keys, [keyOf(2), keyOf(1)]);
    }),
  );

  test(
    'an upsert inserts and updates, and shows once it is committed',
    withHarness(make, async (h) => {
      const foreground = await h.foreground();
      await foreground.insert(kv(1, 'local'));
      await applying(h, 'r1', FUTURE, async (t, shape) => {
        assert.deepEqual(await t.upsert(shape, [row(2, 'two'), row(1, 'one')], 'r1', ALL), []);
        assert.deepEqual(await h.rows(), [kv(1, 'local')]);
      });
      assert.deepEqual(await h.rows(), [kv(1, 'one'), kv(2, 'two')]);
    }),
  );

  test(
    'tuples carry the stamp and the origin of their transaction, and local ones their own',
    withHarness(make, async (h) => {
      const foreground = await h.foreground();
      await foreground.insert(kv(1, 'local'));
      await put(h, 'r1', PAST, 2, 'r1');
      await put(h, 'r2', FUTURE, 3, 'r2');
      await put(h, 'home', PAST + 1n, 4, 'echo');
      await trying(h, 'r3', (t, shape) => t.upsert(shape, [row(5, 'undone')], 'r3', ALL));
      await put(h, 'r1', PAST + 2n, 5, 'after a rollback');
      const facts = await Promise.all(
        [2, 3, 4, 5].map(async (id) => {
          const tuple = await h.tuple(id);
          return [tuple?.stampMicros, tuple?.writer, tuple?.local];
        }),
      );
      assert.deepEqual(facts, [
        [PAST, 'r1', false],
        [FUTURE, 'r2', false],
        [PAST + 1n, 'home', false],
        [PAST + 2n, 'r1', false],
      ]);
      const local = await h.tuple(1);
      assert.equal(local?.local, true);
      assert.equal(local?.writer, 'home');
      assert.ok((local?.stampMicros ?? 0n) > PAST);
    }),
  );

  test(
    'columns that an image lacks keep their value, or take their default',
    withHarness(make, async (h) => {
      const foreground = await h.foreground();
      await foreground.insert(kv(1, 'v', 'u'));
      await applying(h, 'r1', FUTURE, async (t, shape) => {
        const rows = [
          { ...row(1, ''), image: { id: '1', v: 'new' } },
          { ...row(2, ''), image: { id: '2', u: 'two' } },
          { ...row(3, ''), image: { id: '3' } },
          { ...row(4, ''), image: { id: '4', v: '', u: null } },
        ];
        assert.deepEqual(await t.upsert(shape, rows, 'r1', ALL), []);
      });
      assert.deepEqual(await h.rows(), [kv(1, 'new', 'u'), kv(2, null, 'two'), kv(3, null), kv(4, '')]);
    }),
  );

  test(
    'a column that the table lacks is a data fault, and so is a value that a constraint refuses',
    withHarness(make, async (h) => {
      await put(h, 'r1', PAST, 1, 'one');
      const strange = { ...row(2, ''), image: { id: '2', other: 'x' } };
      await assert.rejects(
        trying(h, 'r1', (t, shape) => t.upsert(shape, [strange], 'r1', ALL)),
        { code: 'SYN-A003' },
      );
      const failed = trying(h, 'r1', (t, shape) =>
        t.upsert(shape, [row(1, 'a', FUTURE_HLC, 'same'), row(2, 'b', FUTURE_HLC, 'same')], 'r1', ALL),
      );
      await assert.rejects(failed, (error) => sqlStateOf(error) === '23505');
      assert.deepEqual(await h.rows(), [kv(1, 'one')]);
    }),
  );

  test(
    'a transaction may replace and remove what it wrote itself, whatever the guard',
    withHarness(make, async (h) => {
      await applying(h, 'r1', PAST, async (t, shape) => {
        assert.deepEqual(await t.upsert(shape, [row(1, 'a'), row(2, 'a')], 'r1', NONE), []);
        assert.deepEqual(await t.upsert(shape, [row(2, 'b'), row(1, 'b')], 'r1', NONE), []);
        assert.deepEqual(await t.remove(shape, [removal(2)], NONE), ['removed']);
        const tuple = (await t.inspect(shape, [keyed(1)])).get(keyOf(1));
        assert.deepEqual([tuple?.own, tuple?.local, tuple?.writer, tuple?.stampMicros], [true, false, 'r1', null]);
      });
      assert.deepEqual(await h.rows(), [kv(1, 'b')]);
    }),
  );

  test(
    'calls that are sent without awaiting each other run in their order',
    withHarness(make, async (h) => {
      await put(h, 'r1', PAST, 1, 'one');
      await applying(h, 'r1', PAST, async (t, shape) => {
        const calls = [
          t.upsert(shape, [row(1, 'first')], 'r1', ALL),
          t.remove(shape, [removal(1)], ALL),
          t.upsert(shape, [row(1, 'second')], 'r1', ALL),
        ] as const;
        assert.deepEqual(await Promise.all(calls), [[], ['removed'], []]);
      });
      assert.deepEqual(await h.rows(), [kv(1, 'second')]);
    }),
  );

  test(
    'a removal tells what it removed, what was absent and what it kept',
    withHarness(make, async (h) => {
      const foreground = await h.foreground();
      await foreground.insert(kv(1, 'local'));
      await put(h, 'r1', PAST, 2, 'r1');
      await put(h, 'r2', PAST, 3, 'r2');
      await applying(h, 'r1', FUTURE, async (t, shape) => {
        const rows = [removal(4), removal(3), removal(2), removal(1)];
        const outcomes = await t.remove(shape, rows, { r1: 'always', home: FUTURE });
        assert.deepEqual(outcomes, ['absent', 'kept', 'removed', 'removed']);
      });
      assert.deepEqual(await h.rows(), [kv(3, 'r2')]);
    }),
  );

  test(
    'the removal of all rows returns those left that may still be older',
    withHarness(
      make,
      async (h) => {
        await put(h, 'r1', PAST, 1, 'same stream');
        await put(h, 'r2', PAST, 2, 'kept by the guard');
        await put(h, 'r2', FUTURE + 5n, 3, 'stamped later, but a stamp may overstate');
        const foreground = await h.foreground();
        await foreground.insert(kv(4, 'local, older'));
        const shape = await kvShape(h);
        await applying(h, 'r1', FUTURE, async (t) => {
          const { removed, left } = await t.removeAll(shape, FUTURE_HLC, { r1: 'always' });
          assert.equal(removed, 1);
          const sorted = [...left].sort((a, b) => (a.key < b.key ? -1 : 1));
          assert.deepEqual(sorted, [keyed(2), keyed(3), keyed(4), keyed(9)]);
        });
        await applying(h, 'r1', PAST, async (t) => {
          const { removed, left } = await t.removeAll(shape, hlcFromMicros(PAST), { r2: FUTURE });
          assert.equal(removed, 0);
          const sorted = [...left].sort((a, b) => (a.key < b.key ? -1 : 1));
          assert.deepEqual(sorted, [keyed(2), keyed(3), keyed(9)]);
        });
        const stamp = hlcFromMicros(await stampOf(h, 4));
        for (const [hlc, isLeft] of [
          [stamp - 1n, false],
          [stamp, true],
          [stamp + 1n, true],
        ] as const) {
          const { left } = await trying(h, 'r1', (t) => t.removeAll(shape, hlc, {}));
          assert.equal(
            left.some(({ key }) => key === keyOf(4)),
            isLeft,
            'of equal stamps the origins decide',
          );
        }
        assert.deepEqual(
          (await h.rows()).map((each) => each.id),
          [2, 3, 4, 9],
        );
      },
      { lockWaits: 'long', unstamped: true },
    ),
  );

  test(
    'inspection tells who wrote a row, when, and what it holds',
    withHarness(
      make,
      async (h) => {
        const foreground = await h.foreground();
        await foreground.insert(kv(1, null, 'u'));
        await put(h, 'r1', PAST, 2, 'applied');
        await put(h, 'home', PAST + 7n, 3, 'echo');
        const committed = [await h.tuple(1), await h.tuple(2), await h.tuple(3), await h.tuple(9)];
        await trying(h, 'r1', async (t, shape) => {
          const wanted = [9, 3, 5, 1, 2].map((id) => keyed(id));
          const found = await t.inspect(shape, wanted);
          assert.deepEqual([...found.keys()].sort(), [keyOf(1), keyOf(2), keyOf(3), keyOf(9)]);
          const images = [1, 2, 3, 9].map((id) => found.get(keyOf(id))?.image);
          assert.deepEqual(images, [
            { id: '1', v: null, u: 'u' },
            { id: '2', v: 'applied', u: null },
            { id: '3', v: 'echo', u: null },
            { id: '9', v: 'unstamped', u: null },
          ]);
          for (const [place, id] of [1, 2, 3, 9].entries()) {
            const {
              image: _,
              own,
              forgotten: __,
              ...facts
            } = found.get(keyOf(id)) ?? assert.fail(`row ${id} is there`);
            assert.deepEqual({ own, ...facts }, { own: false, ...committed[place] });
          }
        });
        assert.deepEqual([committed[3]?.stampMicros, committed[3]?.local], [null, true]);
      },
      { lockWaits: 'long', unstamped: true },
    ),
  );

  test(
    'rows that were inspected are overwritten, erased and inserted whatever the guards say',
    withHarness(make, async (h) => {
      const foreground = await h.foreground();
      await foreground.insert(kv(1, 'local', 'u'));
      await foreground.insert(kv(2, 'local'));
      await applying(h, 'r1', PAST, async (t, shape) => {
        const found = await t.inspect(shape, [keyed(1), keyed(2), keyed(3)]);
        assert.deepEqual([...found.keys()].sort(), [keyOf(1), keyOf(2)]);
        await t.overwrite(shape, { ...row(1, ''), image: { id: '1', v: 'over' } });
        await t.erase(shape, keyed(2));
        assert.equal(await t.insert(shape, row(3, 'new')), true);
      });
      assert.deepEqual(await h.rows(), [kv(1, 'over', 'u'), kv(3, 'new')]);
      assert.deepEqual([(await h.tuple(1))?.writer, (await h.tuple(1))?.stampMicros], ['r1', PAST]);
    }),
  );

  test(
    'rows that were inspected are overwritten together, with columns of their own each',
    withHarness(make, async (h) => {
      const foreground = await h.foreground();
      for (const id of [1, 2, 3]) await foreground.insert(kv(id, 'local', `u${id}`));
      await applying(h, 'r1', PAST, async (t, shape) => {
        await t.inspect(shape, [keyed(1), keyed(2), keyed(3)]);
        const over = (id: number, v: string): UpsertRow => ({ ...row(id, ''), image: { id: String(id), v } });
        await t.overwriteAll(shape, [over(3, 'c'), { ...row(1, ''), image: { id: '1' } }, over(2, 'b')]);
      });
      assert.deepEqual(await h.rows(), [kv(1, 'local', 'u1'), kv(2, 'b', 'u2'), kv(3, 'c', 'u3')]);
      for (const id of [1, 2, 3]) assert.deepEqual((await h.tuple(id))?.writer, 'r1');
    }),
  );

  test(
    'nothing of a rolled back transaction stays, and the port goes on',
    withHarness(make, async (h) => {
      await put(h, 'r1', PAST, 1, 'one');
      await trying(h, 'r2', async (t, shape) => {
        await t.upsert(shape, [row(1, 'x'), row(2, 'x')], 'r2', ALL);
        await t.remove(shape, [removal(1)], ALL);
        await t.insert(shape, row(3, 'x'));
      });
      assert.deepEqual(await h.rows(), [kv(1, 'one')]);
      await put(h, 'r2', FUTURE, 4, 'four');
      assert.deepEqual(await h.rows(), [kv(1, 'one'), kv(4, 'four')]);
    }),
  );
}
