import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { compareRanges, type Key, type KeyedRow, type KeyRange, type RangeSource } from './key-range.ts';

/** A region that keeps its rows in an order of its own. */
class ListedRows implements RangeSource {
  readonly #rows: readonly KeyedRow[];
  readonly #placeOf: (key: string) => number;
  readonly #isSampled: boolean;
  reads = 0;

  constructor(values: ReadonlyMap<string, string>, placeOf: (key: string) => number, isSampled = true) {
    this.#placeOf = placeOf;
    this.#isSampled = isSampled;
    this.#rows = [...values]
      .map(([key, digest]) => ({ key: [key], digest }))
      .sort((a, b) => placeOf(a.key[0] ?? '') - placeOf(b.key[0] ?? ''));
  }

  #in(range: KeyRange): KeyedRow[] {
    const place = (key: Key | null, otherwise: number): number =>
      key === null ? otherwise : this.#placeOf(key[0] ?? '');
    const after = place(range.after, -Infinity);
    const upTo = place(range.upTo, Infinity);
    return this.#rows.filter(({ key }) => this.#placeOf(key[0] ?? '') > after && this.#placeOf(key[0] ?? '') <= upTo);
  }

  async digest(range: KeyRange, rowsMax: number) {
    const rows = this.#in(range).slice(0, rowsMax);
    const texts = rows.map(({ key, digest }) => `${key.join()}=${digest}`).sort();
    return { rows: rows.length, digest: texts.length === 0 ? null : texts.join('|') };
  }

  async bounds(range: KeyRange, every: number, count: number) {
    const chosen = this.#in(range).filter((_, index) => (index + 1) % every === 0);
    return chosen.slice(0, count).map(({ key }) => key);
  }

  async sample(count: number) {
    return this.#isSampled ? this.#rows.slice(0, count).map(({ key }) => key) : [];
  }

  async order(keys: readonly Key[]) {
    const places = keys.map(([key = ''], index) => ({ index, place: this.#placeOf(key) }));
    return places.sort((a, b) => a.place - b.place).map(({ index }) => index);
  }

  async rows(range: KeyRange, rowsMax: number) {
    const rows = this.#in(range).slice(0, rowsMax);
    this.reads += rows.length;
    return rows;
  }
}

const sizes = { chunkRows: 8, leafRows: 2 };

async function suspectsOf(sources: readonly RangeSource[], walker: number): Promise<Set<string>> {
  const suspects = new Set<string>();
  for await (const outcome of compareRanges(sources, walker, sizes)) {
    for (const key of outcome.suspects) suspects.add(key.join());
  }
  return suspects;
}

/** What a comparison of everything with everything finds. */
function differing(tables: readonly ReadonlyMap<string, string>[]): Set<string> {
  const keys = new Set(tables.flatMap((table) => [...table.keys()]));
  return new Set([...keys].filter((key) => new Set(tables.map((table) => table.get(key))).size > 1));
}

const byNumber = (key: string): number => Number(key);
const numbered = (count: number): Map<string, string> =>
  new Map(Array.from({ length: count }, (_, index) => [String(index), 'same']));

const table = fc
  .array(fc.tuple(fc.integer({ min: 0, max: 150 }), fc.integer({ min: 0, max: 1 })), { maxLength: 120 })
  .map((rows) => new Map(rows.map(([key, value]) => [String(key), String(value)])));

describe('comparing ranges', () => {
  test('finds exactly the rows that differ where all regions sort alike', async () => {
    const property = fc.asyncProperty(
      fc.array(table, { minLength: 2, maxLength: 4 }),
      fc.nat(),
      async (tables, pick) => {
        const sources = tables.map((rows) => new ListedRows(rows, byNumber));
        assert.deepEqual(await suspectsOf(sources, pick % tables.length), differing(tables));
      },
    );
    await fc.assert(property, { numRuns: 300 });
  });

  for (const isSampled of [true, false]) {
    test(`misses no row where every region sorts in another way, ${isSampled ? 'known' : 'unknown'} beforehand`, async () => {
      const orders = fc.array(fc.integer({ min: 1, max: 1_000_000 }), { minLength: 4, maxLength: 4 });
      const tables = fc.array(table, { minLength: 2, maxLength: 4 });
      const property = fc.asyncProperty(tables, orders, fc.nat(), async (rows, seeds, pick) => {
        const sources = rows.map((each, index) => {
          const placeOf = (key: string): number => ((Number(key) * 7_919 + 1) * (seeds[index] ?? 1)) % 1_000_003;
          return new ListedRows(each, placeOf, isSampled);
        });
        const suspects = await suspectsOf(sources, pick % rows.length);
        for (const key of differing(rows)) assert.ok(suspects.has(key), `row ${key} was missed`);
      });
      await fc.assert(property, { numRuns: 200 });
    });
  }

  test('reads rows one by one only where ranges differ', async () => {
    const one = numbered(4_000);
    const other = new Map(one).set('1234', 'changed');
    const sources = [new ListedRows(one, byNumber), new ListedRows(other, byNumber)];
    assert.deepEqual(await suspectsOf(sources, 0), new Set(['1234']));
    assert.ok(
      sources.every(({ reads }) => reads <= 4),
      'only the leaf is read',
    );
  });

  test('a region that lacks nearly all rows makes no range too large', async () => {
    const full = numbered(1_000);
    const sources = [new ListedRows(new Map([['500', 'same']]), byNumber), new ListedRows(full, byNumber)];
    const suspects = await suspectsOf(sources, 0);
    assert.equal(suspects.size, 999);
    assert.ok(!suspects.has('500'));
  });

  test('counts every row once, and shows how far it has come', async () => {
    const sources = [new ListedRows(numbered(100), byNumber), new ListedRows(numbered(100), byNumber)];
    const counts = [0, 0];
    const bounds: (string | undefined)[] = [];
    for await (const { rows, upTo } of compareRanges(sources, 0, sizes)) {
      bounds.push(upTo?.join());
      for (const [index, each] of rows.entries()) counts[index] = (counts[index] ?? 0) + each;
    }
    assert.deepEqual(counts, [100, 100]);
    assert.equal(bounds.at(-1), undefined);
  });

  test('a failing read fails the comparison, also when it was started ahead', async () => {
    const broken = new ListedRows(numbered(100), byNumber);
    let digests = 0;
    broken.digest = async () => {
      digests += 1;
      if (digests === 3) throw new Error('lost');
      return { rows: 8, digest: 'x' };
    };
    await assert.rejects(suspectsOf([broken, broken], 0), /lost/);
  });
});
