/** Of rows whose histories are about to be cut, the conflicts that versions in shadow are to be asked about: `src/resolve/shadow.ts`. */
import type { Version } from '../../change/version.ts';
import { type FoldAnswers, foldTogether } from '../../resolve/fold-drivers.ts';
import { foldStateToText } from '../../resolve/fold-state.ts';
import { hasShadows, shadowCases } from '../../resolve/shadow.ts';
import type { HistoryEntry, ShadowEntry } from '../apply-port.ts';
import type { KeyedRow } from '../history/standing-row.ts';
import type { HistoryEvent, MergedRow } from './merged-row.ts';

export async function shadowEntries(
  rows: readonly (KeyedRow & { readonly row: MergedRow })[],
  upTo: Version,
  answers: FoldAnswers,
): Promise<ShadowEntry[]> {
  const shadowed = rows.flatMap(({ pk, row }) => {
    const events = row.fold.upTo(upTo);
    return hasShadows(events) ? [{ pk, base: row.fold.base, events }] : [];
  });
  if (shadowed.length === 0) return [];
  const found = await foldTogether(
    shadowed.map(({ base, events }) => shadowCases(base, events)),
    answers,
  );
  return found.flatMap((ofRow, place) =>
    ofRow.map(({ version_id, state, event, result }) => ({
      version_id,
      pk: shadowed[place]?.pk ?? {},
      state: foldStateToText(state),
      event: toEntry(event),
      result,
    })),
  );
}

/** As the history keeps it. */
export function toEntry({ rule: _, ...entry }: HistoryEvent): HistoryEntry {
  return entry;
}
