/**
 * The fold: what a row is, given all events on it. Reference semantics, the oracle of the simulation, and what regions run.
 *
 * Events are taken in the order of their versions; events of one transaction share a version and keep their order by
 * index. Each is a step from the row as it is then (`current`) to the next:
 *
 * 1. A write that has seen all before it, and found what they make of the row, gives its own image: whoever wrote it decided in
 *    the knowledge of everything.
 * 2. Any other write gives `strategy(base = what it found, current, what it left)`: what it has changed at its origin
 *    is done to `current`. Its base is its own before-image and nothing else.
 * 3. A merged row that is not valid (a CHECK, a range, a length, NOT NULL) is not taken: the step gives the event's own
 *    image, which was valid at its origin. So does a custom function that fails. A merged row that is one of the two that
 *    went in needs no question.
 * 4. Where the row is absent, a write puts its own image there. A removal makes it absent. Between a removal and a write
 *    of which neither has seen the other, the table's policy decides:
 *    `latest`: the later of the two by version stands.
 *    `update-wins`: a removal is void unless it has seen every write since the row was last absent.
 *    `delete-wins`: an update is void if there is a removal before it that it has not seen, unless it knows the row that
 *    stands now from its making: an insert makes a new row, and is never void itself.
 *    A removal that the later by version is takes the row in `latest` and `delete-wins`. A TRUNCATE is a removal of every
 *    row, with its own transaction's `seen`; an update that moves a row is a removal under the old key and an insert under the
 *    new one.
 *
 * All regions take the same events in the same order, so they end equal whatever the strategy: nothing rests on its being
 * commutative or associative. What is wrong instead:
 *
 * - Taking "has seen the last event before it" for "has seen all before it", or closing `seen` over what others had seen:
 *   links can pass on an event without those that it knew. Where c knows f and h, f knows g, and c does not know g, c's row
 *   lacks g's increment as soon as h stands between; its next image, taken for complete, loses it.
 * - Telling concurrency from equal images: a row that goes x, y, x fools it.
 * - Taking "has seen all before it" for "was made on what they make of the row": while local writes are not captured, the row
 *   that a user finds is made of a guess at them (`src/apply/merges/merged-row.ts`). Where nothing was known of the row, the guess
 *   can lack an own increment, and the next image, taken for complete, loses it.
 * - Judging validity of the final row alone: which merges count would depend on the order of arrival.
 * - Taking a transaction's events on a row together: a delete and an insert within it are no update, and each of its images was
 *   valid by itself.
 * - Merging with the common ancestor that the region happens to have: it is another one in each region.
 * - Forgetting a prefix but for its image: see `fold-state.ts`.
 *
 * The fold does no I/O: it asks (`FoldRequest`) and is resumed with the answer, so that one code serves the simulation at
 * once and the apply lane in batches (`fold-drivers.ts`).
 */
import { haveSameValues, type Image, microsToIso } from '../change/change-event.ts';
import { hlcMicros } from '../change/hlc.ts';
import type { Position, Seen } from '../change/position.ts';
import { compareVersions, type Version } from '../change/version.ts';
import type { FoldState } from './fold-state.ts';
import { type Heads, knows, knowsAll, NOTHING, type Observer, withHead } from './heads.ts';
import { lineOf } from './losses.ts';
import { completed, mergeRow, takeRow } from './merge-row.ts';
import { LAST_WRITER_WINS, type MergeFunction, type MergeRule } from './merge-rule.ts';
import type { Fallback, MergeMeta, MergeParty } from './merge-types.ts';

export type FoldEvent = {
  readonly version: Version;
  readonly position: Position;
  /** Place within the transaction. */
  readonly index: number;
  readonly seen: Seen;
  /** What the event found under this key; null where there was nothing, and for a TRUNCATE. */
  readonly before: Image | null;
  /** Null where the event removed the row. */
  readonly after: Image | null;
  /** The rule that its origin had active; none is last writer wins. */
  readonly rule?: MergeRule | undefined;
  /** What is guessed of a local write that is not captured (`src/apply/merges/merged-row.ts`): that it knows every event does not mean that it found their fold. */
  readonly isGuess?: true;
};

export type FoldRequest =
  /** Whether a row with this image could be in the table. */
  | { readonly kind: 'validate'; readonly rule: MergeRule; readonly image: Image }
  | {
      readonly kind: 'merge';
      readonly rule: MergeRule;
      readonly function: MergeFunction;
      readonly base: Image | null;
      readonly a: Image;
      readonly b: Image;
      readonly meta: MergeMeta;
    };

export type MergeAnswer = { readonly image: Image } | { readonly fallback: Fallback };
export type FoldAnswer = boolean | MergeAnswer;

/** How a step came about that did not simply take the image of an event that knew all before it. */
export type StepHow =
  /** Both sides count: by the rule, a function included. */
  | 'merged'
  /** The merged row is not valid, and the event's own was taken. */
  | 'invalid'
  /** The function failed, and the event's own row was taken. */
  | 'fallback'
  /** A removal took writes that it had not seen. */
  | 'removed'
  /** A removal is void, for it had not seen all writes. */
  | 'spared'
  /** A write brought back a row that was removed without its knowledge. */
  | 'revived'
  /** An update is void, for the row was removed without its knowledge. */
  | 'void';

export type FoldStep<Event extends FoldEvent> = {
  readonly event: Event;
  readonly how: StepHow;
  /** Set where `how` is `fallback`. */
  readonly fallback: Fallback | null;
  /** The row before and after the step. */
  readonly current: Image | null;
  readonly result: Image | null;
};

export type Folded<Event extends FoldEvent> = { readonly state: FoldState; readonly steps: readonly FoldStep<Event>[] };

export type Folding<Result> = Generator<FoldRequest, Result, FoldAnswer>;

export function compareEvents(a: FoldEvent, b: FoldEvent): number {
  return compareVersions(a.version, b.version) || a.index - b.index;
}

/** Goes on from a state with events that stand in their order, all of them above it. */
export function* foldOn<Event extends FoldEvent>(from: FoldState, events: readonly Event[]): Folding<Folded<Event>> {
  const steps: FoldStep<Event>[] = [];
  let state = from;
  for (const event of events) {
    const current = state.image;
    const taken = yield* step(state, event);
    state = taken.state;
    const { how, fallback } = taken;
    if (how !== null) steps.push({ event, how, fallback, current, result: state.image });
  }
  return { state, steps };
}

type Taken = { readonly state: FoldState; readonly how: StepHow | null; readonly fallback: Fallback | null };

function* step(state: FoldState, event: FoldEvent): Folding<Taken> {
  const rule = event.rule ?? LAST_WRITER_WINS;
  const observer: Observer = { origin: event.version.origin, position: event.position, seen: event.seen };
  const next: FoldState = { ...state, version: event.version, heads: withHead(state.heads, observer) };
  const { before, after } = event;
  const knowsEverything = event.isGuess === true ? isSameRow(before, state.image) : knowsAll(observer, state.heads);
  if (after === null) return remove(state, next, rule, observer, knowsEverything);
  if (isVoid(state, rule, observer, before)) return { state: next, how: 'void', fallback: null };

  const own = completed(after, state.image, before);
  const written = (image: Image, additions: FoldState['additions']): FoldState => ({
    ...next,
    image,
    additions,
    live: withHead(state.live, observer),
    birth: state.image === null ? { line: lineOf(observer), position: observer.position } : state.birth,
  });
  const asItIs = (): FoldState => written(own, takeRow(rule, before, own, state.additions, observer));
  if (state.image === null) return { state: asItIs(), how: knowsEverything ? null : 'revived', fallback: null };
  if (knowsEverything && !foundAnother(before, state.image)) return { state: asItIs(), how: null, fallback: null };

  const sides = { base: before, a: state.image, b: own };
  let byFunction: Image | null = null;
  if (typeof rule.rows === 'object') {
    const meta = metaOf(rule, own, state.version, event.version);
    const answer = yield { kind: 'merge', rule, function: rule.rows, ...sides, meta };
    if (typeof answer !== 'object') throw new TypeError('a merge is answered with an image or a fallback');
    if ('fallback' in answer) return { state: asItIs(), how: 'fallback', fallback: answer.fallback };
    byFunction = answer.image;
  }
  const merged = mergeRow(rule, sides, state.additions, observer, byFunction);
  if (merged.image === null) return { state: asItIs(), how: 'invalid', fallback: null };
  const isOneOfThem = isSame(merged.image, own) || isSame(merged.image, state.image);
  if (rule.needsValidation && !isOneOfThem) {
    const isValid = yield { kind: 'validate', rule, image: merged.image };
    if (isValid !== true) return { state: asItIs(), how: 'invalid', fallback: null };
  }
  const isOwn = knowsEverything && isSame(merged.image, own);
  return { state: written(merged.image, merged.additions), how: isOwn ? null : 'merged', fallback: null };
}

function remove(
  state: FoldState,
  next: FoldState,
  rule: MergeRule,
  observer: Observer,
  knowsEverything: boolean,
): Taken {
  const isSpared = state.image !== null && rule.deletes === 'update-wins' && !knowsAll(observer, state.live);
  if (isSpared) return { state: next, how: 'spared', fallback: null };
  const gone: Heads = withHead(state.gone, observer);
  const removed: FoldState = { ...next, image: null, live: NOTHING, gone, birth: null, additions: {} };
  return { state: removed, how: state.image === null || knowsEverything ? null : 'removed', fallback: null };
}

/** Whether a removal that the update has not seen takes it along. */
function isVoid({ image, birth, gone }: FoldState, rule: MergeRule, observer: Observer, before: Image | null): boolean {
  if (rule.deletes !== 'delete-wins' || before === null || knowsAll(observer, gone)) return false;
  return image === null || (birth !== null && !knows(observer, birth.line, birth.position));
}

function metaOf(rule: MergeRule, own: Image, a: Version, b: Version): MergeMeta {
  const key = Object.fromEntries(rule.key.map((column) => [column, own[column] ?? null]));
  return { table: rule.table, key, a: partyOf(a), b: partyOf(b) };
}

function partyOf({ hlc, origin }: Version): MergeParty {
  return { region: origin, time: microsToIso(hlcMicros(hlc)) };
}

/** Whether a write was made on another row than that. One without a before-image does not tell. */
function foundAnother(before: Image | null, current: Image): boolean {
  return before !== null && !isSame(before, current);
}

function isSameRow(one: Image | null, other: Image | null): boolean {
  return one === null || other === null ? one === other : isSame(one, other);
}

function isSame(one: Image, other: Image): boolean {
  return haveSameValues(one, other) && haveSameValues(other, one);
}
