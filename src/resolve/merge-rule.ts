/**
 * How the rows of a table merge: a strategy for rows, strategies of single columns, and what a removal does to
 * concurrent writes. A rule is immutable; each event names the one that its origin had active.
 *
 * A strategy that the column's type cannot hold is refused when it is chosen, with the reason: later there would be nobody
 * to ask.
 */
import { fail } from '../platform/errors.ts';
import { orderOf } from './ordered-values.ts';

export const COLUMN_STRATEGIES = ['lww', 'lww-columns', 'counter', 'set', 'max', 'min', 'text', 'json', 'yjs'] as const;
export type ColumnStrategy = (typeof COLUMN_STRATEGIES)[number];

/** A custom function, by the hash of its version; `src/resolve/sandbox/merge-version.ts` makes it. */
export type MergeFunction = { readonly hash: string };

export type RowStrategy = 'lww' | 'lww-columns' | MergeFunction;
export type DeletePolicy = 'latest' | 'delete-wins' | 'update-wins';

export type MergeRule = {
  /** Schema-qualified, for what a function is told. */
  readonly table: string;
  /** Never merged: an event's own are taken. */
  readonly key: readonly string[];
  readonly rows: RowStrategy;
  /** Those of single columns; they decide before `rows` does. */
  readonly columns: Readonly<Record<string, MergedColumn>>;
  readonly deletes: DeletePolicy;
  /** Whether a merged row can break a constraint at all, so that it has to be asked about. */
  readonly needsValidation: boolean;
};

export type MergedColumn = { readonly strategy: ColumnStrategy; readonly typeName: string };

/** The type of a column below all domains. */
export type ColumnType = {
  readonly schema: string;
  /** pg_type.typname, as `int4` or `_text`. */
  readonly name: string;
  /** pg_type.typcategory: `A` is an array. */
  readonly category: string;
};

/** What rows do where no rule is active. */
export const LAST_WRITER_WINS: MergeRule = {
  table: '',
  key: [],
  rows: 'lww',
  columns: {},
  deletes: 'latest',
  needsValidation: false,
};

const COUNTED = new Set(['int2', 'int4', 'int8', 'numeric']);
const TEXTS = new Set(['text', 'varchar']);
/** The one array that is not printed with commas. */
const SEMICOLON_ARRAY = '_box';

const REASONS: Readonly<Record<string, (type: ColumnType) => string | null>> = {
  counter: ({ name }) =>
    COUNTED.has(name)
      ? null
      : 'only smallint, integer, bigint and numeric can be counted; sums of floats are not exact',
  set: ({ name, category }) => {
    if (name === 'jsonb') return null;
    return category === 'A' && name !== SEMICOLON_ARRAY ? null : 'a set is an array or a jsonb array';
  },
  max: ({ name }) => (orderOf(name) === null ? 'its order cannot be told from text' : null),
  min: ({ name }) => (orderOf(name) === null ? 'its order cannot be told from text' : null),
  text: ({ name }) => (TEXTS.has(name) ? null : 'only text and character varying are merged as texts'),
  json: ({ name }) => (name === 'jsonb' ? null : 'only jsonb is merged by its structure; json keeps any text'),
  yjs: ({ name }) => (name === 'bytea' ? null : 'a Yjs document is kept in a bytea column'),
};

/** Throws SYN-A080 where a column of that type cannot merge so. */
export function validateStrategy(column: string, type: ColumnType, strategy: ColumnStrategy): void {
  const reasonOf = REASONS[strategy];
  if (reasonOf === undefined) return;
  const isBuiltIn = type.schema === 'pg_catalog' || type.category === 'A';
  const reason = isBuiltIn ? reasonOf(type) : 'it is no type of PostgreSQL itself';
  if (reason === null) return;
  throw fail('SYN-A080', `column ${column} of type ${type.name} cannot use ${strategy}: ${reason}`, {
    context: { column, type: type.name, strategy },
  });
}

/** Throws where a rule names a key column, or one that cannot merge so. */
export function validateRule(rule: MergeRule, types: ReadonlyMap<string, ColumnType>): void {
  for (const [column, { strategy, typeName }] of Object.entries(rule.columns)) {
    const type = types.get(column);
    if (type === undefined || type.name !== typeName) {
      throw fail('SYN-A081', `${rule.table} has no column ${column} of type ${typeName}`, { context: { column } });
    }
    if (rule.key.includes(column)) {
      throw fail('SYN-A081', `column ${column} belongs to the key of ${rule.table}`, { context: { column } });
    }
    validateStrategy(column, type, strategy);
  }
}
