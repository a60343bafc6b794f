/**
 * The baseline of a region: what its tables held where its stream begins. Those rows are in no stream, so two regions
 * are joined only where they held the same.
 *
 * What a table held is told by its digest: per part of its keys, how many rows, and the exclusive or of the rows'
 * digests. So it depends on no order of rows, which collations and physical places decide, and a row is taken out again
 * by putting it in once more. That is what makes a baseline readable long after it: what a table holds at any later
 * moment, less what the stream says has changed until then, is the baseline. Rows differ by their key at least, so none
 * cancels another.
 *
 * A row's text is made the same way here, from the images of events, and in the database (`capture/baseline-scan.ts`):
 * PostgreSQL's own text of each column, as `quote_nullable` quotes it, in the order of the columns' names. The text of a
 * whole row would be shorter to write, and is quoted by rules that hang on the locale of the server.
 */
import { createHash } from 'node:crypto';
import type { Image } from './change-event.ts';
import type { TableBaseline } from './event-schema.ts';

export type { TableBaseline } from './event-schema.ts';

/** A table's rows fall into so many parts, by a digest of their keys. A power of two that a byte can hold. */
export const BASELINE_PARTS = 64;

export type TableLayout = {
  readonly schema: string;
  readonly table: string;
  /** Without generated ones; in any order. */
  readonly columns: readonly string[];
  readonly key: readonly string[];
};

type Part = { rows: number; digest: bigint };

export const byCodeUnits = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** The digest of one table while it is being made. */
export class BaselineTally {
  readonly #layout: TableLayout;
  readonly #parts = new Map<number, Part>();
  #untold: string | null = null;

  constructor(layout: TableLayout) {
    const { columns, key } = layout;
    this.#layout = { ...layout, columns: columns.toSorted(byCodeUnits), key: key.toSorted(byCodeUnits) };
  }

  /** Rows of one part, as the database has digested them. */
  add(part: number, rows: number, digest: bigint): void {
    const known = this.#parts.get(part) ?? { rows: 0, digest: 0n };
    this.#parts.set(part, { rows: known.rows + rows, digest: known.digest ^ digest });
  }

  /** Puts a row in, or takes out one that is in. */
  toggle(row: Image, rows: 1 | -1): void {
    const { columns, key } = this.#layout;
    const rowText = textOf(columns, row);
    const keyText = textOf(key, row);
    if (rowText === null || keyText === null) {
      this.giveUp('its columns have changed since');
      return;
    }
    this.add((sha256(keyText)[0] ?? 0) % BASELINE_PARTS, rows, BigInt(`0x${sha256(rowText).toString('hex', 0, 16)}`));
  }

  /** What the table held cannot be told any more; the first reason stays. */
  giveUp(reason: string): void {
    this.#untold ??= reason;
  }

  result(): TableBaseline {
    const { schema: schema_name, table: table_name, columns } = this.#layout;
    const parts: { [part: string]: [number, string] } = {};
    let total = 0;
    for (const [part, { rows, digest }] of [...this.#parts].sort(([a], [b]) => a - b)) {
      if (rows === 0 && digest === 0n) continue;
      parts[part] = [rows, digest.toString(16).padStart(32, '0')];
      total += rows;
    }
    const untold = this.#untold;
    if (untold !== null) return { schema_name, table_name, columns, rows: 0, parts: {}, untold };
    return { schema_name, table_name, columns, rows: total, parts, untold };
  }
}

/** Null where the image lacks a column. */
function textOf(columns: readonly string[], row: Image): string | null {
  const texts: string[] = [];
  for (const column of columns) {
    // A column may bear the name of what every object has.
    const value = Object.hasOwn(row, column) ? row[column] : undefined;
    if (value === undefined) return null;
    texts.push(value === null ? 'NULL' : quoted(value));
  }
  return texts.join();
}

/** As `quote_nullable` does. */
function quoted(text: string): string {
  const inner = text.replace(/['\\]/g, '$&$&');
  return text.includes('\\') ? `E'${inner}'` : `'${inner}'`;
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

export type TableDifference = {
  /** `schema.table`. */
  readonly table: string;
  readonly rows_here: number;
  readonly rows_there: number;
  /** How many of the parts differ: so many rows at least do, where the columns are the same. */
  readonly parts: number;
  /** Columns that only one side has. */
  readonly columns: readonly string[];
};

export type BaselineComparison = {
  readonly compared: number;
  /** Tables that only one side had. */
  readonly uncompared: readonly string[];
  readonly different: readonly TableDifference[];
  readonly untold: readonly { readonly table: string; readonly reason: string }[];
};

/** Compares what both sides held of the tables that both replicate. */
export function compareBaselines(here: readonly TableBaseline[], there: readonly TableBaseline[]): BaselineComparison {
  const others = new Map(there.map((each) => [nameOf(each), each]));
  const uncompared: string[] = [];
  const different: TableDifference[] = [];
  const untold: { table: string; reason: string }[] = [];
  let compared = 0;
  for (const one of here) {
    const table = nameOf(one);
    const other = others.get(table);
    others.delete(table);
    if (other === undefined) {
      uncompared.push(table);
      continue;
    }
    compared += 1;
    const reason = one.untold ?? other.untold;
    const difference = differenceOf(one, other);
    if (reason !== null) untold.push({ table, reason });
    else if (difference !== null) different.push({ table, ...difference });
  }
  return { compared, uncompared: [...uncompared, ...others.keys()].sort(byCodeUnits), different, untold };
}

function differenceOf(one: TableBaseline, other: TableBaseline): Omit<TableDifference, 'table'> | null {
  const columns = [...one.columns, ...other.columns].filter(
    (column) => !one.columns.includes(column) || !other.columns.includes(column),
  );
  const numbers = new Set([...Object.keys(one.parts), ...Object.keys(other.parts)]);
  let parts = 0;
  for (const part of numbers) if (one.parts[part]?.join() !== other.parts[part]?.join()) parts += 1;
  if (columns.length === 0 && parts === 0) return null;
  return { rows_here: one.rows, rows_there: other.rows, parts, columns };
}

const nameOf = ({ schema_name, table_name }: TableBaseline): string => `${schema_name}.${table_name}`;
