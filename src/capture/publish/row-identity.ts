/**
 * Which rows a transaction touched, as text: for the Stamper, which must know whether two transactions changed the same
 * one.
 *
 * Two texts may stand for one row only where they are equal; two different texts of a `looseKey` table may be one row
 * all the same (1.0 and 1.00), so all rows of such a table share one text. That makes the Stamper push a little more
 * often there, and never too rarely. An UPDATE that changes the key is about both rows.
 *
 * Beyond a bound rows are no longer named, and the transaction counts for its whole tables.
 */
import type { Image } from '../../change/change-event.ts';
import type { StampedRows } from '../../clock/stamper.ts';
import { fail } from '../../platform/errors.ts';
import type { RowChange } from './decoded-transaction.ts';

export type TouchedLimits = {
  readonly transaction_rows_max: number;
  readonly transaction_bytes_max: number;
};

/** What one held change costs beyond its values: objects, property slots, the key's text. */
const CHANGE_OVERHEAD_BYTES = 200;
const COLUMN_OVERHEAD_BYTES = 16;

/** The key's columns after the change (before it, for DELETE); empty for TRUNCATE. */
export function rowPk(change: RowChange): Image {
  if (change.operation === 'TRUNCATE') return {};
  const image = change.operation === 'DELETE' ? change.before : change.after;
  const pk: { [column: string]: string | null } = {};
  for (const column of change.key) {
    const value = image?.[column] ?? change.before?.[column];
    if (value === undefined) {
      const table = `${change.schema}.${change.table}`;
      throw fail('SYN-K008', `a change of ${table} does not hold the key column ${column}`, { context: { table } });
    }
    pk[column] = value;
  }
  return pk;
}

/** A table, or a row whose text does not tell it from the others of its table. */
export function tableText(schema: string, table: string): string {
  return JSON.stringify([schema, table]);
}

/** A row, by the values of its key in index order. */
export function rowText(schema: string, table: string, key: readonly (string | null | undefined)[]): string {
  return JSON.stringify([schema, table, ...key]);
}

/** What a transaction touched, gathered change by change. */
export class TouchedRows {
  readonly #limits: TouchedLimits;
  #rowCount = 0;
  #bytes = 0;
  #keys: string[] | null = [];
  readonly #tables = new Set<string>();
  readonly #truncated = new Set<string>();
  /** The table of the last change: most changes follow one of the same table. */
  #schema: string | null = null;
  #table = '';
  #tableText = '';

  constructor(limits: TouchedLimits) {
    this.#limits = limits;
  }

  add(change: RowChange): void {
    const table = this.#textOf(change.schema, change.table);
    this.#tables.add(table);
    if (this.#keys === null) return;
    // A decision about a parked row is later than whatever it was made about, wherever that row stands.
    if (change.operation === 'TRUNCATE' || change.operator === true) this.#truncated.add(table);
    else if (change.looseKey === true) this.#keys.push(table);
    else this.#addKeys(this.#keys, change);
    this.#rowCount += 1;
    this.#bytes += sizeOf(change);
    const { transaction_rows_max, transaction_bytes_max } = this.#limits;
    if (this.#rowCount > transaction_rows_max || this.#bytes > transaction_bytes_max) this.#keys = null;
  }

  /** There are too many rows to name, or to hold until the commit. */
  get isGiant(): boolean {
    return this.#keys === null;
  }

  get rows(): StampedRows {
    const tables = [...this.#tables];
    return this.#keys === null ? { kind: 'tables', tables } : { kind: 'rows', keys: this.#keys, tables };
  }

  /** Tables all of whose rows it changed. */
  get truncated(): readonly string[] {
    return [...this.#truncated];
  }

  #addKeys(keys: string[], { schema, table, key, operation, before, after }: RowChange): void {
    const image = operation === 'DELETE' ? before : after;
    keys.push(keyText(schema, table, key, image, before));
    if (operation === 'UPDATE' && before !== null && isKeyChanged(key, before, after)) {
      keys.push(keyText(schema, table, key, before, image));
    }
  }

  #textOf(schema: string, table: string): string {
    if (schema !== this.#schema || table !== this.#table) {
      this.#schema = schema;
      this.#table = table;
      this.#tableText = tableText(schema, table);
    }
    return this.#tableText;
  }
}

/** A column that one of the images lacks has not changed. */
function isKeyChanged(key: readonly string[], before: Image, after: Image | null): boolean {
  return key.some((column) => (before[column] ?? after?.[column]) !== (after?.[column] ?? before[column]));
}

function keyText(
  schema: string,
  table: string,
  key: readonly string[],
  image: Image | null,
  otherwise: Image | null,
): string {
  return rowText(
    schema,
    table,
    key.map((column) => image?.[column] ?? otherwise?.[column]),
  );
}

function sizeOf({ before, after }: RowChange): number {
  let bytes = CHANGE_OVERHEAD_BYTES;
  for (const image of [before, after]) {
    for (const column in image) bytes += COLUMN_OVERHEAD_BYTES + (image[column]?.length ?? 0);
  }
  return bytes;
}
