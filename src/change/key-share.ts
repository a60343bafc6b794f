/**
 * Which rows belong to a percentage of a table: by a hash of the key, so the same ones in every region, and a larger share
 * takes in a smaller one.
 *
 * Keys that PostgreSQL takes for equal have to fall on the same side. Their text differs for a few types, and is made one
 * here without asking the database: capture never reads a table. For citext that is by the case rules of Unicode, not by
 * those of the server's locale, which differ from region to region anyway; where both disagree, two spellings of one key
 * may fall on different sides, and each event still says which version it goes by.
 */
import { hash } from 'node:crypto';
import type { KeyNature } from './key-nature.ts';

/** The hash is cut down to so many places, a hundred to each percent. */
const PLACES = 10_000;

export type KeyShape = {
  readonly schema: string;
  readonly table: string;
  /** Of each column of the key; absent where text tells keys apart. */
  readonly natures?: readonly (KeyNature | null)[];
};

/** Whether the row with this key, its values in key order, is among so many percent of its table. */
export function isInShare(
  { schema, table, natures }: KeyShape,
  key: readonly (string | null)[],
  percent: number,
): boolean {
  if (percent >= 100) return true;
  const canonical = key.map((value, place) =>
    value === null ? null : canonicalText(value, natures?.[place] ?? 'text'),
  );
  const digest = hash('sha256', JSON.stringify([schema, table, ...canonical]), 'hex');
  return Number.parseInt(digest.slice(0, 12), 16) % PLACES < percent * (PLACES / 100);
}

/** The same text for all values that the key's index takes for one. */
export function canonicalText(value: string, nature: KeyNature): string {
  switch (nature) {
    case 'text':
      return value;
    case 'numeric':
      return /^-?\d+\.\d+$/.test(value) ? value.replace(/\.?0+$/, '') : value;
    case 'float':
      return value === '-0' ? '0' : value;
    case 'citext':
      return value.toLowerCase();
    case 'bpchar':
      return value.replace(/ +$/, '');
  }
}
