/** How the text of a key column becomes canonical, so that equal texts are equal rows. */
import type { KeyNature } from '../../change/key-nature.ts';

/** An expression whose text is the same exactly for equal values. */
export function canonicalSql(nature: KeyNature, value: string): string {
  switch (nature) {
    case 'text':
      return value;
    case 'numeric':
      return `trim_scale(${value})`;
    case 'float':
      return `(${value} + 0::float4)`;
    case 'citext':
      return `lower(${value}::text collate "default")`;
    case 'bpchar':
      return `${value}::text`;
  }
}
