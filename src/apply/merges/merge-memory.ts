/**
 * Rows that merge, as they were read or left last, so that a hot row's history is not read again with every batch.
 *
 * The lane alone writes what is kept of them. What a transaction did to rows counts once it is committed; where it did not,
 * they are forgotten and read again.
 */
import type { Hlc } from '../../change/hlc.ts';
import {
  type ApplyTransaction,
  EVERY_ROW,
  type HistoryEntry,
  type KeptMerge,
  type RowKey,
  type TableShape,
} from '../apply-port.ts';
import { HistoryPacking } from './history-packing.ts';
import type { MergeRules } from './merge-rules.ts';
import { type HistoryEvent, MergedRow } from './merged-row.ts';

/** Of more, those that were asked for longest ago are forgotten: what is at hand is no more than a convenience. */
const ROWS_MAX = 10_000;

/**
 * `inherited` are events on every row that a row of which nothing is kept has from its beginning, and that are to be kept with
 * it. They are not in it yet: what the table holds of such a row may be its base, and comes first.
 */
export type LoadedMerge = { readonly row: MergedRow; readonly inherited: readonly HistoryEvent[] };

/** Which events on every row a row has from its beginning. */
export type Inheritance = {
  /** What is not stamped above that is in every row that nothing is kept of. */
  readonly above: Hlc;
  /** Rows of which an event is yet to come that may be older than that: they have all that there is. */
  readonly isLate: (key: RowKey) => boolean;
};

export class MergeMemory {
  readonly #rules: MergeRules;
  #packing: HistoryPacking;
  readonly #rows = new Map<string, MergedRow>();

  constructor(rules: MergeRules, packing = new HistoryPacking()) {
    this.#rules = rules;
    this.#packing = packing;
  }

  clear(): void {
    this.#rows.clear();
    // The rules are read anew, and packed events are found by those that they were packed with.
    this.#packing = new HistoryPacking(this.#packing.events);
  }

  /**
   * The rows as they are kept; new ones where nothing is. Whoever asks has them kept, or forgotten: one that is remembered here and
   * kept nowhere would miss what happens to every row of which anything is kept.
   */
  async load(
    transaction: ApplyTransaction,
    shape: TableShape,
    keys: readonly RowKey[],
    inheritance: Inheritance,
  ): Promise<Map<RowKey, LoadedMerge>> {
    const loaded = await this.read(transaction, shape, keys, inheritance);
    for (const [key, { row }] of loaded) {
      const name = nameOf(shape, key);
      this.#rows.delete(name);
      this.#rows.set(name, row);
    }
    for (const name of this.#rows.keys()) {
      if (this.#rows.size <= ROWS_MAX) break;
      this.#rows.delete(name);
    }
    return loaded;
  }

  /** The same for who only looks, and leaves no trace of it. */
  async read(
    transaction: ApplyTransaction,
    shape: TableShape,
    keys: readonly RowKey[],
    { above, isLate }: Inheritance,
  ): Promise<Map<RowKey, LoadedMerge>> {
    const unknown = keys.filter((key) => !this.#rows.has(nameOf(shape, key)));
    const kept: Map<RowKey, KeptMerge> =
      unknown.length === 0 ? new Map() : await transaction.merges(shape, [EVERY_ROW, ...unknown]);
    const ofAll = kept.get(EVERY_ROW)?.events ?? [];
    const newer = ofAll.filter(({ version }) => version.hlc > above);
    return new Map(
      keys.map((key) => {
        const known = this.#rows.get(nameOf(shape, key));
        if (known !== undefined) return [key, { row: known, inherited: [] }];
        const found = kept.get(key);
        const row =
          found?.state == null
            ? new MergedRow(undefined, this.#packing)
            : MergedRow.fromText(found.state, this.#packing);
        for (const entry of found?.events ?? []) row.fold.add(this.#toEvent(entry));
        row.fold.pack();
        const inherited = found !== undefined ? [] : isLate(key) ? ofAll : newer;
        return [key, { row, inherited: inherited.map((entry) => this.#toEvent(entry)) }];
      }),
    );
  }

  forget(shape: TableShape, key: RowKey): void {
    this.#rows.delete(nameOf(shape, key));
  }

  #toEvent(entry: HistoryEntry): HistoryEvent {
    return { ...entry, rule: this.#rules.rule(entry.merge) };
  }
}

function nameOf(shape: TableShape, key: RowKey): string {
  return `${shape.id} ${key}`;
}
