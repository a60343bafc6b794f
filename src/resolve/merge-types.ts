/**
 * The types of a custom merge function, for its author: exported by the package as `syncline/merge`. The default export
 * of the source is a `Merge`; docs/merging.md has an example.
 */

/** A row: each column's value as the text that PostgreSQL prints, or null. */
export type Row = { readonly [column: string]: string | null };

export type MergeParty = {
  /** The region of the latest event in it. */
  readonly region: string;
  /** When that event was committed: ISO 8601 with microseconds, UTC. */
  readonly time: string;
};

export type MergeMeta = {
  /** Schema-qualified. */
  readonly table: string;
  readonly key: Row;
  readonly a: MergeParty;
  readonly b: MergeParty;
};

export type MergeInput = {
  /** The row that the later event found at its origin; null where it inserted the row. */
  readonly base: Row | null;
  /** The row as it is, by all events that come before. */
  readonly a: Row;
  /** The row as the later event left it at its origin. */
  readonly b: Row;
  readonly meta: MergeMeta;
};

/** Gives the whole row: the same columns, and the key as it is. */
export type Merge = (input: MergeInput) => Row;

/** Why the result of a function was not taken, and the later event's row was. */
export type Fallback =
  /** It threw. */
  | 'threw'
  /** It took more steps than allowed, or nested calls too deeply. */
  | 'exhausted'
  /** It needed more memory than allowed. */
  | 'memory'
  /** It gave something else than a row with the same columns, each a text or null. */
  | 'wrong-type'
  /** It gave another key. */
  | 'changed-key'
  /** What goes in, or came out, is larger than allowed. */
  | 'too-large';
