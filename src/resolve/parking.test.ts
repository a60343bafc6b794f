import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { isAbove } from '../change/version.ts';
import { downwards, partRows } from './parking.ts';

type Row = { key: string; version: { hlc: bigint; origin: string }; claims: readonly (number | null)[] };

/** A row with a key, whose claims on two unique columns may be NULL. */
function rowOf(key: number, hlc: number, origin: string, claims: readonly (number | null)[]): Row {
  return { key: String(key), version: { hlc: BigInt(hlc), origin }, claims };
}

function conflict(a: Row, b: Row): boolean {
  return a.claims.some((value, place) => value !== null && value === b.claims[place]);
}

const claim = fc.option(fc.integer({ min: 1, max: 4 }), { freq: 3 });
const rows = fc.uniqueArray(
  fc
    .tuple(
      fc.integer({ min: 1, max: 9 }),
      fc.integer({ min: 1, max: 6 }),
      fc.constantFrom('a', 'b', 'c'),
      fc.tuple(claim, claim),
    )
    .map(([key, hlc, origin, claims]) => rowOf(key, hlc, origin, claims)),
  { selector: ({ key }) => key, maxLength: 9 },
);
/** Rows in the order in which they arrive. */
const arrivals = rows.chain((list) =>
  fc.shuffledSubarray(list, { minLength: list.length, maxLength: list.length }).map((order) => ({ list, order })),
);

/** What apply does: a row that arrives displaces lower ones or is parked, and then whoever may come back does. */
function arriveOneByOne(order: readonly Row[]): Set<Row> {
  const visible = new Set<Row>();
  const parked = new Set<Row>();
  const place = (row: Row): void => {
    const rivals = [...visible].filter((other) => conflict(other, row));
    if (rivals.some((rival) => downwards(rival, row) < 0)) {
      parked.add(row);
      return;
    }
    for (const rival of rivals) {
      visible.delete(rival);
      parked.add(rival);
    }
    parked.delete(row);
    visible.add(row);
  };
  for (const row of order) {
    place(row);
    for (;;) {
      const free = [...parked].find(
        (waiting) => ![...visible].some((above) => conflict(above, waiting) && downwards(above, waiting) < 0),
      );
      if (free === undefined) break;
      place(free);
    }
  }
  return visible;
}

describe('parking', () => {
  test('no two visible rows conflict, and every parked one has a visible one above it that it conflicts with', () => {
    fc.assert(
      fc.property(rows, (list) => {
        const { visible, parked } = partRows(list, conflict);
        assert.equal(visible.length + parked.length, list.length);
        for (const [place, row] of visible.entries()) {
          assert.ok(!visible.slice(place + 1).some((other) => conflict(row, other)));
        }
        for (const row of parked) {
          assert.ok(visible.some((above) => conflict(above, row) && !isAbove(row.version, above.version)));
        }
      }),
    );
  });

  test('what is visible does not depend on the order in which rows are given, or arrive', () => {
    fc.assert(
      fc.property(arrivals, ({ list, order }) => {
        const { visible } = partRows(list, conflict);
        assert.deepEqual(partRows(order, conflict).visible, visible);
        assert.deepEqual([...arriveOneByOne(order)].sort(downwards), visible);
      }),
    );
  });

  test('a displaced row frees its other values for rows below it', () => {
    const top = rowOf(1, 3, 'a', [1, null]);
    const middle = rowOf(2, 2, 'a', [1, 2]);
    const low = rowOf(3, 1, 'a', [null, 2]);
    assert.deepEqual(partRows([middle, low], conflict), { visible: [middle], parked: [low] });
    assert.deepEqual(partRows([low, middle, top], conflict), { visible: [top, low], parked: [middle] });
  });
});
