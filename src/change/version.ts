/**
 * The version of a row: (hlc, origin). The total order that decides every conflict, the same in every region.
 *
 * Origins compare bytewise, as PostgreSQL's `COLLATE "C"` does: region names are ASCII, so JavaScript's `<` agrees.
 */
import type { Hlc } from './hlc.ts';

export type Version = { readonly hlc: Hlc; readonly origin: string };

/** Below the version of every event: what a row has that was never published. */
export const VERSION_ZERO: Version = { hlc: 0n, origin: '' };

/** Negative, zero or positive, as `a` is below, equal to or above `b`. */
export function compareVersions(a: Version, b: Version): number {
  if (a.hlc !== b.hlc) return a.hlc < b.hlc ? -1 : 1;
  if (a.origin === b.origin) return 0;
  return a.origin < b.origin ? -1 : 1;
}

export function isAbove(a: Version, b: Version): boolean {
  return compareVersions(a, b) > 0;
}
