// The statements that read rows for the comparison, as text with parameters: those of a table, or what is parked of it.
//
// A row's digest is made of PostgreSQL's own text of its columns, in the order of their names, under
// the pinned session settings, converted to UTF-8 because servers may store other encodings. A range's
// digest is the exclusive or of its rows': it does not depend on their order, which differs between
// servers with different collations. Rows differ from each other by their key at least, so none cancels
// another. SHA-256 and not MD5, which servers in FIPS mode refuse; half of it is plenty against chance.
//
// Every statement has a limit on its rows, so that a range that turns out to be huge in one region
// takes no longer there. The key's index serves the order, so the limit bounds the work too.

import { invariant } from '../platform/assert.ts';
import { arrayText, quoteIdent, type TextValue } from '../platform/postgres.ts';
import type { Key, KeyRange } from './key-range.ts';
import type { KeyColumn, TableDefinition } from './table-definition.ts';

export interface Statement {
  readonly sql: string;
  readonly values: readonly TextValue[];
}

/** Makes plans follow the key's index, also where the statistics are stale or missing. */
export const SESSION_SETTINGS = ['seqscan', 'bitmapscan', 'sort', 'hashjoin', 'mergejoin', 'material']
  .map((kind) => `set enable_${kind} = off`)
  .concat('set max_parallel_workers_per_gather = 0')
  .join('; ');

/** Enough blocks to see how keys are sorted. */
const SAMPLE_BYTES = 64 * 8_192;

/** Which rows are read, and what tells them apart. */
export interface RowSet {
  /** An item of FROM with the alias t. */
  readonly from: string;
  readonly key: readonly KeyColumn[];
  readonly columns: readonly string[];
  readonly bytes: number;
}

/** The rows that the table holds. */
export function rowsOf(table: TableDefinition): RowSet {
  const name = `${quoteIdent(table.schema)}.${quoteIdent(table.table)}`;
  // Children by plain inheritance are tables of their own.
  const from = table.isPartitioned ? `${name} as t` : `only ${name} as t`;
  return { from, key: table.key, columns: [...table.columns.keys()], bytes: table.bytes };
}

export class RangeStatements {
  readonly #key: readonly KeyColumn[];
  readonly #samplePercent: number;
  readonly #columns: readonly string[];
  readonly #from: string;
  readonly #keyList: string;
  readonly #rowDigest: string;
  /** Of the columns outside of the key: which row it is, the key's own equality tells. */
  readonly #restDigest: string;

  constructor({ from, key, columns, bytes }: RowSet) {
    this.#key = key;
    this.#samplePercent = Math.min(100, (100 * SAMPLE_BYTES) / Math.max(bytes, 1));
    this.#columns = [...columns].sort(byCodeUnits);
    this.#from = from;
    this.#keyList = this.#key.map(({ name: column }) => of(column)).join(', ');
    const keyNames = new Set(this.#key.map(({ name: column }) => column));
    this.#rowDigest = digestOf(this.#columns);
    this.#restDigest = digestOf(this.#columns.filter((column) => !keyNames.has(column)));
  }

  /** The columns in the order in which `details` gives them. */
  get columns(): readonly string[] {
    return this.#columns;
  }

  /** One row: how many rows, and their digest as bits. */
  digest(range: KeyRange, rowsMax: number): Statement {
    const { where, values } = this.#where(range);
    const rows = `select ('x' || ${this.#rowDigest})::bit(128) as digest from ${this.#from} ${where} order by ${this.#keyList} limit ${rowsMax}`;
    return { sql: `select count(*), bit_xor(r.digest) from (${rows}) as r`, values };
  }

  /** The key of each `every`th row. */
  bounds(range: KeyRange, every: number, count: number): Statement {
    const { where, values } = this.#where(range);
    const names = this.#key.map((_, index) => `k${index}`);
    const keys = this.#key.map(({ name }, index) => `${of(name)} as k${index}`).join(', ');
    const rows = `select ${keys}, row_number() over (order by ${this.#keyList}) as place from ${this.#from} ${where} order by ${this.#keyList} limit ${every * count}`;
    return { sql: `select ${names.join(', ')} from (${rows}) as r where place % ${every} = 0 order by place`, values };
  }

  /** The digest and the key of each row. */
  rows(range: KeyRange, rowsMax: number): Statement {
    const { where, values } = this.#where(range);
    const sql = `select ${this.#rowDigest}, ${this.#keyList} from ${this.#from} ${where} order by ${this.#keyList} limit ${rowsMax}`;
    return { sql, values };
  }

  /** Keys from a few blocks of all over the table; null where every server sorts such keys alike. */
  sample(count: number): Statement | null {
    if (!this.#key.some(({ isOrderLocal }) => isOrderLocal)) return null;
    const blocks = `${this.#from} tablesample system (${this.#samplePercent})`;
    return { sql: `select ${this.#keyList} from ${blocks} order by random() limit ${count}`, values: [] };
  }

  /** The places of the keys in the list, sorted as the index sorts. */
  order(keys: readonly Key[]): Statement {
    const { list, values } = this.#list(keys);
    const sorted = this.#key.map((column, index) => cast(`w.k${index}`, column)).join(', ');
    return { sql: `select w.place from ${list} order by ${sorted}`, values };
  }

  /** Of each key that is there: its place in the list, the digest of the row's other columns, its spelling here. */
  lookUp(keys: readonly Key[]): Statement {
    return this.#lookUp(keys, `${this.#restDigest}, ${this.#keyList}`);
  }

  /** Of each key that is there: its place in the list, and all columns. */
  details(keys: readonly Key[]): Statement {
    return this.#lookUp(keys, this.#columns.map(of).join(', '));
  }

  #lookUp(keys: readonly Key[], what: string): Statement {
    const { list, values } = this.#list(keys);
    const equal = this.#key.map(
      (column, index) => `${of(column.name)} operator(${column.operators.equal}) ${cast(`w.k${index}`, column)}`,
    );
    return { sql: `select w.place, ${what} from ${list} join ${this.#from} on ${equal.join(' and ')}`, values };
  }

  #list(keys: readonly Key[]): { list: string; values: TextValue[] } {
    const values = this.#key.map((_, index) => arrayText(keys.map((key) => key[index] ?? null)));
    const arrays = values.map((_, index) => `$${index + 1}::text[]`).join(', ');
    const names = this.#key.map((_, index) => `k${index}`).join(', ');
    return { list: `unnest(${arrays}) with ordinality as w(${names}, place)`, values };
  }

  #where(range: KeyRange): { where: string; values: TextValue[] } {
    const values: TextValue[] = [];
    const parameters = (key: Key): string[] =>
      this.#key.map((column, index) => cast(`$${values.push(key[index] ?? null)}`, column));
    const conditions: string[] = [];
    if (range.after !== null) conditions.push(this.#beyond(parameters(range.after), 'above', false));
    if (range.upTo !== null) conditions.push(this.#beyond(parameters(range.upTo), 'below', true));
    return { where: conditions.length === 0 ? '' : `where ${conditions.join(' and ')}`, values };
  }

  /**
   * The key above or below a bound. One comparison of rows lets the index find the place at once. It takes one
   * operator for all columns; where extensions bring operators of their own it is spelled out column by column.
   */
  #beyond(bound: readonly string[], side: 'above' | 'below', orEqual: boolean): string {
    const isPlain = this.#key.every(({ operators }) => /^pg_catalog\.[<>]$/.test(operators[side]));
    if (!isPlain) return this.#beyondFrom(0, bound, side, orEqual);
    const sign = side === 'above' ? '>' : '<';
    return `(${this.#keyList}) ${sign}${orEqual ? '=' : ''} (${bound.join(', ')})`;
  }

  #beyondFrom(first: number, bound: readonly string[], side: 'above' | 'below', orEqual: boolean): string {
    const column = this.#key[first];
    invariant(column !== undefined, 'a bound has a value for each column of the key');
    const { operators, name } = column;
    const compare = (by: string): string => `${of(name)} operator(${by}) ${bound[first]}`;
    const wide = compare(operators[`${side}OrEqual`]);
    const strict = compare(operators[side]);
    if (first === this.#key.length - 1) return orEqual ? wide : strict;
    // The first condition is for the index alone.
    const rest = this.#beyondFrom(first + 1, bound, side, orEqual);
    return `${wide} and (${strict} or (${compare(operators.equal)} and ${rest}))`;
  }
}

const of = (column: string): string => `t.${quoteIdent(column)}`;

/** A text as a value of the key's column, compared as its index compares. */
function cast(text: string, column: KeyColumn): string {
  const value = `${text}::text::${column.type}`;
  return column.collation === null ? value : `(${value} collate ${column.collation})`;
}

function digestOf(columns: readonly string[]): string {
  const row = `row(${columns.map(of).join(', ')})::text`;
  return `encode(substr(sha256(convert_to(${row}, 'UTF8')), 1, 16), 'hex')`;
}

const byCodeUnits = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
