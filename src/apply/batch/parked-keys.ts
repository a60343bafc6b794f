/**
 * Which rows are parked here, and which tables have to be settled because of that.
 *
 * The lane alone parks rows, so what it read at its start and did since is the truth, and a table without parked rows costs
 * nothing. A transaction's changes count once it has committed. Whatever writes to a table may free a value that a parked
 * row waits for, so the table is unsettled then; after a start every table is, because the lane before may have
 * died between its last batch and the settling.
 */
import type { ParkedKey, RowKey, TableShape } from '../apply-port.ts';

/** By table, whether each key is parked (true) or no more (false). */
export type ParkedChange = { readonly schema: string; readonly table: string; readonly keys: Map<RowKey, boolean> };

type ParkedTable = { readonly schema: string; readonly table: string; readonly keys: Set<RowKey> };

const NONE: ReadonlySet<RowKey> = new Set();

export class ParkedKeys {
  readonly #tables = new Map<string, ParkedTable>();
  readonly #unsettled = new Set<string>();

  load(parked: readonly ParkedKey[]): void {
    this.#tables.clear();
    this.#unsettled.clear();
    for (const { schema, table, key } of parked) {
      const known = this.#table(schema, table);
      known.keys.add(key);
      this.#unsettled.add(name(schema, table));
    }
  }

  of({ schema, table }: TableShape): ReadonlySet<RowKey> {
    return this.#tables.get(name(schema, table))?.keys ?? NONE;
  }

  /** Takes what a committed transaction did. */
  changed(changes: Iterable<ParkedChange>): void {
    for (const { schema, table, keys } of changes) {
      const known = this.#table(schema, table);
      for (const [key, isParked] of keys) {
        if (isParked) known.keys.add(key);
        else known.keys.delete(key);
      }
      this.touched(schema, table);
    }
  }

  /** Rows of the table were written, by the lane or by users. */
  touched(schema: string, table: string): void {
    const id = name(schema, table);
    const known = this.#tables.get(id);
    if (known === undefined) return;
    if (known.keys.size > 0) this.#unsettled.add(id);
    else {
      this.#tables.delete(id);
      this.#unsettled.delete(id);
    }
  }

  /** Whether any table's parked rows have to be looked at. */
  get isUnsettled(): boolean {
    return this.#unsettled.size > 0;
  }

  /** Tables whose parked rows have to be looked at. */
  get unsettled(): readonly { readonly schema: string; readonly table: string }[] {
    return [...this.#unsettled].flatMap((id) => this.#tables.get(id) ?? []);
  }

  settled(schema: string, table: string): void {
    this.#unsettled.delete(name(schema, table));
  }

  #table(schema: string, table: string): ParkedTable {
    const id = name(schema, table);
    const known = this.#tables.get(id) ?? { schema, table, keys: new Set<RowKey>() };
    this.#tables.set(id, known);
    return known;
  }
}

function name(schema: string, table: string): string {
  return JSON.stringify([schema, table]);
}
