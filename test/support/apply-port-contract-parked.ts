// The contract of the apply port: rows that claim one unique value, and those that are parked for it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ApplyTransaction, ParkedRow, TableShape } from '../../src/apply/apply-port.ts';
import type { ChangeEvent } from '../../src/change/change-event.ts';
import {
  ALL,
  applying,
  at,
  FUTURE,
  FUTURE_HLC,
  idOf,
  keyed,
  keyOf,
  kv,
  kvShape,
  look,
  NO_LIMIT,
  NONE,
  NOT_YET,
  PAST,
  PAST_HLC,
  put,
  removal,
  row,
  trying,
  withHarness,
} from './apply-port-fixtures.ts';
import type { ApplyPortHarness, MakeHarness } from './apply-port-harness.ts';

function parked(id: number, more: Partial<ParkedRow> = {}): ParkedRow {
  return {
    ...keyed(id),
    image: { id: String(id), v: 'parked', u: 'x' },
    hlc: PAST_HLC,
    origin: 'r1',
    position: at(id),
    event_id: idOf(id),
    blocker: keyOf(9),
    ...more,
  };
}

function restored(id: number): ChangeEvent {
  return { event_id: idOf(id), row_pk: { id: String(id) } } as unknown as ChangeEvent;
}

export function parkedContract(make: MakeHarness): void {
  test(
    'the rivals of a row are the visible rows with its unique value, itself apart',
    withHarness(make, async (h) => {
      const foreground = await h.foreground();
      await foreground.insert(kv(1, 'one', 'x'));
      await foreground.insert(kv(2, 'two', 'y'));
      await foreground.insert(kv(3, 'three', null));
      await applying(h, 'r1', PAST, async (t, shape) => {
        const asked = [row(1, '', 0n, 'x'), row(4, '', 0n, 'x'), row(5, '', 0n, 'y'), row(6, ''), row(7, '', 0n, 'z')];
        const found = await t.rivals(shape, asked);
        assert.deepEqual(
          [...found].sort(([a], [b]) => (a < b ? -1 : 1)),
          [
            [keyOf(4), [keyed(1)]],
            [keyOf(5), [keyed(2)]],
          ],
        );
      });
      assert.equal((await kvShape(h)).hasClaims, true);
    }),
  );

  test(
    'rivals are told by what the transaction itself has written, and not by what others have not committed',
    withHarness(make, async (h) => {
      await put(h, 'r1', PAST, 1, 'one');
      const foreground = await h.foreground();
      await foreground.begin();
      await foreground.insert(kv(5, 'open', 'open'));
      await trying(h, 'r1', async (t, shape) => {
        await t.upsert(shape, [row(1, 'a', FUTURE_HLC, 'x'), row(2, 'b', FUTURE_HLC, 'y')], 'r1', ALL);
        await t.remove(shape, [removal(2)], NONE);
        const asked = [row(3, '', 0n, 'x'), row(4, '', 0n, 'y'), row(6, '', 0n, 'open')];
        assert.deepEqual([...(await t.rivals(shape, asked))], [[keyOf(3), [keyed(1)]]]);
      });
      await foreground.rollback();
    }),
  );

  test(
    'a parked row is kept whole, and the higher of two under one key stays',
    withHarness(make, async (h) => {
      const whole = parked(1, { image: { id: '1', v: null, u: 'é"\n' }, position: null, event_id: null });
      await applying(h, 'r1', PAST, async (t, shape) => {
        await t.putParked(shape, [whole, parked(2)]);
        await t.putParked(shape, [parked(1, { hlc: PAST_HLC - 1n }), parked(2, { origin: 'r2' })]);
        await t.putParked(shape, [parked(2), { ...whole, blocker: keyOf(8) }]);
      });
      await trying(h, 'r1', async (t, shape) => {
        const found = await t.parked(shape, [keyOf(1), keyOf(2), keyOf(3)]);
        assert.deepEqual(
          [found.get(keyOf(1)), found.get(keyOf(2)), found.size],
          [
            { ...found.get(keyOf(1)), ...whole, blocker: keyOf(8) },
            { ...found.get(keyOf(2)), ...parked(2, { origin: 'r2' }) },
            2,
          ],
        );
      });
      const keys = await h.port.parkedKeys();
      assert.deepEqual(keys.map(({ key }) => key).sort(), [keyOf(1), keyOf(2)]);
      assert.deepEqual(keys[0], { schema: 'public', table: 'kv', key: keys[0]?.key });
    }),
  );

  test(
    'parked rows are listed from the highest down, and dropped by key or below a version',
    withHarness(make, async (h) => {
      await applying(h, 'r1', PAST, async (t, shape) => {
        const rows = [parked(1), parked(2, { origin: 'r2' }), parked(3, { hlc: PAST_HLC + 1n }), parked(4), parked(5)];
        await t.putParked(shape, rows);
      });
      const listed = async (): Promise<string[]> =>
        await trying(h, 'r1', async (t, shape) => {
          const keys: string[] = [];
          for (let above: ParkedRow | null = null; ; ) {
            const page: ParkedRow[] = await t.parkedBelow(shape, above, 2);
            keys.push(...page.map(({ key }) => key));
            const last = page.at(-1);
            if (last === undefined) return keys;
            above = last;
          }
        });
      assert.deepEqual(await listed(), [3, 2, 1, 4, 5].map(keyOf));
      const version = { hlc: PAST_HLC, origin: 'r2' };
      await applying(h, 'r1', PAST, async (t, shape) => {
        await t.dropParked(shape, [keyOf(4), keyOf(6)]);
        const dropped = await t.dropParkedBelow(shape, version, false);
        assert.deepEqual(
          dropped.sort((a, b) => (a.key < b.key ? -1 : 1)),
          [1, 5].map((id) => ({ ...dropped.find(({ key }) => key === keyOf(id)), ...parked(id) })),
        );
      });
      assert.deepEqual(await listed(), [3, 2].map(keyOf));
      await trying(h, 'r1', async (t, shape) => {
        const dropped = await t.dropParkedBelow(shape, version, true);
        assert.deepEqual(
          dropped.map(({ key }) => key),
          [keyOf(2)],
        );
      });
      assert.deepEqual(await listed(), [3, 2].map(keyOf));
    }),
  );

  for (const [what, keep, drop] of [
    [
      'parked',
      (t: ApplyTransaction, shape: TableShape) => t.putParked(shape, [parked(4)]),
      (t: ApplyTransaction, shape: TableShape) => t.dropParked(shape, [keyOf(4)]),
    ],
    [
      'to be put back',
      (t: ApplyTransaction) => t.putLooks([{ ...look(4), restores: restored(4) }]),
      async (t: ApplyTransaction, _: TableShape, h: ApplyPortHarness) =>
        await t.removeLooks((await h.port.ripeLooks(NO_LIMIT)).map((each) => each.look_id)),
    ],
  ] as const)
    test(
      `exact versions stay while that of a row that is ${what} lies between them and the stamp of their batch`,
      withHarness(make, async (h) => {
        const shape = await kvShape(h);
        const recorded = async (id: number, stampMicros: bigint, hlc: bigint): Promise<number> =>
          await applying(h, 'r1', stampMicros, async (t) => {
            await t.recordVersions(shape, [{ key: keyOf(id), hlc, position: at(id), event_id: idOf(id) }]);
            const { xid } = await t.note({ origin: 'r1', seen: {}, max_hlc: hlc });
            return xid;
          });
        const below = await recorded(1, PAST - 5n, PAST_HLC - 9_000n);
        const straddling = await recorded(2, PAST + 5n, PAST_HLC - 1_000n);
        const above = await recorded(3, PAST + 9n, PAST_HLC + 1_000n);
        await applying(h, 'r1', PAST, (t) => keep(t, shape));
        const kept = async (): Promise<string[]> => {
          const wanted = [
            { key: keyOf(1), xid: below },
            { key: keyOf(2), xid: straddling },
            { key: keyOf(3), xid: above },
          ];
          return [...(await trying(h, 'r1', (t) => t.exactVersions(shape, wanted))).keys()];
        };
        await h.port.prune(FUTURE_HLC, NOT_YET, NO_LIMIT);
        assert.deepEqual(await kept(), [keyOf(2)]);
        await applying(h, 'r1', FUTURE, (t) => drop(t, shape, h));
        await h.port.prune(FUTURE_HLC, NOT_YET, NO_LIMIT);
        assert.deepEqual(await kept(), []);
      }),
    );
}
