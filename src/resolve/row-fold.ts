/**
 * The fold of one row that grows: events arrive in any order, and each is folded about once.
 *
 * Checkpoints of the state stand every so many events. An event that arrives late is put in its place and drops those
 * behind it, so the next folding starts at the last one before it: what it costs is the events behind that place. A row
 * that takes events in order costs one step for each. Stable events are pruned to the state behind them.
 */
import { compareVersions, type Version } from '../change/version.ts';
import { EventRun, type Packing } from './event-run.ts';
import { type FoldEvent, type Folded, type Folding, type FoldStep, foldOn } from './fold.ts';
import { type FoldState, settled } from './fold-state.ts';

/** Fewer would repeat more steps, more would hold more states. */
const CHECKPOINT_EVENTS = 32;

type Checkpoint = { readonly count: number; readonly state: FoldState };

export class RowFold<Event extends FoldEvent> {
  readonly #events: EventRun<Event>;
  /** By the number of events taken; the first is the base, and the last may be the fold of all. */
  #checkpoints: [Checkpoint, ...Checkpoint[]];

  /** From a row of the baseline (`settledRow`), or from where it was pruned to. */
  constructor(base: FoldState, packing: Packing<Event> | null = null) {
    this.#events = new EventRun(packing);
    this.#checkpoints = [{ count: 0, state: base }];
  }

  get base(): FoldState {
    return this.#checkpoints[0].state;
  }

  /** How many events are not part of the base. */
  get size(): number {
    return this.#events.length;
  }

  get newest(): Event | undefined {
    return this.#events.newest;
  }

  /** Those events that are not part of the base, in order. */
  get events(): readonly Event[] {
    return this.#events.slice(0);
  }

  /** The same up to that version. */
  upTo(version: Version): readonly Event[] {
    return this.#events.first((event) => compareVersions(event.version, version) <= 0);
  }

  /** False for an event that is here already, or part of the base: all that is not above it is. */
  add(event: Event): boolean {
    if (compareVersions(event.version, this.base.version) <= 0) return false;
    const place = this.#events.insert(event);
    if (place === null) return false;
    this.#dropBehind(place);
    return true;
  }

  /** Folds what is not folded yet. Only the steps of these events are told. */
  *fold(): Folding<Folded<Event>> {
    const steps: FoldStep<Event>[] = [];
    let last = this.#lastUpTo(this.#events.length);
    while (last.count < this.#events.length) {
      const to = Math.min(this.#events.length, nextCheckpoint(last.count));
      const folded = yield* foldOn(last.state, this.#events.slice(last.count, to));
      steps.push(...folded.steps);
      // The fold of all is worth keeping only until there are more.
      if (last.count % CHECKPOINT_EVENTS !== 0) this.#dropBehind(last.count - 1);
      last = { count: to, state: folded.state };
      this.#checkpoints.push(last);
    }
    this.pack();
    return { state: last.state, steps };
  }

  /** What the row is behind the events up to that version. */
  *behind(version: Version): Folding<FoldState> {
    const count = this.#events.countUpTo(version);
    const from = this.#lastUpTo(count);
    return (yield* foldOn(from.state, this.#events.slice(from.count, count))).state;
  }

  /** Forgets events up to that version, which is stable: what has not arrived yet has seen all of them. */
  *prune(stable: Version): Folding<number> {
    const pruned = this.#events.countUpTo(stable);
    if (pruned === 0) {
      this.pack();
      return 0;
    }
    const from = this.#lastUpTo(pruned);
    const { state } = yield* foldOn(from.state, this.#events.slice(from.count, pruned));
    const later = this.#checkpoints.filter(({ count }) => count > pruned);
    this.#events.drop(pruned);
    const base = settled(state, this.#events.observers);
    this.#checkpoints = [
      { count: 0, state: base },
      ...later.map(({ count, state: kept }) => ({ count: count - pruned, state: kept })),
    ];
    this.pack();
    return pruned;
  }

  /** Packs all but the newest events, where a way to is given: for histories that were read. Folding and pruning do so. */
  pack(): void {
    this.#events.pack();
  }

  #lastUpTo(count: number): Checkpoint {
    return this.#checkpoints.findLast((checkpoint) => checkpoint.count <= count) ?? this.#checkpoints[0];
  }

  #dropBehind(count: number): void {
    while ((this.#checkpoints.at(-1)?.count ?? 0) > count) this.#checkpoints.pop();
  }
}

function nextCheckpoint(count: number): number {
  return count - (count % CHECKPOINT_EVENTS) + CHECKPOINT_EVENTS;
}
