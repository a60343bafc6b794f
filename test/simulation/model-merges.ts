/** What a transaction of the model does to what is kept of rows that merge: as the statements of `sql-merges.ts` do it. */

import type {
  HistoryEntry,
  KeptMerge,
  MergeEntry,
  RowHistory,
  RowKey,
  ShadowEntry,
  TableName,
} from '../../src/apply/apply-port.ts';
import type { Image } from '../../src/change/change-event.ts';
import { compareVersions, type Version } from '../../src/change/version.ts';
import { invariant } from '../../src/platform/assert.ts';
import { type KeptMergeRow, type ModelStore, rowName, write } from './model-store.ts';
import type { Transaction } from './model-transaction.ts';

export class ModelMerges {
  readonly #store: ModelStore;
  readonly #model: Transaction;

  constructor(store: ModelStore, model: Transaction) {
    this.#store = store;
    this.#model = model;
  }

  find(shape: TableName, keys: readonly RowKey[]): Map<RowKey, KeptMerge> {
    const found = keys.flatMap((key) => this.#store.merges.get(rowName(shape, key)) ?? []);
    return new Map(found.map((kept) => [kept.key, kept]));
  }

  keys(table: string): { key: RowKey; pk: Image }[] {
    return [...this.#store.merges.values()].filter((kept) => kept.table === table && kept.state !== null);
  }

  addHistory(shape: TableName, rows: readonly RowHistory[]): void {
    for (const { key, entries } of rows) {
      const known = this.#of(shape, key);
      const isKnown = (entry: HistoryEntry): boolean =>
        known.events.some((each) => compareVersions(each.version, entry.version) === 0 && each.index === entry.index);
      this.#put(shape, { ...known, events: [...known.events, ...entries.filter((entry) => !isKnown(entry))] });
    }
  }

  put(shape: TableName, rows: readonly MergeEntry[]): void {
    for (const row of rows) this.#put(shape, { ...this.#of(shape, row.key), ...row });
  }

  dropHistory(
    shape: TableName,
    rows: readonly { readonly key: RowKey; readonly upTo: Version; readonly whole: boolean }[],
  ): void {
    for (const { key, upTo, whole } of rows) {
      const known = this.#of(shape, key);
      const events = known.events.filter(({ version }) => compareVersions(version, upTo) > 0);
      if (whole) write(this.#store.merges, rowName(shape, key), undefined, this.#model);
      else this.#put(shape, { ...known, events });
    }
  }

  putShadows(shape: TableName, cases: readonly ShadowEntry[]): void {
    for (const each of cases) {
      const name = rowName(shape, `${JSON.stringify(each.pk)} ${each.event.event_id}`);
      invariant(!this.#store.shadows.has(name), 'a conflict is judged once');
      write(this.#store.shadows, name, each, this.#model);
    }
  }

  #of({ schema, table, id }: TableName, key: RowKey): KeptMergeRow {
    const nothing = { schema, table, key, pk: {}, hlc: 0n, state: null, visit_at: null, events: [] };
    return this.#store.merges.get(rowName({ id }, key)) ?? nothing;
  }

  #put(shape: TableName, row: KeptMergeRow): void {
    write(this.#store.merges, rowName(shape, row.key), row, this.#model);
  }
}
