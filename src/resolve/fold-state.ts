/**
 * What the fold has to remember of the events that it has taken: the row, and which of its past later events may not know.
 *
 * A prefix of stable events collapses to this. The row's image alone would not be enough: an event that is later by version,
 * and known already, may not have seen all of the prefix, and it must be merged as if the prefix were still there. What
 * is kept for that are heads (`heads.ts`), at most one position per stream; `settled` drops those that every event
 * left has seen, since what has not arrived yet has seen all that is stable. So a row at rest is its image and version.
 */
import type { Image } from '../change/change-event.ts';
import { hlcFromText, hlcToText } from '../change/hlc.ts';
import type { Position } from '../change/position.ts';
import { VERSION_ZERO, type Version } from '../change/version.ts';
import { type Heads, isEmpty, knows, NOTHING, type Observer, unknownToAny } from './heads.ts';
import type { Additions } from './set-merge.ts';

export type FoldState = {
  /** Null where the row is absent. */
  readonly image: Image | null;
  /** Of the last event taken. */
  readonly version: Version;
  /** All events taken. */
  readonly heads: Heads;
  /** The writes that took effect since the row was last absent: what a removal has to know to be complete. */
  readonly live: Heads;
  /** The removals that took effect. */
  readonly gone: Heads;
  /** The write that made the row out of nothing; null for one that everybody has seen. */
  readonly birth: Birth | null;
  /** By set column. */
  readonly additions: Readonly<Record<string, Additions>>;
};

export type Birth = { readonly line: string; readonly position: Position };

/** A row that everybody knows to be so: of the baseline, or pruned to. */
export function settledRow(image: Image | null, version: Version = VERSION_ZERO): FoldState {
  return { image, version, heads: NOTHING, live: NOTHING, gone: NOTHING, birth: null, additions: {} };
}

/** The state for a future in which, besides these events, only such arrive as have seen all of it. */
export function settled(state: FoldState, rest: readonly Observer[]): FoldState {
  const { birth } = state;
  const additions: Record<string, Additions> = {};
  for (const [column, elements] of Object.entries(state.additions)) {
    const left = Object.entries(elements).flatMap(([element, heads]) => {
      const unknown = unknownToAny(rest, heads);
      return isEmpty(unknown) ? [] : [[element, unknown] as const];
    });
    if (left.length > 0) additions[column] = Object.fromEntries(left);
  }
  return {
    image: state.image,
    version: state.version,
    heads: unknownToAny(rest, state.heads),
    live: unknownToAny(rest, state.live),
    gone: unknownToAny(rest, state.gone),
    birth: birth !== null && rest.some((event) => !knows(event, birth.line, birth.position)) ? birth : null,
    additions,
  };
}

/** As JSON, for a table of ours or a transfer. */
export function foldStateToText(state: FoldState): string {
  const { hlc, origin } = state.version;
  return JSON.stringify({ ...state, version: { hlc: hlcToText(hlc), origin } });
}

export function foldStateFromText(text: string): FoldState {
  const raw = JSON.parse(text) as FoldState & { readonly version: { readonly hlc: unknown; readonly origin: string } };
  const { hlc, origin } = raw.version;
  return { ...raw, version: { hlc: hlcFromText(String(hlc)), origin } };
}
