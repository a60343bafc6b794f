// Contract of the apply port, part 5: marks, notes, exact versions, intents to look again, what is set aside.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { QuarantineEntry, SupersedingRow } from '../../src/apply/apply-port.ts';
import type { Hlc } from '../../src/change/hlc.ts';
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
  look,
  PAST,
  PAST_HLC,
  put,
  quarantined,
  recorded,
  row,
  trying,
  withHarness,
} from './apply-port-fixtures.ts';
import type { MakeHarness } from './apply-port-harness.ts';

export function bookkeepingContract(make: MakeHarness): void {
  test(
    'a mark starts, moves on, and is kept per origin',
    withHarness(make, async (h) => {
      assert.deepEqual(await h.port.loadMarks(), []);
      const one = { origin: 'r1', position: at(1), event_id: idOf(1), log_offset: 10 };
      const two = { origin: 'r1', position: at(2), event_id: idOf(2), log_offset: 4_000_000_000 };
      const other = { origin: 'r2', position: at(9), event_id: idOf(9), log_offset: 0 };
      await applying(h, 'r1', PAST, (t) => t.advanceMark(null, one));
      await applying(h, 'r2', PAST, (t) => t.advanceMark(null, other));
      await applying(h, 'r1', PAST, (t) => t.advanceMark(at(1), two));
      await trying(h, 'r1', (t) => t.advanceMark(at(2), { ...two, position: at(3) }));
      const marks = [...(await h.port.loadMarks())].sort((a, b) => (a.origin < b.origin ? -1 : 1));
      assert.deepEqual(marks, [two, other]);
    }),
  );

  test(
    'a mark that is not where it is expected fails the transaction, also what was sent behind it',
    withHarness(make, async (h) => {
      const mark = { origin: 'r1', position: at(2), event_id: idOf(2), log_offset: 1 };
      await applying(h, 'r1', PAST, (t) => t.advanceMark(null, mark));
      for (const expected of [null, at(1), at(3)]) {
        const shape = await kvShape(h);
        const t = await h.port.begin('r1', PAST);
        const results = await Promise.allSettled([
          t.upsert(shape, [row(1, 'x')], 'r1', ALL),
          t.advanceMark(expected, { ...mark, position: at(4) }),
          t.commit(),
        ]);
        assert.deepEqual(
          results.map(({ status }) => status),
          ['fulfilled', 'rejected', 'rejected'],
        );
        await assert.rejects(Promise.reject((results[1] as PromiseRejectedResult).reason), { code: 'SYN-A007' });
        await t.rollback();
      }
      const absent = { ...mark, origin: 'r2' };
      await assert.rejects(
        applying(h, 'r2', PAST, (t) => t.advanceMark(at(1), absent)),
        { code: 'SYN-A007' },
      );
      assert.deepEqual(await h.rows(), []);
      assert.deepEqual(await h.port.loadMarks(), [mark]);
    }),
  );

  test(
    'a note lies above what the batch overwrote and below the batch’s end',
    withHarness(make, async (h) => {
      const foreground = await h.foreground();
      await foreground.insert(kv(1, 'first'));
      await foreground.begin();
      await foreground.update(1, { v: 'second' });
      const shape = await kvShape(h);
      const t = await h.port.begin('r1', FUTURE);
      const call = t.upsert(shape, [row(1, 'applied')], 'r1', ALL);
      await h.blocked('port');
      const below = await h.walPosition();
      await foreground.commit();
      const overwritten = await h.walPosition();
      await call;
      const note = await t.note({ origin: 'r1', seen: { r1: at(1) }, max_hlc: FUTURE_HLC });
      assert.ok(note.lsn > below);
      assert.ok(note.lsn >= overwritten);
      const own = (await t.inspect(shape, [keyed(1)])).get(keyOf(1));
      assert.equal(own?.xid, note.xid);
      await t.commit();
      assert.ok(note.lsn < (await h.walPosition()));
      assert.equal((await h.tuple(1))?.xid, note.xid);
    }),
  );

  test(
    'exact versions are found by the batch and key that wrote them',
    withHarness(make, async (h) => {
      const xid = await recorded(h, PAST);
      await put(h, 'r1', PAST + 50n, 3, 'no exact version');
      const other = (await h.tuple(3))?.xid ?? 0;
      const shape = await kvShape(h);
      const wanted = [
        { key: keyOf(2), xid },
        { key: keyOf(1), xid },
        { key: keyOf(3), xid: other },
        { key: keyOf(4), xid },
      ];
      const expected = new Map([
        [keyOf(1), { hlc: PAST_HLC - 7n, position: at(11), event_id: idOf(11) }],
        [keyOf(2), { hlc: 42n, position: at(12), event_id: idOf(12) }],
      ]);
      const found = await trying(h, 'r1', (t) => t.exactVersions(shape, wanted));
      for (const [key, version] of expected) {
        const { hlc, position, event_id } = found.get(key) ?? assert.fail(`${key} has an exact version`);
        assert.deepEqual({ hlc, position, event_id }, version);
      }
      assert.equal(found.size, expected.size);
      // Not of another batch, and not of one that was rolled back.
      assert.equal((await trying(h, 'r1', (t) => t.exactVersions(shape, [{ key: keyOf(1), xid: other }]))).size, 0);
      const undone = await trying(h, 'r1', async (t) => {
        await t.upsert(shape, [row(1, 'x')], 'r1', ALL);
        await t.recordVersions(shape, [entry(1, 1n, 99)]);
        const own = (await t.inspect(shape, [keyed(1)])).get(keyOf(1))?.xid ?? 0;
        assert.equal((await t.exactVersions(shape, [{ key: keyOf(1), xid: own }])).get(keyOf(1))?.hlc, 1n);
        return own;
      });
      assert.equal((await trying(h, 'r1', (t) => t.exactVersions(shape, [{ key: keyOf(1), xid: undone }]))).size, 0);
    }),
  );

  test(
    'of two exact versions that one transaction gives a row the higher counts, across epochs too',
    withHarness(make, async (h) => {
      const later = '0000000000000000002';
      const xid = await applying(h, 'r1', PAST, async (t, shape) => {
        await t.upsert(shape, [row(1, 'a'), row(2, 'a')], 'r1', ALL);
        await t.recordVersions(shape, [entry(1, 10n, 10), { ...entry(2, 12n, 3), position: at(3, later) }]);
        await t.recordVersions(shape, [{ ...entry(1, 11n, 2), position: at(2, later) }]);
        return (await t.note({ origin: 'r1', seen: {}, max_hlc: PAST_HLC })).xid;
      });
      const shape = await kvShape(h);
      const wanted = [1, 2].map((id) => ({ key: keyOf(id), xid }));
      const found = await trying(h, 'r1', (t) => t.exactVersions(shape, wanted));
      assert.deepEqual([found.get(keyOf(1))?.hlc, found.get(keyOf(1))?.position], [11n, at(2, later)]);
      assert.deepEqual([found.get(keyOf(2))?.hlc, found.get(keyOf(2))?.position], [12n, at(3, later)]);
    }),
  );

  test(
    'of two tombstones of one version that one transaction leaves, piece by piece, the later one stays',
    withHarness(make, async (h) => {
      const shape = await kvShape(h);
      await applying(h, 'r1', PAST, async (t) => {
        await t.putTombstones(shape, 'r1', [entry(1, 10n, 1), entry(2, 10n, 2)]);
        await t.putTombstones(shape, 'r1', [{ ...entry(1, 10n, 1), event_id: idOf(3) }, entry(2, 9n, 9)]);
      });
      const found = await trying(h, 'r1', (t) => t.tombstones(shape, [keyOf(1), keyOf(2)]));
      assert.deepEqual(
        [1, 2].map((id) => found.get(keyOf(id))?.event_id),
        [idOf(3), idOf(2)],
      );
    }),
  );

  test(
    'quarantined events are kept whole, found by key, superseded by later versions, and removed',
    withHarness(make, async (h) => {
      const shape = await kvShape(h);
      const entries = [quarantined(1, 1, 100n), quarantined(2, 2, 100n), quarantined(3, 3, 100n)];
      await applying(h, 'r1', PAST, (t) => t.recordQuarantine(entries));
      await applying(h, 'r1', PAST, (t) => t.recordQuarantine([quarantined(3, 3, 100n, 'again')]));
      const keys = await trying(h, 'r1', (t) => t.quarantinedKeys(shape));
      assert.deepEqual([...keys].sort(), [keyOf(1), keyOf(2), keyOf(3)]);
      const found = await h.port.quarantined([idOf(3), idOf(1), idOf(77)]);
      const sorted = [...found].sort((a, b) => (a.event_id < b.event_id ? -1 : 1));
      const expected = [quarantined(1, 1, 100n), quarantined(3, 3, 100n, 'again')];
      assert.deepEqual(
        sorted,
        expected.sort((a, b) => (a.event_id < b.event_id ? -1 : 1)),
      );
      await applying(h, 'r1', PAST, async (t) => {
        const by = (id: number, hlc: Hlc): SupersedingRow => ({ key: keyOf(id), hlc, columns: null });
        await t.supersedeQuarantine(shape, 'r1', [by(1, 101n), by(2, 100n), by(4, 101n)], false);
        assert.deepEqual([...(await t.quarantinedKeys(shape))].sort(), [keyOf(2), keyOf(3)]);
        await t.supersedeQuarantine(shape, 'r2', [by(2, 100n)], false);
        assert.deepEqual([...(await t.quarantinedKeys(shape))], [keyOf(3)]);
        await t.removeQuarantine([idOf(3), idOf(77)]);
      });
      assert.deepEqual(await h.port.quarantined([idOf(1), idOf(2), idOf(3)]), []);
    }),
  );

  test(
    'what is set aside stays where a later image lacks a column of it, and where each event counts, unless it is a result',
    withHarness(make, async (h) => {
      const shape = await kvShape(h);
      const image = (id: number): QuarantineEntry => {
        const entry = quarantined(id, id, 100n);
        return { ...entry, event: JSON.stringify({ event_id: idOf(id), after_image: { id: '1', v: 'x' } }) };
      };
      const result = { ...image(4), event: JSON.stringify({ event_id: idOf(40), after_image: null }) };
      await applying(h, 'r1', PAST, (t) => t.recordQuarantine([image(1), image(2), image(3), result]));
      const by = (id: number, columns: string[] | null): SupersedingRow => ({ key: keyOf(id), hlc: 101n, columns });
      await applying(h, 'r1', PAST, async (t) => {
        const rows = [by(1, ['id', 'v', 'u']), by(2, ['id', 'u']), by(3, null), by(4, ['id'])];
        await t.supersedeQuarantine(shape, 'r1', rows, true);
        assert.deepEqual([...(await t.quarantinedKeys(shape))].sort(), [keyOf(1), keyOf(2), keyOf(3)]);
        await t.supersedeQuarantine(shape, 'r1', rows, false);
        assert.deepEqual([...(await t.quarantinedKeys(shape))], [keyOf(2)]);
      });
    }),
  );

  test(
    'a removal looks again once all that was in progress at its note has ended, not before',
    withHarness(make, async (h) => {
      const [older, younger, later] = [await h.foreground(), await h.foreground(), await h.foreground()];
      await older.begin();
      await older.insert(kv(1, 'older'));
      const shape = await kvShape(h);
      const t = await h.port.begin('r1', FUTURE);
      assert.deepEqual(await t.remove(shape, [{ ...keyed(3), hlc: FUTURE_HLC }], ALL), ['absent']);
      await t.putTombstones(shape, 'r1', [entry(3, FUTURE_HLC, 3)]);
      const event = JSON.parse(quarantined(5, 5, PAST_HLC).event);
      const restoring = { ...look(5), restores: { ...event, after_image: { id: '5', v: 'it\'s "back"', u: null } } };
      // Younger than the batch, and yet in progress at its note.
      await younger.begin();
      await younger.insert(kv(2, 'younger'));
      await t.putLooks([look(3), restoring, { ...look(0), key: '', pk: {} }]);
      await t.commit();
      assert.deepEqual(await h.port.ripeLooks(10), []);
      await older.commit();
      assert.deepEqual(await h.port.ripeLooks(10), []);
      await later.begin();
      await later.insert(kv(4, 'later'));
      await younger.rollback();
      const ripe = await h.port.ripeLooks(10);
      const facts = ripe.map(({ look_id: _, snapshot: __, ...rest }) => rest).sort((a, b) => (a.key < b.key ? -1 : 1));
      assert.deepEqual(facts, [{ ...look(0), key: '', pk: {} }, look(3), restoring]);
      const [before] = await h.port.ripeLooks(1);
      await later.commit();
      const [after] = await h.port.ripeLooks(1);
      assert.ok(before !== undefined && after !== undefined);
      const tuples = await applying(h, 'r1', PAST, (tx) => tx.inspect(shape, [keyed(4)]));
      const laterXid = [...tuples.values()][0]?.xid ?? Number.NaN;
      // It had not ended when the first snapshot was taken, and had when the second was.
      assert.ok(BigInt(laterXid) >= before.snapshot.xmin);
      assert.ok(before.snapshot.xmin <= before.snapshot.xmax);
      assert.ok(BigInt(laterXid) < after.snapshot.xmin);
      await applying(h, 'r1', PAST, (tx) => tx.removeLooks(ripe.map((each) => each.look_id)));
      assert.deepEqual(await h.port.ripeLooks(10), []);
    }),
  );

  test(
    'a local transaction is visible once it has ended, and never taken for one of another history',
    withHarness(make, async (h) => {
      const [one, two] = [await h.foreground(), await h.foreground()];
      for (const session of [one, two]) await session.begin();
      await one.insert(kv(1, 'one'));
      await two.insert(kv(2, 'two'));
      const [first, second] = [await one.xid(), await two.xid()];
      await two.commit();
      await one.rollback();
      const commitMicros = (await h.tuple(2))?.stampMicros ?? 0n;
      const states = await h.port.ownCommits([
        { xid: second, commitMicros },
        { xid: second, commitMicros: null },
        { xid: second, commitMicros: commitMicros + 1n },
        { xid: first, commitMicros },
        { xid: second + 100_000, commitMicros },
      ]);
      assert.deepEqual(states, ['visible', 'visible', 'elsewhere', 'elsewhere', 'elsewhere']);
      assert.deepEqual(await h.port.ownCommits([]), []);
    }),
  );

  test(
    'a transaction of the lane is never taken for a local one, although its time is that of an event',
    withHarness(make, async (h) => {
      await applying(h, 'r1', PAST, (t, shape) => t.upsert(shape, [row(1, 'one')], 'r1', ALL));
      const { xid, stampMicros } = (await h.tuple(1)) ?? assert.fail('the row is there');
      const states = await h.port.ownCommits([
        { xid, commitMicros: stampMicros },
        { xid, commitMicros: null },
      ]);
      assert.deepEqual(states, ['elsewhere', 'elsewhere']);
    }),
  );

  test(
    'the clock is that of local commits',
    withHarness(make, async (h) => {
      const before = await h.port.clockMicros();
      await (await h.foreground()).insert(kv(1, 'now'));
      const after = await h.port.clockMicros();
      const stamp = (await h.tuple(1))?.stampMicros ?? 0n;
      assert.ok(before <= stamp && stamp <= after, `${before} <= ${stamp} <= ${after}`);
    }),
  );

  test(
    'a moment tells the clock, a place behind all that is committed, and what is open',
    withHarness(make, async (h) => {
      const before = await h.port.moment();
      const foreground = await h.foreground();
      await foreground.begin();
      await foreground.insert(kv(1, 'open'));
      const within = await h.port.moment();
      await foreground.commit();
      const after = await h.port.moment();
      assert.equal(within.open - before.open, 1);
      assert.ok(before.micros <= within.micros && within.micros <= after.micros);
      assert.ok(before.lsn < after.lsn);
      assert.notEqual(before.snapshot, after.snapshot);
    }),
  );

  test(
    'what is kept beside rows is counted',
    withHarness(make, async (h) => {
      const none = { parked: 0, quarantined: 0, looks: 0, versions: 0, tombstones: 0, merges: 0, transfers: 0 };
      assert.deepEqual(await h.port.kept(), none);
      const shape = await kvShape(h);
      await applying(h, 'r1', PAST, async (t) => {
        await t.putTombstones(shape, 'r1', [entry(1, PAST_HLC, 1)]);
        await t.recordVersions(shape, [entry(2, PAST_HLC, 2)]);
        await t.putLooks([look(3)]);
      });
      assert.deepEqual(await h.port.kept(), { ...none, looks: 1, versions: 1, tombstones: 1 });
    }),
  );
}
