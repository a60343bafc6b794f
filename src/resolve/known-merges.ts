/** What a region knows of merge rules when it applies events: the registry (`src/merge`), as the lane needs it. */
import type { Image } from '../change/change-event.ts';
import type { MergeRule } from './merge-rule.ts';

/**
 * What a row of the table has to satisfy, beyond the types of its columns: as it was when the version was registered, so
 * that every region decides alike whatever its own constraints are by now. Checks are expressions of PostgreSQL.
 */
export type Validity = {
  readonly not_null: readonly string[];
  readonly checks: readonly string[];
  /**
   * Whether NOT NULL is all that there is to ask: no checks, and strategies alone that give values of their columns' types, none of
   * which has a length, a scale or a domain. A range is the strategy's own matter. Then nobody needs to ask the database.
   */
  readonly isPlain: boolean;
};

/** Whether the image is valid by that, where there is no more to ask. */
export function isPlainlyValid({ not_null }: Validity, image: Image): boolean {
  return not_null.every((column) => image[column] !== null);
}

export type RegisteredRule = { readonly rule: MergeRule; readonly validity: Validity };

export type KnownMerges = {
  /** By version id. */
  readonly rules: ReadonlyMap<string, RegisteredRule>;
  /** By table, as JSON of its schema and name, the version that this region has active. */
  readonly active: ReadonlyMap<string, string>;
  /** The tables whose history is kept, named so too. */
  readonly tracked: ReadonlySet<string>;
};

export const NO_MERGES: KnownMerges = { rules: new Map(), active: new Map(), tracked: new Set() };
