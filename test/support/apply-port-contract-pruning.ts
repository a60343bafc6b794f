// Contract of the apply port: what is forgotten of rows and marks once nothing needs it, and what is kept till then.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EVERY_ROW } from '../../src/apply/apply-port.ts';
import { hlcFromMicros } from '../../src/change/hlc.ts';
import {
  applying,
  entry,
  idOf,
  keyOf,
  kvShape,
  look,
  NO_LIMIT,
  NOT_YET,
  PAST,
  PAST_HLC,
  quarantined,
  recorded,
  trying,
  withHarness,
} from './apply-port-fixtures.ts';
import type { MakeHarness } from './apply-port-harness.ts';

export function pruningContract(make: MakeHarness): void {
  test(
    'pruning drops what only unstable versions need',
    withHarness(make, async (h) => {
      const old = await recorded(h, PAST);
      await applying(h, 'r1', PAST, async (t, shape) => {
        await t.putTombstones(shape, 'r1', [entry(5, PAST_HLC, 5), entry(6, PAST_HLC + 1n, 6), entry(7, PAST_HLC, 7)]);
        await t.putTombstones(shape, 'r1', [entry(8, PAST_HLC, 8)]);
        await t.putLooks([look(7)]);
        await t.recordQuarantine([quarantined(8, 8, PAST_HLC + 1n)]);
      });
      const shape = await kvShape(h);
      const standing = async (): Promise<string[]> => {
        const keys = [5, 6, 7, 8].map((id) => keyOf(id));
        return [...(await trying(h, 'r1', (t) => t.tombstones(shape, keys))).keys()].sort();
      };
      const exact = async (xid: number): Promise<number> => {
        const wanted = [1, 2].map((id) => ({ key: keyOf(id), xid }));
        return (await trying(h, 'r1', (t) => t.exactVersions(shape, wanted))).size;
      };
      await h.port.prune(PAST_HLC - 1n, NOT_YET, NO_LIMIT);
      assert.deepEqual([(await standing()).length, await exact(old)], [4, 2]);
      await h.port.prune(PAST_HLC, NOT_YET, NO_LIMIT);
      // A look that is to come and a quarantined event keep their tombstones.
      assert.deepEqual(await standing(), [keyOf(6), keyOf(7), keyOf(8)]);
      assert.equal(await exact(old), 0);
      const looks = (await h.port.ripeLooks(10)).map((each) => each.look_id);
      await applying(h, 'r1', PAST, async (t) => {
        await t.removeLooks(looks);
        await t.removeQuarantine([idOf(8)]);
      });
      await h.port.prune(PAST_HLC, NOT_YET, NO_LIMIT);
      assert.deepEqual(await standing(), [keyOf(6)]);
    }),
  );

  test(
    'while the rows of a table are told to others, exact versions of what is stamped above it are not pruned',
    withHarness(make, async (h) => {
      const xid = await recorded(h, PAST);
      const shape = await kvShape(h);
      const kept = async (): Promise<number> =>
        (await trying(h, 'r1', (t) => t.exactVersions(shape, [{ key: keyOf(2), xid }]))).size;
      await h.tellRows(PAST_HLC - hlcFromMicros(1n));
      await h.port.prune(PAST_HLC, NOT_YET, NO_LIMIT);
      assert.equal(await kept(), 1);
      await h.tellRows(null);
      await h.tellRows(PAST_HLC);
      await h.port.prune(PAST_HLC, NOT_YET, NO_LIMIT);
      assert.equal(await kept(), 0);
    }),
  );

  test(
    'exact versions of rows that are to be looked at again are not pruned',
    withHarness(make, async (h) => {
      const shape = await kvShape(h);
      for (const about of [look(2), { ...look(2), key: EVERY_ROW }]) {
        const xid = await recorded(h, PAST);
        await applying(h, 'r1', PAST, (t) => t.putLooks([about]));
        await h.port.prune(PAST_HLC, NOT_YET, NO_LIMIT);
        const wanted = [{ key: keyOf(2), xid }];
        assert.equal((await trying(h, 'r1', (t) => t.exactVersions(shape, wanted))).size, 1);
        const looks = (await h.port.ripeLooks(10)).map((each) => each.look_id);
        await applying(h, 'r1', PAST, (t) => t.removeLooks(looks));
        await h.port.prune(PAST_HLC, NOT_YET, NO_LIMIT);
        assert.equal((await trying(h, 'r1', (t) => t.exactVersions(shape, wanted))).size, 0);
      }
    }),
  );

  test(
    'exact versions of quarantined rows are not pruned',
    withHarness(make, async (h) => {
      const xid = await recorded(h, PAST);
      await applying(h, 'r1', PAST, (t) => t.recordQuarantine([quarantined(9, 2, PAST_HLC + 5n)]));
      await h.port.prune(PAST_HLC, NOT_YET, NO_LIMIT);
      const shape = await kvShape(h);
      const wanted = [{ key: keyOf(2), xid }];
      assert.equal((await trying(h, 'r1', (t) => t.exactVersions(shape, wanted))).size, 1);
    }),
  );

  for (const { what, key, kept: expected } of [
    { what: 'that row', key: keyOf(5), kept: { tombstones: [EVERY_ROW, keyOf(5)], versions: 2 } },
    { what: 'unknown rows', key: EVERY_ROW, kept: { tombstones: [EVERY_ROW, keyOf(5), keyOf(6)], versions: 2 } },
  ]) {
    test(
      `while an event on ${what} is set aside, nothing is pruned that it is to be compared with`,
      withHarness(make, async (h) => {
        const xid = await recorded(h, PAST);
        const shape = await kvShape(h);
        const kept = async (): Promise<unknown> =>
          await trying(h, 'r1', async (t) => {
            // What a table's own tombstone stands over is told with that, unless the row's is higher.
            const found = await t.tombstones(shape, [keyOf(5), keyOf(6), keyOf(7)]);
            const wanted = [1, 2].map((id) => ({ key: keyOf(id), xid }));
            const versions = (await t.exactVersions(shape, wanted)).size;
            const own = [5, 6].map(keyOf).filter((each) => found.get(each)?.hlc === PAST_HLC);
            return { tombstones: [...(found.has(keyOf(7)) ? [EVERY_ROW] : []), ...own], versions };
          });
        await applying(h, 'r1', PAST, async (t) => {
          const removals = [entry(5, PAST_HLC, 5), entry(6, PAST_HLC, 6)];
          await t.putTombstones(shape, 'r1', [...removals, { ...entry(7, PAST_HLC - 1n, 7), key: EVERY_ROW }]);
          await t.recordQuarantine([{ ...quarantined(8, 8, PAST_HLC - 5n), key }]);
        });
        await h.port.prune(PAST_HLC, NOT_YET, NO_LIMIT);
        assert.deepEqual(await kept(), expected);
        await applying(h, 'r1', PAST, async (t) => await t.removeQuarantine([idOf(8)]));
        await h.port.prune(PAST_HLC, NOT_YET, NO_LIMIT);
        assert.deepEqual(await kept(), { tombstones: [], versions: 0 });
      }),
    );
  }
}
