/**
 * What a merge rule would make of conflicts that are decided by another one.
 *
 * Each conflict is judged by itself: from the row as it really was, one step by the other rule. A fold by the other rule alone would
 * soon be about rows that nobody ever had, since users change what they really see; and the first difference would count
 * again with every later conflict of its row.
 *
 * A conflict is judged when its event is pruned: then nothing can come below it any more, so the row before it is the same in
 * every region, and so is what is judged, wherever a history is cut and however often it was folded before. Each event is
 * pruned once. Of the elements of a set, the row knows who added them only where the rule in effect has a set there as well;
 * where it has none, an element that is in both rows counts as seen by whoever removes it.
 */
import { haveSameValues, type Image } from '../change/change-event.ts';
import { type FoldEvent, type Folding, foldOn } from './fold.ts';
import type { FoldState } from './fold-state.ts';
import type { MergeRule } from './merge-rule.ts';
import type { Fallback } from './merge-types.ts';

/** An event that names a version beside the one that it goes by. */
type Shadowed = FoldEvent & { readonly merge_shadow?: string };

export type ShadowCase<Event> = {
  /** The row before the event. */
  readonly state: FoldState;
  readonly event: Event;
  readonly version_id: string;
  /** What really became of the row. */
  readonly result: Image | null;
};

export type ShadowVerdict = {
  readonly image: Image | null;
  readonly isDifferent: boolean;
  /** Why the rule could not merge, and the event's own row stood; null where it could. */
  readonly failure: Fallback | 'invalid' | null;
};

/** Whether events that are about to be pruned name a version in shadow. */
export function hasShadows(events: readonly Shadowed[]): boolean {
  return events.some((event) => event.merge_shadow !== undefined);
}

/** The conflicts among them, of a row that begins with that state. */
export function* shadowCases<Event extends Shadowed>(
  base: FoldState,
  events: readonly Event[],
): Folding<ShadowCase<Event>[]> {
  const cases: ShadowCase<Event>[] = [];
  let state = base;
  for (const event of events) {
    const folded = yield* foldOn(state, [event]);
    const { merge_shadow } = event;
    if (merge_shadow !== undefined && folded.steps.length > 0) {
      cases.push({ state, event, version_id: merge_shadow, result: folded.state.image });
    }
    state = folded.state;
  }
  return cases;
}

export function* judgeShadow(
  { state, event, result }: Omit<ShadowCase<FoldEvent>, 'version_id'>,
  rule: MergeRule,
): Folding<ShadowVerdict> {
  const { state: after, steps } = yield* foldOn(state, [{ ...event, rule }]);
  const { image } = after;
  const [step] = steps;
  const failure = step?.how === 'invalid' ? 'invalid' : (step?.fallback ?? null);
  const isSame =
    image === null || result === null
      ? image === result
      : haveSameValues(image, result) && haveSameValues(result, image);
  return { image, isDifferent: !isSame, failure };
}
