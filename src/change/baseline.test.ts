import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { BASELINE_PARTS, BaselineTally, compareBaselines, type TableBaseline } from './baseline.ts';
import type { Image } from './change-event.ts';

const LAYOUT = { schema: 'public', table: 't', columns: ['id', 'v'], key: ['id'] };

function baselineOf(rows: readonly Image[], layout = LAYOUT): TableBaseline {
  const tally = new BaselineTally(layout);
  for (const row of rows) tally.toggle(row, 1);
  return tally.result();
}

const rowOf = (id: number, v: string | null): Image => ({ id: String(id), v });

const text = fc.oneof(fc.constant(null), fc.string({ maxLength: 4 }), fc.constantFrom('NULL', "'", '\\', ',', 'a,b'));
const table = fc.uniqueArray(fc.tuple(fc.nat({ max: 300 }), text), { selector: ([id]) => id, maxLength: 60 });
const change = fc.record({ id: fc.nat({ max: 300 }), v: fc.option(text, { nil: undefined }) });

describe('the digest of a table', () => {
  test('says whether two tables hold the same rows, in whichever order, and how many', () => {
    fc.assert(
      fc.property(table, table, fc.boolean(), (one, other, isSame) => {
        const a = one.map(([id, v]) => rowOf(id, v));
        const b = isSame ? a.toReversed() : other.map(([id, v]) => rowOf(id, v));
        const { different, compared } = compareBaselines([baselineOf(a)], [baselineOf(b)]);
        const sorted = (rows: readonly Image[]): string[] => rows.map((row) => JSON.stringify(row)).sort();
        const isEqual = JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));
        assert.equal(different.length === 0, isEqual);
        assert.equal(compared, 1);
        assert.equal(baselineOf(a).rows, a.length);
      }),
      { numRuns: 1_000 },
    );
  });

  test('of any later moment, less what has changed until then, is that of the beginning', () => {
    fc.assert(
      fc.property(table, fc.array(change, { maxLength: 80 }), (beginning, changes) => {
        const rows = new Map(beginning.map(([id, v]) => [id, rowOf(id, v)]));
        const images: { before: Image | undefined; after: Image | undefined }[] = [];
        for (const { id, v } of changes) {
          const after = v === undefined ? undefined : rowOf(id, v);
          images.push({ before: rows.get(id), after });
          if (after === undefined) rows.delete(id);
          else rows.set(id, after);
        }
        const tally = new BaselineTally(LAYOUT);
        for (const row of rows.values()) tally.toggle(row, 1);
        for (const { before, after } of images) {
          if (before !== undefined) tally.toggle(before, 1);
          if (after !== undefined) tally.toggle(after, -1);
        }
        assert.deepEqual(tally.result(), baselineOf(beginning.map(([id, v]) => rowOf(id, v))));
      }),
      { numRuns: 500 },
    );
  });

  test('knows columns by name, whatever their order, and a name that every object has', () => {
    const layout = { ...LAYOUT, columns: ['v', 'id', 'constructor'] };
    const rows = [{ id: '1', constructor: 'x', v: null }] as unknown as Image[];
    assert.deepEqual(baselineOf(rows, layout), baselineOf(rows, { ...layout, columns: ['constructor', 'id', 'v'] }));
    const tally = new BaselineTally(layout);
    tally.toggle({ id: '1', v: 'a' }, 1);
    assert.equal(tally.result().untold, 'its columns have changed since');
  });

  test('has a bounded size', () => {
    const rows = Array.from({ length: 5_000 }, (_, id) => rowOf(id, 'x'));
    assert.equal(Object.keys(baselineOf(rows).parts).length, BASELINE_PARTS);
  });
});

describe('the comparison', () => {
  test('names the tables that differ, with the rows of both sides and how much differs at least', () => {
    const rows = Array.from({ length: 100 }, (_, id) => rowOf(id, 'x'));
    const { different } = compareBaselines([baselineOf(rows)], [baselineOf([...rows.slice(1), rowOf(1_000, 'new')])]);
    assert.equal(different.length, 1);
    const [difference] = different;
    assert.deepEqual(
      { ...difference, parts: (difference?.parts ?? 0) > 0 },
      { table: 'public.t', rows_here: 100, rows_there: 100, parts: true, columns: [] },
    );
  });

  test('names columns that only one side has, also of tables without rows', () => {
    const { different } = compareBaselines([baselineOf([])], [baselineOf([], { ...LAYOUT, columns: ['id', 'w'] })]);
    assert.deepEqual(different, [{ table: 'public.t', rows_here: 0, rows_there: 0, parts: 0, columns: ['v', 'w'] }]);
  });

  test('passes over tables that only one side replicates, and says which', () => {
    const other = { ...LAYOUT, table: 'other' };
    const result = compareBaselines([baselineOf([]), baselineOf([], other)], [baselineOf([])]);
    assert.deepEqual(result, { compared: 1, uncompared: ['public.other'], different: [], untold: [] });
  });

  test('never calls a table equal that cannot be told on either side', () => {
    const tally = new BaselineTally(LAYOUT);
    tally.giveUp('it was truncated before it was read');
    for (const [here, there] of [
      [tally.result(), baselineOf([])],
      [baselineOf([]), tally.result()],
    ] as const) {
      const { untold, different } = compareBaselines([here], [there]);
      assert.deepEqual(different, []);
      assert.deepEqual(untold, [{ table: 'public.t', reason: 'it was truncated before it was read' }]);
    }
  });
});
