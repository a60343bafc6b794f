// Contract of the apply port, part 7: what is kept of rows that merge.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EVERY_ROW, type HistoryEntry, type MergeEntry } from '../../src/apply/apply-port.ts';
import {
  applying,
  at,
  idOf,
  keyOf,
  kvShape,
  NO_LIMIT,
  PAST,
  pkOf,
  quarantined,
  row,
  trying,
  withHarness,
} from './apply-port-fixtures.ts';
import type { ApplyPortHarness, MakeHarness } from './apply-port-harness.ts';

function past(n: number, more: Partial<HistoryEntry> = {}): HistoryEntry {
  return {
    version: { hlc: BigInt(n), origin: 'r1' },
    position: at(n),
    index: 0,
    event_id: idOf(n),
    seen: { r2: at(7) },
    before: { id: '1', v: 'ünïcode "quoted" \\ \n' },
    after: n % 2 === 0 ? null : { id: '1', v: null },
    merge: n > 2 ? 'a version' : undefined,
    ...more,
  };
}

const state = (id: number, hlc: number, visit_at: bigint | null = null): MergeEntry => ({
  key: keyOf(id),
  pk: pkOf(id),
  hlc: BigInt(hlc),
  state: JSON.stringify({ of: id }),
  visit_at,
});

async function historyOf(h: ApplyPortHarness, id: number): Promise<readonly HistoryEntry[]> {
  const shape = await kvShape(h);
  return await trying(h, 'r1', async (t) => {
    const kept = (await t.merges(shape, [keyOf(id)])).get(keyOf(id));
    return (kept?.events ?? []).toSorted((a, b) => Number(a.version.hlc - b.version.hlc));
  });
}

export function mergesContract(make: MakeHarness): void {
  test(
    'events in a history come back as they were, once each, and by row',
    withHarness(make, async (h) => {
      await applying(h, 'r1', PAST, async (t, shape) => {
        await t.addHistory(shape, [{ key: keyOf(1), entries: [past(1), past(2), past(3)] }]);
        await t.addHistory(shape, [
          { key: keyOf(2), entries: [past(5)] },
          { key: keyOf(1), entries: [past(3), past(4)] },
        ]);
      });
      assert.deepEqual(await historyOf(h, 1), [past(1), past(2), past(3), past(4)]);
      assert.deepEqual(await historyOf(h, 2), [past(5)]);
      assert.deepEqual(await historyOf(h, 3), []);
    }),
  );

  test(
    'the state of a row is replaced, is there with its events, and is undone with its transaction',
    withHarness(make, async (h) => {
      const shape = await kvShape(h);
      await applying(h, 'r1', PAST, async (t) => {
        await t.putMerges(shape, [state(1, 5), state(2, 6)]);
        await t.putMerges(shape, [{ ...state(1, 9), state: '{"of":"another"}' }]);
        await t.addHistory(shape, [{ key: EVERY_ROW, entries: [past(4)] }]);
      });
      const read = async (): Promise<unknown> =>
        await trying(h, 'r1', async (t) => {
          const kept = await t.merges(shape, [EVERY_ROW, keyOf(1), keyOf(2), keyOf(3)]);
          const keys = (await t.mergeKeys(shape)).map(({ key, pk }) => [key, pk]);
          return [
            [...kept]
              .map(([key, { state: text, events }]) => [key, text === null ? null : JSON.parse(text), events.length])
              .sort(byKey),
            keys.sort(byKey),
          ];
        });
      const expected = [
        [
          [EVERY_ROW, null, 1],
          [keyOf(1), { of: 'another' }, 0],
          [keyOf(2), { of: 2 }, 0],
        ].sort(byKey),
        [
          [keyOf(1), pkOf(1)],
          [keyOf(2), pkOf(2)],
        ],
      ];
      assert.deepEqual(await read(), expected);
      await trying(h, 'r1', async (t) => {
        await t.putMerges(shape, [state(3, 1)]);
        await t.dropHistory(shape, [{ key: keyOf(1), upTo: { hlc: 99n, origin: 'r1' }, whole: true }]);
      });
      assert.deepEqual(await read(), expected);
    }),
  );

  test(
    'a history is dropped up to a version, or whole',
    withHarness(make, async (h) => {
      const shape = await kvShape(h);
      const other = past(3, { version: { hlc: 3n, origin: 'r2' } });
      await applying(h, 'r1', PAST, async (t) => {
        await t.addHistory(shape, [{ key: keyOf(1), entries: [past(1), past(2), past(3), other, past(4)] }]);
        await t.addHistory(shape, [{ key: keyOf(2), entries: [past(1), past(9)] }]);
        await t.putMerges(shape, [state(1, 4), state(2, 9)]);
        await t.dropHistory(shape, [
          { key: keyOf(1), upTo: { hlc: 3n, origin: 'r1' }, whole: false },
          { key: keyOf(2), upTo: { hlc: 1n, origin: 'r1' }, whole: true },
        ]);
      });
      assert.deepEqual(await historyOf(h, 1), [other, past(4)]);
      assert.deepEqual(await historyOf(h, 2), []);
      const keys = await trying(h, 'r1', async (t) => (await t.mergeKeys(shape)).map(({ key }) => key));
      assert.deepEqual(keys, [keyOf(1)]);
    }),
  );

  test(
    'rows are told that are to be visited, and those with events that are stable; stable events on every row go',
    withHarness(make, async (h) => {
      const shape = await kvShape(h);
      const here = await h.walPosition();
      await applying(h, 'r1', PAST, async (t) => {
        await t.putMerges(shape, [state(1, 4, here + 10n), state(2, 9, here + 20n), state(3, 9)]);
        await t.addHistory(shape, [{ key: keyOf(1), entries: [past(4), past(6)] }]);
        await t.addHistory(shape, [{ key: keyOf(2), entries: [past(9)] }]);
        await t.addHistory(shape, [{ key: EVERY_ROW, entries: [past(4), past(8)] }]);
      });
      const due = async (lsn: bigint): Promise<unknown> =>
        (await h.port.mergesToVisit(lsn, NO_LIMIT)).map(({ schema, table, key, pk, hlc }) => [
          schema,
          table,
          key,
          pk,
          hlc,
        ]);
      assert.deepEqual(await due(here + 9n), []);
      assert.deepEqual(await due(here + 10n), [['public', 'kv', keyOf(1), pkOf(1), 4n]]);
      assert.equal((await h.port.mergesToVisit(here + 20n, NO_LIMIT)).length, 2);
      assert.equal((await h.port.mergesToVisit(here + 20n, 1)).length, 1);
      const keys = async (stable: bigint): Promise<string[]> =>
        (await h.port.mergesToPrune(stable, NO_LIMIT)).map(({ key }) => key).sort();
      assert.deepEqual(await keys(3n), []);
      assert.deepEqual(await keys(4n), [keyOf(1)]);
      assert.deepEqual(await keys(9n), [keyOf(1), keyOf(2)].sort());
      const left = await trying(
        h,
        'r1',
        async (t) => (await t.merges(shape, [EVERY_ROW])).get(EVERY_ROW)?.events ?? [],
      );
      assert.deepEqual(left, []);
    }),
  );

  test(
    'while an event is set aside, the histories of its row stay, of all rows where that is not known, and events on every row',
    withHarness(make, async (h) => {
      const shape = await kvShape(h);
      await applying(h, 'r1', PAST, async (t) => {
        await t.putMerges(shape, [state(1, 4), state(2, 9)]);
        await t.addHistory(shape, [{ key: keyOf(1), entries: [past(4)] }]);
        await t.addHistory(shape, [{ key: keyOf(2), entries: [past(9)] }]);
        await t.addHistory(shape, [{ key: EVERY_ROW, entries: [past(8)] }]);
      });
      const onEveryRow = async (): Promise<number> =>
        await trying(h, 'r1', async (t) => (await t.merges(shape, [EVERY_ROW])).get(EVERY_ROW)?.events.length ?? 0);
      const due = async (): Promise<string[]> =>
        (await h.port.mergesToPrune(9n, NO_LIMIT)).map(({ key }) => key).sort();
      for (const [key, kept] of [
        [keyOf(1), [keyOf(2)]],
        [EVERY_ROW, []],
      ] as const) {
        await applying(h, 'r1', PAST, (t) => t.recordQuarantine([{ ...quarantined(3, 3, 3n), key }]));
        assert.deepEqual([await due(), await onEveryRow()], [kept, 1]);
        await applying(h, 'r1', PAST, (t) => t.removeQuarantine([idOf(3)]));
      }
      assert.deepEqual([await due(), await onEveryRow()], [[keyOf(1), keyOf(2)], 0]);
    }),
  );

  test(
    'a position of the WAL lies behind every commit on a row that is locked, and before whatever comes after',
    withHarness(make, async (h) => {
      const user = await h.foreground();
      await user.insert({ id: 1, v: 'a', u: null });
      const before = await h.walPosition();
      await applying(h, 'r1', PAST, async (t, shape) => {
        await t.inspect(shape, [row(1, '')]);
        assert.ok((await t.walPosition()) >= before);
      });
      const after = await h.walPosition();
      await user.update(1, { v: 'b' });
      assert.ok((await h.walPosition()) >= after);
    }),
  );

  test(
    'a row is valid where nothing that it must hold to refuses it',
    withHarness(make, async (h) => {
      const shape = await kvShape(h);
      const nothing = { not_null: [], checks: [], isPlain: false };
      const valid = await trying(h, 'r1', async (t) => {
        const image = { id: '5', v: 'x', u: null };
        return await t.areValid(shape, [
          { image, validity: nothing },
          { image, validity: { ...nothing, not_null: ['v'] } },
          { image, validity: { ...nothing, not_null: ['v', 'u'] } },
          { image, validity: { ...nothing, checks: ['id >= 5', 'id < 6'] } },
          { image, validity: { ...nothing, checks: ['id >= 5', 'id < 5'] } },
        ]);
      });
      assert.deepEqual(valid, [true, true, false, true, false]);
    }),
  );
}

function byKey(a: readonly unknown[], b: readonly unknown[]): number {
  return String(a[0]) < String(b[0]) ? -1 : 1;
}
