/**
 * What decides whether two key values are the same, by type.
 *
 * A row's identity is its key index's own equality. For most types two values are equal exactly where PostgreSQL's
 * output is the same text; for a few the database has to be asked for a text that is; everything else is refused, because
 * rows that one region takes for the same and another for two would never converge. (numeric 1.0 = 1.00, '-0' = '0' in
 * floats, 'A' = 'a' in citext, trailing blanks in character(n); jsonb, interval and nondeterministic collations have no
 * canonical text.)
 */

/** How the text of a key column becomes canonical; `text` needs nothing. */
export type KeyNature = 'text' | 'numeric' | 'float' | 'citext' | 'bpchar';

/** The type of a key column below all domains. */
export type KeyBaseType = {
  readonly schema: string;
  readonly name: string;
  /** pg_type.typtype. */
  readonly kind: string;
  /** The extension that the type belongs to. */
  readonly extension: string | null;
  readonly isDeterministic: boolean;
};

const TEXT_TYPES: ReadonlySet<string> = new Set([
  'bool',
  'bit',
  'bytea',
  'char',
  'cidr',
  'date',
  'inet',
  'int2',
  'int4',
  'int8',
  'macaddr',
  'macaddr8',
  'name',
  'oid',
  'pg_lsn',
  'text',
  'time',
  'timestamp',
  'timestamptz',
  'uuid',
  'varbit',
  'varchar',
  'xid8',
]);
const OTHER_TYPES: Readonly<Record<string, KeyNature>> = {
  numeric: 'numeric',
  float4: 'float',
  float8: 'float',
  bpchar: 'bpchar',
};

/** Null for a type that cannot be in a key. */
export function keyNature(type: KeyBaseType): KeyNature | null {
  if (!type.isDeterministic) return null;
  if (type.kind === 'e') return 'text';
  if (type.extension === 'citext' && type.name === 'citext') return 'citext';
  if (type.schema !== 'pg_catalog') return null;
  if (TEXT_TYPES.has(type.name)) return 'text';
  return OTHER_TYPES[type.name] ?? null;
}
