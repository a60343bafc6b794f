// Pages of a list whose newest entries come first, by the keys of the last entry of the page before.
//
// A cursor that counted entries would show some twice when new ones arrive in front. Keys do not move.
// A page is bounded in entries and in bytes, because a row may be many megabytes and a page is built
// in memory: it always has at least one entry, and else ends before the bound.

import { fail } from '../platform/errors.ts';
import type { TextRow, TextValue } from '../platform/postgres.ts';

/** Compressed bytes, as they are stored. */
export const PAGE_BYTES_MAX = 4 * 1024 * 1024;

export type Page<Item> = { readonly items: Item[]; readonly next_cursor: string | null };

/** Conditions of a statement, and their values, numbered as they come. */
export class Conditions {
  readonly values: TextValue[] = [];
  readonly #parts: string[] = [];

  /** `?` stands for the values in turn. */
  add(condition: string, ...values: readonly TextValue[]): void {
    let place = 0;
    const text = condition.replaceAll('?', () => {
      this.values.push(values[place] ?? null);
      place += 1;
      return `$${this.values.length}`;
    });
    this.#parts.push(text);
  }

  value(value: TextValue): string {
    this.values.push(value);
    return `$${this.values.length}`;
  }

  get sql(): string {
    return this.#parts.length === 0 ? 'true' : this.#parts.join(' and ');
  }
}

/** `table` or `schema.table`; a name with a dot in it takes the second form. */
export function addTable(conditions: Conditions, name: string): void {
  const dot = name.indexOf('.');
  if (dot < 0) conditions.add('table_name = ?', name);
  else conditions.add('schema_name = ? and table_name = ?', name.slice(0, dot), name.slice(dot + 1));
}

export function encodeCursor(keys: readonly string[]): string {
  return Buffer.from(JSON.stringify(keys)).toString('base64url');
}

/** What the key of a cursor has to be. */
export type KeyPattern = { readonly test: (key: string) => boolean };

export const UUID: KeyPattern = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
export const TIME: KeyPattern = { test: isTime };

/** The keys of a cursor, each of which has to match its pattern; SYN-T005 for anything else. */
export function decodeCursor(cursor: string, patterns: readonly KeyPattern[]): string[] {
  let keys: unknown;
  try {
    keys = JSON.parse(Buffer.from(cursor, 'base64url').toString());
  } catch {
    keys = undefined;
  }
  const fits =
    Array.isArray(keys) &&
    keys.length === patterns.length &&
    patterns.every((pattern, place) => typeof keys[place] === 'string' && pattern.test(keys[place]));
  if (!fits) throw fail('SYN-T005', 'cursor: is none that this list gave');
  return keys as string[];
}

/** A time that PostgreSQL understands as the client meant it; SYN-T005 for what is no ISO 8601. */
export function timeValue(name: string, text: string): string {
  if (isTime(text)) return text;
  throw fail('SYN-T005', `${name}: is no time in ISO 8601, such as 2026-01-31T12:00:00Z`);
}

const OF_DAY = String.raw`(([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,6})?)?|24:00(:00)?)`;
/** PostgreSQL takes no zone that is 16 hours away. */
const ZONE = String.raw`(Z|[+-](0\d|1[0-5])(:?[0-5]\d)?)`;
const ISO_TIME = new RegExp(String.raw`^(\d{4}-\d\d-\d\d)([T ]${OF_DAY}${ZONE}?)?$`);

function isTime(text: string): boolean {
  const day = ISO_TIME.exec(text)?.[1] ?? '';
  const ms = Date.parse(day);
  // A day that the month does not have is taken for one of the next; and there is no year 0.
  return !Number.isNaN(ms) && new Date(ms).toISOString().startsWith(day) && !day.startsWith('0000');
}

/** The page of rows that were read one beyond the limit and cut at the bound of bytes. */
export function toPage<Item>(
  rows: readonly TextRow[],
  limit: number,
  toItem: (row: TextRow) => Item,
  keysOf: (row: TextRow) => readonly string[],
): Page<Item> {
  const shown = rows.slice(0, limit).filter((row, place) => place === 0 || row.fits === 't');
  const last = shown.at(-1);
  const isAll = shown.length === rows.length || last === undefined;
  return { items: shown.map(toItem), next_cursor: isAll ? null : encodeCursor(keysOf(last)) };
}
