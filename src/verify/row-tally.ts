// Gathers what the comparison of rows finds: those of a table, or what is parked of it.

import { type Key, keyText } from './key-range.ts';
import type { RegionTable } from './region-connection.ts';
import type { InFlightRow, Settled } from './unsettled-rows.ts';

/** Details are read, and shown, of that many: a report that lists a table helps nobody. */
const REPORTED_MAX = 100;
const DETAILS_AT_ONCE = 10;
export const DIFFERING_MAX = 10_000;

/** What a region has of a row; null where it has none. */
export type RowDetails = Awaited<ReturnType<RegionTable['details']>>[number];

export interface DifferingRow {
  readonly key: Key;
  /** Per region. */
  readonly rows: readonly RowDetails[];
}

export class RowTally {
  /** By region. */
  readonly sources: readonly RegionTable[];
  readonly #rows: number[];
  readonly #different = new Map<string, Key>();
  readonly #inFlight = new Map<string, InFlightRow>();
  #settled = 0;
  #spelledDifferently = 0;

  constructor(sources: readonly RegionTable[]) {
    this.sources = sources;
    this.#rows = sources.map(() => 0);
  }

  /** Rows read in each region. */
  get rows(): readonly number[] {
    return this.#rows;
  }

  get rowsMost(): number {
    return Math.max(...this.#rows);
  }

  get settled(): number {
    return this.#settled;
  }

  get spelledDifferently(): number {
    return this.#spelledDifferently;
  }

  get differing(): number {
    return this.#different.size;
  }

  /** The first of those in flight. */
  get inFlight(): readonly InFlightRow[] {
    return [...this.#inFlight.values()].slice(0, REPORTED_MAX);
  }

  /** So many rows differ that looking at the others tells nothing new. */
  get isHopeless(): boolean {
    return this.differing >= DIFFERING_MAX;
  }

  addRows(rows: readonly number[]): void {
    for (const [index, each] of rows.entries()) this.#rows[index] = (this.#rows[index] ?? 0) + each;
  }

  add(settled: Settled): void {
    this.#settled += settled.settled;
    this.#spelledDifferently += settled.spelledDifferently;
    for (const key of settled.different) this.#different.set(keyText(key), key);
    for (const row of settled.inFlight) this.#inFlight.set(keyText(row.key), row);
  }

  /** The first of the rows that differ, as they are now in every region. */
  async *different(): AsyncGenerator<DifferingRow> {
    const keys = [...this.#different.values()].slice(0, REPORTED_MAX);
    for (let from = 0; from < keys.length; from += DETAILS_AT_ONCE) {
      const some = keys.slice(from, from + DETAILS_AT_ONCE);
      const lists = await Promise.all(this.sources.map((source) => source.details(some)));
      yield* some.map((key, place) => ({ key, rows: lists.map((list) => list[place] ?? null) }));
    }
  }
}
