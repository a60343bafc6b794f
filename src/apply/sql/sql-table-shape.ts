/** What a statement on a table needs to know of it, beside what the port tells: types, key, and what its rows claim. */
import type { KeyNature } from '../../change/key-nature.ts';
import type { TableShape } from '../apply-port.ts';

export type SqlColumn = {
  readonly name: string;
  /** The type without a modifier: a cast to varchar(5) would cut a longer value silently. */
  readonly type: string;
  /** Whether unnest of an array of this type gives one column of it, and its array literal is split at commas. */
  readonly unnests: boolean;
  readonly isIdentityAlways: boolean;
};

export type SqlKeyColumn = {
  readonly name: string;
  /** The equality of the key index, with its schema: search_path holds pg_catalog alone. */
  readonly equals: string;
  readonly nature: KeyNature;
};

export type SqlTableShape = TableShape & {
  readonly oid: string;
  readonly keyIndex: string;
  readonly isPartitioned: boolean;
  readonly columnOf: ReadonlyMap<string, SqlColumn>;
  readonly keyColumns: readonly SqlKeyColumn[];
  /** Columns that the database computes: a value for one in an image is left out. */
  readonly generated: ReadonlySet<string>;
  /** Those of them whose values are kept, so that an index can have them. */
  readonly generatedColumns: readonly SqlGenerated[];
  readonly claims: readonly SqlClaim[];
  readonly definition: string;
};

export type SqlClaimPart = {
  /** Over the columns of the table, without a qualifier. */
  readonly expression: string;
  /** The operator by which two values conflict, with its schema. */
  readonly conflicts: string;
  readonly collation: string | null;
  /** Whether an array of its values is an array of it. */
  readonly isScalar: boolean;
};

export type SqlClaim = {
  readonly parts: readonly SqlClaimPart[];
  readonly predicate: string | null;
  readonly nullsNotDistinct: boolean;
  readonly excludes: boolean;
};

/** A column that the database computes and keeps. */
export type SqlGenerated = { readonly name: string; readonly type: string; readonly expression: string };
