// Contract of the apply port, part 2: which tuples a guard admits, and what tombstones hold off.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EVERY_ROW, type Guard, type GuardRule } from '../../src/apply/apply-port.ts';
import { type Hlc, hlcFromMicros } from '../../src/change/hlc.ts';
import {
  ALL,
  applying,
  at,
  entry,
  FUTURE,
  FUTURE_HLC,
  idOf,
  keyed,
  keyOf,
  kv,
  kvShape,
  PAST,
  PAST_HLC,
  put,
  removal,
  row,
  stampOf,
  trying,
  withHarness,
} from './apply-port-fixtures.ts';
import type { ApplyPortHarness, MakeHarness } from './apply-port-harness.ts';

type GuardCase = { readonly rule: GuardRule | undefined; readonly hlc: Hlc; readonly admits: boolean };

/** Another tool inserts a row. */
async function asTool(h: ApplyPortHarness, id: number, stampMicros: bigint): Promise<void> {
  const tool = await h.foreground();
  await tool.begin();
  await tool.foreignOrigin(stampMicros);
  await tool.insert(kv(id, 'tool'));
  await tool.commit();
}

/** Every rule around a tuple with this stamp. */
function casesAround(stamp: bigint): GuardCase[] {
  const exact = hlcFromMicros(stamp);
  const later = hlcFromMicros(stamp + 1n);
  return [
    { rule: undefined, hlc: FUTURE_HLC * 2n, admits: false },
    { rule: 'never', hlc: FUTURE_HLC * 2n, admits: false },
    { rule: 'always', hlc: 1n, admits: true },
    { rule: 'always', hlc: FUTURE_HLC * 2n, admits: true },
    // Not above the number.
    { rule: stamp, hlc: later, admits: true },
    { rule: stamp + 1n, hlc: later, admits: true },
    { rule: stamp - 1n, hlc: later, admits: false },
    { rule: 0n, hlc: later, admits: false },
    // Below the event.
    { rule: stamp, hlc: exact + 1n, admits: true },
    { rule: stamp, hlc: exact, admits: false },
    { rule: FUTURE * 2n, hlc: exact, admits: false },
    { rule: FUTURE * 2n, hlc: exact - 1n, admits: false },
    { rule: FUTURE * 2n, hlc: hlcFromMicros(stamp - 1n), admits: false },
  ];
}

async function checkCases(h: ApplyPortHarness, id: number, writer: string, cases: readonly GuardCase[]): Promise<void> {
  for (const { rule, hlc, admits } of cases) {
    const others = Object.fromEntries(['home', 'r1', 'r2'].map((name) => [name, admits ? 'never' : 'always'] as const));
    const { [writer]: _, ...rest } = others;
    const guard: Guard = rule === undefined ? rest : { ...rest, [writer]: rule };
    const what = `${writer} ${String(rule)} ${hlc}`;
    await trying(h, 'r1', async (t, shape) => {
      assert.deepEqual(await t.upsert(shape, [row(id, 'new', hlc)], 'r1', guard), admits ? [] : [0], `upsert ${what}`);
    });
    await trying(h, 'r1', async (t, shape) => {
      const outcomes = await t.remove(shape, [removal(id, hlc)], guard);
      assert.deepEqual(outcomes, [admits ? 'removed' : 'kept'], `remove ${what}`);
    });
    await trying(h, 'r1', async (t, shape) => {
      assert.equal((await t.removeAll(shape, hlc, guard)).removed, admits ? 1 : 0, `remove all ${what}`);
    });
  }
}

export function guardContract(make: MakeHarness): void {
  test(
    "another tool's tuple is a local one that says so, whatever stamp the tool gave it",
    withHarness(make, async (h) => {
      for (const [id, stamp] of [PAST, FUTURE].entries()) await asTool(h, id + 1, stamp);
      const own = await h.foreground();
      await own.insert(kv(3, 'own'));
      await trying(h, 'r1', async (t, shape) => {
        const found = await t.inspect(shape, [keyed(1), keyed(2), keyed(3)]);
        const told = [1, 2, 3].map((id) => {
          const tuple = found.get(keyOf(id));
          return [tuple?.writer, tuple?.local, tuple?.foreign];
        });
        assert.deepEqual(told, [
          ['home', true, true],
          ['home', true, true],
          ['home', true, false],
        ]);
        const { left } = await t.removeAll(shape, PAST_HLC, { home: 'never' });
        assert.deepEqual(left.map(({ key }) => key).sort(), [keyOf(1), keyOf(2)], 'its stamp does not speak for it');
      });
    }),
  );

  test(
    'a local tuple from before the stream began tells no stamp, whoever wrote it, and one written since does',
    withHarness(make, async (h) => {
      await asTool(h, 1, FUTURE);
      const own = await h.foreground();
      await own.insert(kv(2, 'before'));
      await own.begin();
      await own.savepoint('s');
      await own.insert(kv(3, 'before, in a subtransaction'));
      await own.commit();
      await put(h, 'r1', PAST, 4, 'applied');
      const open = await h.foreground();
      await open.begin();
      await open.insert(kv(5, 'in progress'));
      await h.beginStream();
      await open.commit();
      await own.insert(kv(6, 'since'));
      await trying(h, 'r1', async (t, shape) => {
        const found = await t.inspect(shape, [1, 2, 3, 4, 5, 6].map(keyed));
        const told = [...found.values()].map(({ stampMicros, local, foreign }) => [
          stampMicros !== null,
          local,
          foreign,
        ]);
        assert.deepEqual(told, [
          [false, true, false],
          [false, true, false],
          [false, true, false],
          [true, false, false],
          [true, true, false],
          [true, true, false],
        ]);
        const { left } = await t.removeAll(shape, PAST_HLC, { home: 'never' });
        const keys = left.map(({ key }) => key).sort();
        assert.deepEqual(keys, [1, 2, 3, 4].map(keyOf), 'what was written since is later');
      });
    }),
  );

  for (const writer of ['r1', 'r2', 'home']) {
    test(
      `every rule, on a tuple that was applied for ${writer}`,
      withHarness(make, async (h) => {
        await put(h, writer, PAST, 1, 'applied');
        await checkCases(h, 1, writer, casesAround(PAST));
      }),
    );
  }

  test(
    'every rule, on a tuple of the foreground',
    withHarness(make, async (h) => {
      const foreground = await h.foreground();
      await foreground.insert(kv(1, 'local'));
      await checkCases(h, 1, 'home', casesAround(await stampOf(h, 1)));
    }),
  );

  test(
    'a tuple without a stamp is below everything, and a local one',
    withHarness(
      make,
      (h) =>
        checkCases(h, 9, 'home', [
          { rule: undefined, hlc: FUTURE_HLC, admits: false },
          { rule: 'never', hlc: FUTURE_HLC, admits: false },
          { rule: 'always', hlc: 1n, admits: true },
          { rule: 0n, hlc: hlcFromMicros(1n), admits: true },
          { rule: FUTURE, hlc: PAST_HLC, admits: true },
        ]),
      { lockWaits: 'long', unstamped: true },
    ),
  );

  test(
    'the rows left untouched are told by their places',
    withHarness(make, async (h) => {
      await put(h, 'r1', PAST, 1, 'r1');
      await put(h, 'r2', PAST, 2, 'r2');
      await put(h, 'r2', PAST, 3, 'r2');
      await applying(h, 'r1', FUTURE, async (t, shape) => {
        const rows = [row(3, 'new'), row(1, 'new'), { ...row(2, 'new'), image: { id: '2', v: 'new' } }, row(4, 'new')];
        const untouched = await t.upsert(shape, rows, 'r1', { r1: 'always' });
        assert.deepEqual(
          untouched.toSorted((a, b) => a - b),
          [0, 2],
        );
      });
      assert.deepEqual(await h.rows(), [kv(1, 'new'), kv(2, 'r2'), kv(3, 'r2'), kv(4, 'new')]);
    }),
  );

  test(
    'a higher tombstone holds a row off, a lower or equal one does not',
    withHarness(make, async (h) => {
      const cases: [id: number, hlc: Hlc, origin: string, untouched: boolean][] = [
        [1, FUTURE_HLC - 1n, 'r3', true],
        [2, FUTURE_HLC, 'r1', true],
        [3, FUTURE_HLC, 'r2', false],
        [4, FUTURE_HLC, 'r3', false],
        [5, FUTURE_HLC + 1n, 'r1', false],
      ];
      await applying(h, 'r2', FUTURE, async (t, shape) => {
        const entries = cases.map(([id]) => entry(id, FUTURE_HLC, id));
        await t.putTombstones(shape, 'r2', entries);
      });
      for (const [id, hlc, origin, untouched] of cases) {
        await trying(h, origin, async (t, shape) => {
          assert.deepEqual(await t.upsert(shape, [row(id, 'x', hlc)], origin, ALL), untouched ? [0] : [], `row ${id}`);
        });
      }
    }),
  );

  test(
    'a tombstone holds off an upsert also where a row is there, and one of the table holds off all',
    withHarness(make, async (h) => {
      await put(h, 'r1', PAST, 1, 'there');
      await put(h, 'r1', PAST, 2, 'there');
      await trying(h, 'r1', async (t, shape) => {
        await t.putTombstones(shape, 'r1', [entry(1, FUTURE_HLC, 1)]);
        assert.deepEqual(await t.upsert(shape, [row(1, 'x', PAST_HLC), row(2, 'x', PAST_HLC)], 'r1', ALL), [0]);
      });
      await trying(h, 'r1', async (t, shape) => {
        await t.putTombstones(shape, 'r1', [{ ...entry(1, FUTURE_HLC, 1), key: EVERY_ROW }]);
        const rows = [row(1, 'x', PAST_HLC), row(2, 'x', FUTURE_HLC + 1n), row(3, 'x', PAST_HLC)];
        assert.deepEqual(
          (await t.upsert(shape, rows, 'r1', ALL)).toSorted((a, b) => a - b),
          [0, 2],
        );
      });
    }),
  );

  test(
    'the highest tombstone stays, and the one that covers a key is its own or the table’s',
    withHarness(make, async (h) => {
      await applying(h, 'r1', PAST, async (t, shape) => {
        await t.putTombstones(shape, 'r1', [entry(1, PAST_HLC + 5n, 5), entry(2, PAST_HLC + 9n, 9)]);
        await t.putTombstones(shape, 'r1', [entry(1, PAST_HLC + 4n, 4), entry(2, PAST_HLC + 10n, 10)]);
        await t.putTombstones(shape, 'r2', [entry(1, PAST_HLC + 5n, 6)]);
        await t.putTombstones(shape, 'r1', [{ ...entry(1, PAST_HLC + 7n, 7), key: EVERY_ROW }]);
      });
      const shape = await kvShape(h);
      const found = await trying(h, 'r1', (t) => t.tombstones(shape, [keyOf(1), keyOf(2), keyOf(3)]));
      const all = { hlc: PAST_HLC + 7n, origin: 'r1', position: at(7), event_id: idOf(7) };
      assert.equal(found.size, 3);
      const told = [1, 2, 3].map((id) => {
        const { key: _, ...facts } = found.get(keyOf(id)) ?? assert.fail(`row ${id} is covered`);
        return facts;
      });
      const own = { hlc: PAST_HLC + 10n, origin: 'r1', position: at(10), event_id: idOf(10) };
      assert.deepEqual(told, [all, own, all]);
      await trying(h, 'r1', async (t) => {
        await t.putTombstones(shape, 'r1', [{ ...entry(1, PAST_HLC, 1), key: EVERY_ROW }]);
        assert.equal((await t.tombstones(shape, [keyOf(3)])).get(keyOf(3))?.hlc, PAST_HLC + 7n);
      });
    }),
  );

  test(
    'without a tombstone none is told',
    withHarness(make, async (h) => {
      const found = await trying(h, 'r1', (t, shape) => t.tombstones(shape, [keyOf(1)]));
      assert.equal(found.size, 0);
    }),
  );
}
