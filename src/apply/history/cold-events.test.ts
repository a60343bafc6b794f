/** Events that are written down come back as they were, for as long as what they came in is kept. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as fc from 'fast-check';
import { makePosition, type Position, type Seen } from '../../change/position.ts';
import { ColdEvents, NOT_COLD } from './cold-events.ts';
import type { EventHolder, Passed } from './passed-event.ts';

const ORIGINS = ['a', 'b', 'c'];
const EPOCHS = ['0000000000000000001', '0000000000000000002'];
const ROWS = 4;
/** More than one holder is open at any time. */
const KEPT = 3;

type Step =
  | { readonly kind: 'append'; readonly row: number; readonly event: Passed; readonly isNew: boolean }
  | { readonly kind: 'note'; readonly row: number }
  | { readonly kind: 'forget' };

const position = fc
  .record({ epoch: fc.constantFrom(...EPOCHS), lsn: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }) })
  .map(({ epoch, lsn }): Position => makePosition(epoch, lsn));
const seen = fc.dictionary(fc.constantFrom(...ORIGINS), position, { noNullPrototype: true }) as fc.Arbitrary<Seen>;
const event = fc
  .record({
    source: fc.record(
      {
        origin: fc.constantFrom(...ORIGINS),
        hlc: fc.bigInt({ min: 1n, max: 2n ** 63n - 1n }),
        position,
        seen,
        stated: fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }),
        first_offset: fc.option(fc.nat(), { nil: undefined }),
        is_pushed: fc.boolean(),
      },
      { noNullPrototype: true },
    ),
    index: fc.nat(0xffff_ffff),
    removes: fc.boolean(),
    merge: fc.option(fc.constantFrom('one', 'two'), { nil: undefined }),
    isSettled: fc.boolean(),
  })
  .map(
    (made): Omit<Passed, 'holder'> => ({
      ...made,
      isTruncate: false,
      left: undefined,
      found: undefined,
      event: null,
      coldAt: NOT_COLD,
    }),
  );
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('append' as const),
      row: fc.nat(ROWS - 1),
      event: event as fc.Arbitrary<Passed>,
      isNew: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('note' as const), row: fc.nat(ROWS - 1) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('forget' as const) }) },
);

describe('cold events', () => {
  test('are what was written, less what is forgotten, whatever the size of a chunk', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60, size: 'max' }), fc.integer({ min: 1, max: 4 }), (steps, size) => {
        const cold = new ColdEvents(size);
        const rows = Array.from({ length: ROWS }, () => ({ newest: NOT_COLD, events: [] as Passed[] }));
        let holders: { isForgotten: boolean }[] = [{ isForgotten: false }];
        for (const each of steps) {
          if (each.kind === 'forget') {
            const [oldest] = holders;
            if (oldest === undefined || holders.length < KEPT) continue;
            holders = holders.slice(1);
            oldest.isForgotten = true;
            cold.forget(oldest);
          } else if (each.kind === 'append') {
            if (each.isNew) holders.push({ isForgotten: false });
            const row = rows[each.row];
            const holder = holders.at(-1) as EventHolder;
            if (row === undefined || !cold.takes(each.event)) continue;
            const written = { ...each.event, holder };
            row.newest = cold.append(written, row.newest);
            row.events.push({ ...written, coldAt: row.newest });
          } else {
            const noted = rows[each.row]?.events.at(-1);
            if (noted === undefined) continue;
            noted.isSettled = true;
            cold.note(noted);
          }
          for (const { newest, events } of rows) {
            const kept = events.filter(({ holder }) => !holder.isForgotten);
            assert.deepEqual(cold.read(newest), kept);
            const lines = Map.groupBy(kept, ({ source }) => `${source.origin} ${source.position.slice(0, 19)}`);
            const ends = [...lines.values()].flatMap((line) => line.at(-1)?.source ?? []);
            assert.deepEqual(
              new Set(cold.ends(newest).map((end) => `${end.origin} ${end.position}`)),
              new Set(ends.map((end) => `${end.origin} ${end.position}`)),
            );
            for (const { source } of events)
              assert.equal(
                cold.some(newest, ({ hlc }) => hlc === source.hlc),
                kept.some((one) => one.source.hlc === source.hlc),
              );
          }
        }
      }),
      { numRuns: 200 },
    );
  });

  test('of which something more is known than is written are not taken', () => {
    const cold = new ColdEvents(4);
    const [plain] = fc.sample(event, 1) as Passed[];
    assert.ok(plain !== undefined && cold.takes(plain));
    const image = { id: '1' };
    for (const more of [{ isTruncate: true }, { left: image }, { found: null }, { found: image }, { event: {} }])
      assert.equal(cold.takes({ ...plain, ...more } as Passed), false);
  });
});
