/**
 * The events of one giant transaction on the rows of one table, until something contests a row: packed, for there may be a
 * million of them, and next to all are forgotten unasked.
 *
 * All of them share their transaction, so of each no more is kept than its row, its place in the transaction, and whether it
 * removes; of several on one row the last speaks, as everywhere. One that is asked about is unpacked for good:
 * what the judge notes on an event must not be lost.
 *
 * Not for a write with a pushed stamp, which is judged by what it left of its row, nor for a row that has one before it.
 */
import type { RowKey, TableShape } from '../apply-port.ts';
import { NOT_COLD } from './cold-events.ts';
import { PackedRows } from './packed-rows.ts';
import type { EventHolder, Passed, PassedSource } from './passed-event.ts';

/** Events that agree in all but their row and their place. */
type Kind = Pick<Passed, 'removes' | 'merge'> & { readonly rows: PackedRows };

export class PackedEvents {
  readonly shape: TableShape;
  readonly source: PassedSource;
  readonly holder: EventHolder;
  readonly #kinds: Kind[] = [];
  #unpacked = 0;

  constructor(shape: TableShape, source: PassedSource, holder: EventHolder) {
    this.shape = shape;
    this.source = source;
    this.holder = holder;
  }

  /** How many there were, unpacked or not. */
  get total(): number {
    return this.#kinds.reduce((sum, { rows }) => sum + rows.size, this.#unpacked);
  }

  /** The next event of the transaction. */
  add(key: RowKey, index: number, { removes, merge }: Pick<Passed, 'removes' | 'merge'>): void {
    let own: Kind | undefined;
    for (const kind of this.#kinds) {
      if (kind.removes === removes && kind.merge === merge) own = kind;
      else kind.rows.delete(key);
    }
    if (own === undefined) {
      own = { removes, merge, rows: new PackedRows() };
      this.#kinds.push(own);
    }
    own.rows.set(key, index);
  }

  /** A later event of the transaction on that row is kept elsewhere. */
  drop(key: RowKey): void {
    for (const { rows } of this.#kinds) rows.delete(key);
  }

  has(key: RowKey): boolean {
    return this.#kinds.some(({ rows }) => rows.get(key) !== undefined);
  }

  /** Those that are packed. */
  *keys(): Generator<RowKey> {
    for (const { rows } of this.#kinds) yield* rows.keys();
  }

  unpack(key: RowKey): Passed | null {
    for (const { removes, merge, rows } of this.#kinds) {
      const index = rows.delete(key);
      if (index === undefined) continue;
      const passed: Passed = {
        source: this.source,
        index,
        isTruncate: false,
        left: undefined,
        found: undefined,
        removes,
        merge,
        event: null,
        holder: this.holder,
        coldAt: NOT_COLD,
        isSettled: false,
      };
      this.#unpacked += 1;
      return passed;
    }
    return null;
  }
}
