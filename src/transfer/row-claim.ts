/**
 * Under which version a region tells of a row, from what PostgreSQL knows of the tuple; null where it is not this region's to
 * tell, or its stream tells it already.
 *
 * It is the version that apply takes the same tuple for (`claimTakes`), or regions would end with different rows: the commit
 * timestamp of a local write; nothing, which is below all, where that is forgotten, from before the region's history, or another
 * tool's; and the exact version of what an echo has rewritten. What another region wrote, that region tells. One that was taken out tells nothing,
 * so of its rows all tell who hold them, each under the version that it shows there.
 *
 * A user's row whose commit timestamp is above the seal, though it was there before, comes from a clock that was set back. Under
 * that version it could hold off later writes of this very region, so it is written anew.
 */
import type { Hlc } from '../change/hlc.ts';
import { HLC_ZERO } from '../change/hlc.ts';

export type HeldTuple = {
  readonly local: boolean;
  /** The region whose events wrote it, or this one. */
  readonly writer: string;
  /** Whether it is another tool's, so that its stamp tells nothing. */
  readonly foreign: boolean;
  /** Null where it tells nothing. */
  readonly stamp: Hlc | null;
  /** Of a tuple that apply wrote; null where the stamp is exact, or nothing more is known. */
  readonly exact: Hlc | null;
  /** Whether its transaction had ended when the region sealed the table. */
  readonly isSealed: boolean;
};

export type RowClaim = { readonly kind: 'claim'; readonly version: Hlc } | { readonly kind: 'rewrite' } | null;

/** This region, and all of them. */
export type TellingRegions = { readonly self: string; readonly members: readonly string[] };

export function claimOf({ self, members }: TellingRegions, tuple: HeldTuple, since: Hlc): RowClaim {
  if (!tuple.local) {
    const version = tuple.exact ?? tuple.stamp ?? HLC_ZERO;
    const isToldHere = tuple.writer === self || !members.includes(tuple.writer);
    return isToldHere && version <= since ? { kind: 'claim', version } : null;
  }
  if (!tuple.isSealed) return null;
  const version = tuple.foreign ? HLC_ZERO : (tuple.stamp ?? HLC_ZERO);
  return version <= since ? { kind: 'claim', version } : { kind: 'rewrite' };
}
