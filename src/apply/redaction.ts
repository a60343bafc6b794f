/**
 * Withholds the values of named columns from conflict records, before anything of them is written.
 *
 * Every value of such a column goes, NULL as well, since that alone may tell. A text can look like the marker, so the record
 * names the columns itself. Columns of the key stay: a record that does not say which row it is about would be of no use,
 * and its id derives from the key anyway. What a record says depends on the events and the patterns alone; so final
 * records are equal in all regions that have the same patterns.
 */
import type { Image } from '../change/change-event.ts';
import { matchesPattern } from '../platform/table-filter.ts';
import type { ConflictEntry } from './apply-port.ts';

export const REDACTED = '«redacted»';

type Redacted<T> = T & { readonly redacted: readonly string[] };

export class Redaction {
  readonly #patterns: readonly string[];
  /** By table, its columns that were met so far. */
  readonly #known = new Map<string, Map<string, boolean>>();

  /** Patterns are schema.table.column, with * for any characters. */
  constructor(patterns: readonly string[]) {
    this.#patterns = patterns;
  }

  entry(entry: ConflictEntry): Redacted<ConflictEntry> {
    const { schema_name, table_name, row_pk, image_a, image_b, base_image, result_image } = entry;
    if (this.#patterns.length === 0) return { ...entry, redacted: [] };
    const found = new Set<string>();
    const without = (image: Image | null): Image | null =>
      image === null ? null : this.image(schema_name, table_name, row_pk, image, found);
    const images = {
      image_a: without(image_a),
      image_b: without(image_b),
      base_image: without(base_image),
      result_image: without(result_image),
    };
    return { ...entry, ...images, redacted: [...found].sort() };
  }

  /** The image without these values; adds the names of their columns to `found`. */
  image(schema: string, table: string, key: Image, image: Image, found: Set<string>): Image {
    if (this.#patterns.length === 0) return image;
    const values = Object.entries(image).map(([column, value]): [string, string | null] => {
      if (Object.hasOwn(key, column) || !this.#names(schema, table, column)) return [column, value];
      found.add(column);
      return [column, REDACTED];
    });
    return Object.fromEntries(values);
  }

  #names(schema: string, table: string, column: string): boolean {
    const name = `${schema}.${table}`;
    let columns = this.#known.get(name);
    if (columns === undefined) {
      columns = new Map();
      this.#known.set(name, columns);
    }
    let isNamed = columns.get(column);
    if (isNamed === undefined) {
      isNamed = this.#patterns.some((pattern) => matchesPattern(pattern, `${name}.${column}`));
      columns.set(column, isNamed);
    }
    return isNamed;
  }
}
