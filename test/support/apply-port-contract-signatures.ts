// The contract of an apply port that writes under no replication origins: how long its signature tells whose a tuple is, and what
// the tuple counts as behind that.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ApplyTransaction, TableShape } from '../../src/apply/apply-port.ts';
import type { ChangeEvent } from '../../src/change/change-event.ts';
import { hlcFromMicros } from '../../src/change/hlc.ts';
import {
  ALL,
  applying,
  at,
  entry,
  FUTURE,
  FUTURE_HLC,
  idOf,
  keyOf,
  kv,
  look,
  NO_LIMIT,
  NONE,
  PAST,
  PAST_HLC,
  pkOf,
  put,
  quarantined,
  row,
  trying,
  withHarness,
} from './apply-port-fixtures.ts';
import type { ApplyPortHarness, MakeHarness } from './apply-port-harness.ts';
import { waitFor } from './wait-for.ts';

export function signatureContract(make: MakeHarness): void {
  describe('signatures', () => {
    test(
      'tell the region and the stamp, and then the row is a local one of its commit time',
      withHarness(make, async (h) => {
        const before = await h.port.clockMicros();
        await put(h, 'r1', PAST, 1, 'applied');
        assert.deepEqual(await told(h, 1), { writer: 'r1', local: false, stampMicros: PAST });
        await goes(h, 1);
        const { stampMicros, ...rest } = await told(h, 1);
        assert.deepEqual(rest, { writer: 'home', local: true });
        assert.ok(stampMicros !== null && stampMicros >= before, `${stampMicros} is the commit's`);
        const next = row(1, 'next', FUTURE_HLC);
        const left = async (guard: typeof ALL): Promise<number[]> =>
          await trying(h, 'r1', (t, shape) => t.upsert(shape, [next], 'r1', guard));
        assert.deepEqual(await left({ r1: 'always' }), [0]);
        assert.deepEqual(await left({ home: FUTURE }), []);
      }),
    );

    test(
      'are undone with their transaction',
      withHarness(make, async (h) => {
        await (await h.foreground()).insert(kv(1, 'local'));
        await trying(h, 'r1', (t, shape) => t.upsert(shape, [row(1, 'applied')], 'r1', ALL));
        const { writer, local } = await told(h, 1);
        assert.deepEqual({ writer, local }, { writer: 'home', local: true });
      }),
    );

    test(
      'hold off what the guard does not admit of their region, and of one that it does not know',
      withHarness(make, async (h) => {
        await put(h, 'r2', PAST, 1, 'applied');
        const left = async (guard: typeof ALL): Promise<number[]> =>
          await trying(h, 'r1', (t, shape) => t.upsert(shape, [row(1, 'next')], 'r1', guard));
        assert.deepEqual(await left(NONE), [0]);
        assert.deepEqual(await left({ home: 'always', r1: 'always' }), [0]);
        assert.deepEqual(await left({ r2: PAST - 1n }), [0]);
        assert.deepEqual(await left({ r2: PAST }), []);
      }),
    );

    for (const [what, stampMicros, stableMicros] of [
      ['the stamp', FUTURE, () => FUTURE - 1n],
      ['the commit time', PAST, (before: bigint) => before - 1n],
    ] as const)
      test(
        `stay while ${what} is not stable`,
        withHarness(make, async (h) => {
          const before = await h.port.clockMicros();
          await put(h, 'r1', stampMicros, 1, 'applied');
          await nothing(h);
          await prune(h, hlcFromMicros(stableMicros(before)));
          assert.equal((await told(h, 1)).local, false);
          await goes(h, 1);
        }),
      );

    test(
      'stay until all that was committed before them is echoed',
      withHarness(make, async (h) => {
        const before = await h.walPosition();
        await put(h, 'r1', PAST, 1, 'applied');
        await prune(h, hlcFromMicros(FUTURE), await h.walPosition());
        assert.equal((await told(h, 1)).local, false, 'nothing of the lane came behind it');
        await nothing(h);
        await prune(h, hlcFromMicros(FUTURE), before);
        assert.equal((await told(h, 1)).local, false, 'it is not echoed up to there');
        await goes(h, 1);
      }),
    );

    test(
      'that have to stay keep no others',
      withHarness(make, async (h) => {
        await put(h, 'r1', FUTURE, 1, 'stays');
        await put(h, 'r1', PAST, 2, 'behind');
        await nothing(h);
        await prune(h, hlcFromMicros(FUTURE - 1n));
        assert.deepEqual([(await told(h, 1)).local, (await told(h, 2)).local], [false, true]);
      }),
    );

    test(
      'stay while rows of a table are told to others',
      withHarness(make, async (h) => {
        await put(h, 'r1', PAST, 1, 'applied');
        await h.tellRows(PAST_HLC);
        await pruneAll(h);
        assert.equal((await told(h, 1)).local, false);
        await h.tellRows(null);
        await goes(h, 1);
      }),
    );

    const between = hlcFromMicros(PAST + 1_000n);
    for (const [what, keep, drop] of [
      [
        'an exact version is kept',
        async (t: ApplyTransaction) => await t.recordQuarantine([quarantined(9, 1, FUTURE_HLC)]),
        async (t: ApplyTransaction) => await t.removeQuarantine([idOf(9)]),
      ],
      [
        'an event in the quarantine lies between its stamp and its commit time',
        async (t: ApplyTransaction) => await t.recordQuarantine([quarantined(9, 8, between)]),
        async (t: ApplyTransaction) => await t.removeQuarantine([idOf(9)]),
      ],
      [
        'a parked row lies between its stamp and its commit time',
        async (t: ApplyTransaction, shape: TableShape) =>
          await t.putParked(shape, [
            {
              key: keyOf(7),
              pk: pkOf(7),
              image: { id: '7', v: 'parked', u: 'u' },
              hlc: between,
              origin: 'r1',
              position: at(7),
              event_id: idOf(7),
              blocker: keyOf(1),
            },
          ]),
        async (t: ApplyTransaction, shape: TableShape) => await t.dropParked(shape, [keyOf(7)]),
      ],
      [
        'a row that is to be put back does',
        async (t: ApplyTransaction) =>
          await t.putLooks([{ ...look(7, between), restores: { event_id: idOf(7) } as unknown as ChangeEvent }]),
        async (t: ApplyTransaction, _: TableShape, h: ApplyPortHarness) =>
          await t.removeLooks((await h.port.ripeLooks(10)).map(({ look_id }) => look_id)),
      ],
    ] as const)
      test(
        `stay while ${what}`,
        withHarness(make, async (h) => {
          await applying(h, 'r1', PAST, async (t, shape) => {
            await t.upsert(shape, [row(1, 'applied', PAST_HLC)], 'r1', ALL);
            if (what === 'an exact version is kept') await t.recordVersions(shape, [entry(1, PAST_HLC, 1)]);
            await keep(t, shape);
          });
          await pruneAll(h);
          assert.equal((await told(h, 1)).local, false);
          await applying(h, 'r1', PAST, (t, shape) => drop(t, shape, h));
          await goes(h, 1);
        }),
      );
  });
}

async function told(h: ApplyPortHarness, id: number) {
  const tuple = await h.tuple(id);
  assert.ok(tuple !== null, `row ${id} is there`);
  const { writer, local, stampMicros } = tuple;
  return { writer, local, stampMicros };
}

/** A transaction of the lane, since the newest signature always stays. */
async function nothing(h: ApplyPortHarness): Promise<void> {
  await applying(h, 'r1', PAST, async (t) => void (await t.note({ origin: 'r1', seen: {}, max_hlc: PAST_HLC })));
}

async function prune(h: ApplyPortHarness, stable: bigint, echoedLsn?: bigint): Promise<void> {
  await h.port.prune(stable, { confirmedLsn: 0n, echoedLsn: echoedLsn ?? (await h.walPosition()) }, NO_LIMIT);
}

/** Everything is stable and echoed. */
async function pruneAll(h: ApplyPortHarness): Promise<void> {
  await nothing(h);
  await prune(h, hlcFromMicros(FUTURE));
}

/** A port may rest behind a long look. */
async function goes(h: ApplyPortHarness, id: number): Promise<void> {
  await waitFor(
    async () => {
      await pruneAll(h);
      return (await told(h, id)).local;
    },
    { what: `the signature of the row ${id} to go` },
  );
}
