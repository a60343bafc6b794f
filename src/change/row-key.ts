/** The text that names a row within its table: its key's values in key order. */
import type { Image } from './change-event.ts';

/** JSON of the key's text values; injective, and equal for equal texts only. */
export function rowKey(shape: { readonly key: readonly string[] }, pk: Image): string {
  return JSON.stringify(shape.key.map((column) => pk[column] ?? null));
}
