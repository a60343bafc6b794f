/**
 * A row of a table that merges, as a region knows it: its fold, and how the user's row stands to it.
 *
 * The user's row is a cache of the fold. Local writes that are committed and not captured yet are in the row and not in the
 * fold; whoever writes the row anew must keep them, or a user sees an own write undone, and the next one, made on
 * that, counts as knowing the lost one. So what is found in the row and not yet captured is kept as an overlay: a change
 * from the last image that we know the row had to the one that was found. Overlays stand on top of the fold until the own
 * stream has brought what they hold:
 *
 *     row = fold, then each overlay, then what is found now
 *
 * each taken as a local event that had seen what was applied when its first image stood. Ordering goes by WAL positions: the
 * lane holds the row's lock when it looks, so a local commit on the row lies below the position read then, or is made on
 * top of what the lane leaves. A captured commit moves the start of the overlay that holds it; once the echo has passed the position
 * of an overlay, everything in it is in the fold, and it goes.
 *
 * An absent row cannot be locked: an insert may be in the WAL and not visible yet. So that a row is found absent says
 * nothing for certain until the echo has passed the place where it was looked for (`absentAt`).
 *
 * Merging what is found now with the last image that the lane wrote, and keeping nothing, is the obvious way, and is wrong: with two
 * local writes under way, the echo of the first would take the second one back for a moment, and a third that
 * comes in that moment would lose it for good.
 */
import { haveSameValues, type Image } from '../../change/change-event.ts';
import { HLC_MAX } from '../../change/hlc.ts';
import { type Epoch, makePosition, type Seen } from '../../change/position.ts';
import { VERSION_ZERO, type Version } from '../../change/version.ts';
import { invariant } from '../../platform/assert.ts';
import type { Packing } from '../../resolve/event-run.ts';
import { type FoldEvent, type Folding, foldOn } from '../../resolve/fold.ts';
import { type FoldState, foldStateFromText, foldStateToText, settledRow } from '../../resolve/fold-state.ts';
import type { MergeRule } from '../../resolve/merge-rule.ts';
import { RowFold } from '../../resolve/row-fold.ts';

/** An event as the history keeps it. */
export type HistoryEvent = FoldEvent & {
  readonly event_id: string;
  /** The version of the rule that its origin had active. */
  readonly merge: string | undefined;
  /** A version that is run beside it, without effect. */
  readonly merge_shadow?: string;
};

/** An image that the row is known to have had at a WAL position, and what was applied here by then. */
type Known = { readonly image: Image | null; readonly lsn: bigint; readonly seen: Seen };

/** Local writes that were found in the row before their capture: all of them were committed below `lsn`. */
type Overlay = {
  readonly before: Image | null;
  readonly after: Image | null;
  readonly lsn: bigint;
  readonly seen: Seen;
};

export type FoundRow = {
  /** The row as it is, locked; null where there is none. */
  readonly image: Image | null;
  /** Whether a user's transaction wrote it. */
  readonly isLocal: boolean;
  /** Whether, where it is absent, a TRUNCATE that was applied here has taken it. */
  readonly isEmptied: boolean;
  /** A WAL position read after the row was locked. */
  readonly lsn: bigint;
};

export type SettledRow = {
  /** What to leave of the row; null for nothing. */
  readonly image: Image | null;
  /** Says that this has been done. */
  readonly keep: () => void;
};

/** Where and when the row is looked at. */
export type RowPlace = {
  readonly region: string;
  /** The epoch of the region's own stream. */
  readonly epoch: Epoch;
  /** What the region merges this table by now; undefined for last writer wins. */
  readonly rule: MergeRule | undefined;
  /** How far the own stream has come back. */
  readonly echoedLsn: bigint;
};

const BEYOND_ALL = 2n ** 64n - 1n;

export class MergedRow {
  readonly #packing: Packing<HistoryEvent> | null;
  #fold: RowFold<HistoryEvent>;
  #known: Known | null = null;
  #overlays: Overlay[] = [];
  #absentAt: bigint | null = null;

  /** Histories that grow are packed, where a way is given. */
  constructor(base: FoldState = settledRow(null), packing: Packing<HistoryEvent> | null = null) {
    this.#packing = packing;
    this.#fold = new RowFold(base, packing);
  }

  get fold(): RowFold<HistoryEvent> {
    return this.#fold;
  }

  /** Of the highest event that is known. */
  get version(): Version {
    return this.#fold.newest?.version ?? this.#fold.base.version;
  }

  /** Whether nothing is kept of the row, so that the tuple alone tells of it. */
  get isUnknown(): boolean {
    const { base, size } = this.#fold;
    return this.#known === null && size === 0 && base.version.hlc === VERSION_ZERO.hlc;
  }

  /** Takes what the row holds already for the base of its fold. */
  beginFrom(base: FoldState): void {
    invariant(this.isUnknown, 'a row begins once');
    this.#fold = new RowFold(base, this.#packing);
  }

  /** The position up to which the echo must have come before the row is to be looked at again; null where it need not be. */
  get visitAt(): bigint | null {
    let at = this.#absentAt;
    for (const { lsn } of this.#overlays) if (at === null || lsn < at) at = lsn;
    return at;
  }

  /** Whether nothing but the row itself is needed any more. */
  get isAtRest(): boolean {
    const { base, size } = this.fold;
    const heads = Object.keys(base.heads).length + Object.keys(base.gone).length;
    return size === 0 && heads === 0 && this.visitAt === null;
  }

  /** A local commit has come back with what it left of the row. */
  captured(lsn: bigint, image: Image | null, seen: Seen): void {
    this.#echoed(lsn - 1n);
    this.#absentAt = null;
    const [overlay] = this.#overlays;
    if (overlay !== undefined) {
      const rest = { ...overlay, before: image, seen };
      this.#overlays = isSame(rest.before, rest.after) ? this.#overlays.slice(1) : [rest, ...this.#overlays.slice(1)];
    } else if (this.#known === null || lsn >= this.#known.lsn) {
      this.#known = { image, lsn, seen };
    }
  }

  /**
   * What the row should be. `found` is the row as it is; `before` is what the first new event of another region had found
   * at its origin: the best that is known of a row that nothing else is known of.
   */
  *settle(found: FoundRow, before: Image | null, seen: Seen, place: RowPlace): Folding<SettledRow> {
    this.#echoed(place.echoedLsn);
    const { state } = yield* this.fold.fold();
    let top = state;
    for (const overlay of this.#overlays) top = yield* laidOver(top, overlay, place);
    if (found.isEmptied && found.image === null) this.#known = { image: null, lsn: found.lsn, seen: {} };
    const known = this.#known ?? {
      image: found.isLocal || found.image === null ? before : found.image,
      lsn: 0n,
      seen: {},
    };
    const change: Overlay = { before: known.image, after: found.image, lsn: found.lsn, seen: known.seen };
    const isChanged = !isSame(change.before, change.after);
    if (isChanged) top = yield* laidOver(top, change, place);
    const { image } = top;
    const keep = (): void => {
      if (found.image === null && image === null) {
        this.#known = known;
        if (isChanged) this.#absentAt ??= found.lsn;
        return;
      }
      if (isChanged) this.#overlays.push(change);
      this.#absentAt = null;
      this.#known = { image, lsn: found.lsn, seen };
    };
    return { image, keep };
  }

  toText(): string {
    return JSON.stringify({
      base: foldStateToText(this.fold.base),
      known: this.#known === null ? null : { ...this.#known, lsn: String(this.#known.lsn) },
      overlays: this.#overlays.map((overlay) => ({ ...overlay, lsn: String(overlay.lsn) })),
      absent_at: this.#absentAt === null ? null : String(this.#absentAt),
    });
  }

  static fromText(text: string, packing: Packing<HistoryEvent> | null = null): MergedRow {
    const raw = JSON.parse(text) as {
      readonly base: string;
      readonly known: (Omit<Known, 'lsn'> & { readonly lsn: string }) | null;
      readonly overlays: readonly (Omit<Overlay, 'lsn'> & { readonly lsn: string })[];
      readonly absent_at: string | null;
    };
    const row = new MergedRow(foldStateFromText(raw.base), packing);
    row.#known = raw.known === null ? null : { ...raw.known, lsn: BigInt(raw.known.lsn) };
    row.#overlays = raw.overlays.map((overlay) => ({ ...overlay, lsn: BigInt(overlay.lsn) }));
    row.#absentAt = raw.absent_at === null ? null : BigInt(raw.absent_at);
    return row;
  }

  /** Everything local up to there is in the fold. */
  #echoed(lsn: bigint): void {
    this.#overlays = this.#overlays.filter((overlay) => overlay.lsn > lsn);
    if (this.#absentAt === null || this.#absentAt > lsn) return;
    this.#known = { image: null, lsn: this.#absentAt, seen: {} };
    this.#absentAt = null;
  }
}

/** The state once a local change has been made on top of it that had seen only so much. */
function* laidOver(
  state: FoldState,
  { before, after, seen }: Overlay,
  { region, epoch, rule }: RowPlace,
): Folding<FoldState> {
  const local: FoldEvent = {
    version: { hlc: HLC_MAX, origin: region },
    position: makePosition(epoch, BEYOND_ALL),
    index: 0,
    seen,
    before,
    after,
    rule,
    isGuess: true,
  };
  return (yield* foldOn(state, [local])).state;
}

function isSame(known: Image | null, found: Image | null): boolean {
  if (known === null || found === null) return known === found;
  return haveSameValues(known, found);
}
