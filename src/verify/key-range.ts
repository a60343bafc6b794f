// Keys and ranges of keys, and the comparison of a range between regions, from digests down to rows.
//
// A range goes from a key, left out, to a key, taken in. Each region reads it in the order of its
// own index, and those orders may differ: two servers sort one text differently when their collations
// or libraries do. So nothing here relies on a common order. A region that walks the ranges
// (b0, b1], (b1, b2] … (bn, ∞) meets each of its rows at least once whatever the order of the bounds
// is for it: the row lies above the first bound and not above the last, so it crosses over somewhere.
// A row that differs is therefore in some unequal range, and what an unequal range yields is no
// difference yet, only a suspect: rows to be looked up by key in every region. A foreign order costs
// time and never a wrong answer. Orders that contradict each other widely would cost too much time, as
// each range of one region is most of the table in another; a sample tells, and then every row of
// every region is a suspect.
//
// Reading whole tables side by side and merging them would be simpler, and is wrong for that reason.

import { invariant } from '../platform/assert.ts';

/** The text of a key's values, in the order of the key's columns. */
export type Key = readonly string[];

export interface KeyRange {
  /** Rows above this key; null means from the beginning. */
  readonly after: Key | null;
  /** Rows up to and with this key; null means to the end. */
  readonly upTo: Key | null;
}

export const EVERYTHING: KeyRange = { after: null, upTo: null };

export interface RangeDigest {
  readonly rows: number;
  /** Of all columns of the rows; does not depend on their order. Null if there are none. */
  readonly digest: string | null;
}

export interface KeyedRow {
  readonly key: Key;
  readonly digest: string;
}

/** What the comparison asks of one region about one table. */
export interface RangeSource {
  /** Of the first rows of the range, at most `rowsMax`. */
  digest(range: KeyRange, rowsMax: number): Promise<RangeDigest>;
  /** The key of each `every`th row of the range, at most `count` of them. */
  bounds(range: KeyRange, every: number, count: number): Promise<Key[]>;
  /** The first rows of the range, at most `rowsMax`. */
  rows(range: KeyRange, rowsMax: number): Promise<KeyedRow[]>;
  /** Keys from all over the table, at most `count`; none where every server sorts such keys alike. */
  sample(count: number): Promise<Key[]>;
  /** The places of the keys in the order of this region. */
  order(keys: readonly Key[]): Promise<number[]>;
}

export interface RangeOutcome {
  /** How far the walk has come; null at its end. */
  readonly upTo: Key | null;
  /** Rows read in each region. */
  readonly rows: readonly number[];
  /** Keys of rows that are not the same everywhere, as far as these reads can tell. */
  readonly suspects: readonly Key[];
}

export interface RangeSizes {
  /** Rows of a range that is compared by one digest. */
  readonly chunkRows: number;
  /** Rows of the ranges that an unequal one is divided into. */
  readonly leafRows: number;
}

export const RANGE_SIZES: RangeSizes = { chunkRows: 8_192, leafRows: 512 };

/** Ranges whose digests are asked for in advance, which hides the way to distant servers. */
const AHEAD_MAX = 4;
const BOUNDS_MAX = 16;
const SAMPLE_ROWS = 1_000;
/** Between the bounds of one region another may have more rows; by this factor more are not read at once. */
const OVERFULL = 4;
/** Divisions within divisions. Orders that contradict each other would go on; their rows are all suspects. */
const DEPTH_MAX = 8;

export const keyText = (key: Key): string => JSON.stringify(key);

/** Compares all rows; the region `walker` sets the bounds, so it should be the one with the most rows. */
export async function* compareRanges(
  regions: readonly RangeSource[],
  walker: number,
  sizes: RangeSizes = RANGE_SIZES,
): AsyncGenerator<RangeOutcome> {
  const comparison = new Comparison(regions, sizes);
  if (await comparison.sortAlike(walker)) yield* comparison.walk(EVERYTHING, walker, sizes.chunkRows, 0);
  else yield* comparison.suspectAll(EVERYTHING);
}

class Comparison {
  readonly #regions: readonly RangeSource[];
  readonly #sizes: RangeSizes;

  constructor(regions: readonly RangeSource[], sizes: RangeSizes) {
    this.#regions = regions;
    this.#sizes = sizes;
  }

  async sortAlike(walker: number): Promise<boolean> {
    const keys = await this.#region(walker).sample(SAMPLE_ROWS);
    if (keys.length === 0) return true;
    const orders = await Promise.all(this.#regions.map((region) => region.order(keys)));
    return orders.every((order) => order.every((place, index) => place === orders[0]?.[index]));
  }

  /** Compares the range in pieces of `step` rows of the walking region. */
  async *walk(range: KeyRange, walker: number, step: number, depth: number): AsyncGenerator<RangeOutcome> {
    if (depth > DEPTH_MAX) {
      yield* this.suspectAll(range);
      return;
    }
    let { after } = range;
    for (let isEnd = false; !isEnd; ) {
      const bounds = await this.#region(walker).bounds({ ...range, after }, step, BOUNDS_MAX);
      isEnd = bounds.length < BOUNDS_MAX;
      const pieces = piecesOf(after, isEnd ? [...bounds, range.upTo] : bounds);
      const compared = inTurn(pieces, AHEAD_MAX, async (piece) => ({ piece, digests: await this.#digests(piece) }));
      for await (const { piece, digests } of compared) yield* this.#compare(piece, digests, depth);
      after = bounds.at(-1) ?? after;
    }
  }

  async *#compare(range: KeyRange, digests: readonly RangeDigest[], depth: number): AsyncGenerator<RangeOutcome> {
    const rows = digests.map((each) => each.rows);
    const most = Math.max(...rows);
    const biggest = rows.indexOf(most);
    const isEqual = digests.every((each) => each.rows === most && each.digest === digests[0]?.digest);
    if (most >= this.#rowsMax) yield* this.walk(range, biggest, this.#sizes.chunkRows, depth + 1);
    else if (isEqual) yield { upTo: range.upTo, rows, suspects: [] };
    else if (most > 2 * this.#sizes.leafRows) yield* this.walk(range, biggest, this.#sizes.leafRows, depth + 1);
    else yield* this.#compareRows(range, depth);
  }

  async *#compareRows(range: KeyRange, depth: number): AsyncGenerator<RangeOutcome> {
    const lists = await Promise.all(this.#regions.map((region) => region.rows(range, this.#rowsMax)));
    // Writers may have filled the range since its digest was taken.
    const full = lists.findIndex((list) => list.length >= this.#rowsMax);
    if (full >= 0) yield* this.walk(range, full, this.#sizes.chunkRows, depth + 1);
    else yield { upTo: range.upTo, rows: lists.map((list) => list.length), suspects: suspectsOf(lists) };
  }

  async *suspectAll(range: KeyRange): AsyncGenerator<RangeOutcome> {
    for (const [index, region] of this.#regions.entries()) {
      let { after } = range;
      for (let isEnd = false; !isEnd; ) {
        const page = await region.rows({ ...range, after }, this.#sizes.chunkRows);
        isEnd = page.length < this.#sizes.chunkRows;
        const rows = this.#regions.map((_, other) => (other === index ? page.length : 0));
        yield { upTo: range.upTo, rows, suspects: page.map(({ key }) => key) };
        after = page.at(-1)?.key ?? after;
      }
    }
  }

  #digests(range: KeyRange): Promise<RangeDigest[]> {
    return Promise.all(this.#regions.map((region) => region.digest(range, this.#rowsMax)));
  }

  get #rowsMax(): number {
    return this.#sizes.chunkRows * OVERFULL;
  }

  #region(index: number): RangeSource {
    const region = this.#regions[index];
    invariant(region !== undefined, 'the walking region is one of those compared');
    return region;
  }
}

function piecesOf(after: Key | null, bounds: readonly (Key | null)[]): KeyRange[] {
  return bounds.map((upTo, index) => ({ after: bounds[index - 1] ?? after, upTo }));
}

/** Keys that some region lacks, or whose rows differ. */
function suspectsOf(lists: readonly (readonly KeyedRow[])[]): Key[] {
  const keys = new Map<string, Key>();
  const seen = new Map<string, number>();
  for (const list of lists) {
    for (const { key, digest } of list) {
      const text = keyText(key);
      keys.set(text, key);
      const row = `${text}${digest}`;
      seen.set(row, (seen.get(row) ?? 0) + 1);
      if (seen.get(row) === lists.length) keys.delete(text);
    }
  }
  return [...keys.values()];
}

/** The results of the work on each item, in the order of the items, with some of the work done ahead. */
async function* inTurn<T, R>(
  items: readonly T[],
  aheadMax: number,
  work: (item: T) => Promise<R>,
): AsyncGenerator<Awaited<R>> {
  const started: Promise<R>[] = [];
  for (let next = 0; next < items.length || started.length > 0; ) {
    while (next < items.length && started.length < aheadMax) {
      const promise = work(items[next] as T);
      // Its failure is thrown when its turn comes; until then it is nobody's.
      promise.catch(() => undefined);
      started.push(promise);
      next += 1;
    }
    const first = started.shift();
    if (first !== undefined) yield await first;
  }
}
