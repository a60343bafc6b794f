/**
 * What the lane keeps in mind of what has passed it: events that may still lose or win, and removals that may have left
 * rows without a parent. Both wait until nothing concurrent can arrive any more; then conflicts are settled and rows are
 * looked for. It is lost with the agent, and what is unsettled is read back from the log (`remember`).
 */
import type { Hlc } from '../../change/hlc.ts';
import { areOfOneEpoch, type Position, positionEpoch } from '../../change/position.ts';
import type { Stability } from '../../clock/stability.ts';
import type { ApplyPort, ConflictHorizon } from '../apply-port.ts';
import type { BatchPlanner } from '../batch/batch-planner.ts';
import type { EventAt } from '../event-at.ts';
import { PassedBatch, type StatedBefore } from '../history/passed-event.ts';
import { NO_HORIZON, UNSETTLED_LIMITS, UnsettledEvents, type UnsettledLimits } from '../history/unsettled-events.ts';
import { hlcOf, type LaneItem } from '../lane-item.ts';
import type { LaneMarks } from '../lane-marks.ts';
import type { Step } from '../net-change.ts';
import { rollback } from '../roll-back.ts';
import { ConflictSettler, type MergedOf } from '../upkeep/conflict-settler.ts';
import {
  type OrphanLook,
  REMOVED_MAX,
  REMOVED_PER_LOOK,
  type RemovedParent,
  RemovedParents,
} from '../upkeep/removed-parents.ts';

export type PassedMemoryOptions = {
  readonly port: ApplyPort;
  readonly stability: Stability;
  readonly marks: LaneMarks;
  readonly planner: BatchPlanner;
  /** Reads an event from the log again. */
  readonly eventAt: EventAt;
  readonly merged: MergedOf;
  readonly unsettled?: Partial<UnsettledLimits> | undefined;
  /** Looks for rows whose parent is gone. */
  readonly orphans?: OrphanLook | undefined;
};

/** What a batch adds, once it is committed. */
export type Passing = {
  readonly batch: PassedBatch;
  readonly removed: RemovedParent[];
  /** Removals of a giant that were too many to be kept. */
  givenUp: number;
};

export class PassedMemory {
  readonly #options: PassedMemoryOptions;
  #removed = new RemovedParents();
  #unsettled: UnsettledEvents;
  #settler: ConflictSettler;

  constructor(options: PassedMemoryOptions) {
    this.#options = options;
    this.#unsettled = this.#newUnsettled(NO_HORIZON);
    this.#settler = this.#newSettler(NO_HORIZON);
  }

  get unsettled(): UnsettledEvents {
    return this.#unsettled;
  }

  /** Forgets removals; what foreign keys refer to is read. */
  async clear(): Promise<void> {
    this.#removed = new RemovedParents();
    await this.#refer();
  }

  /** Begins where conflicts are settled up to. */
  async open(): Promise<void> {
    const { port, orphans } = this.#options;
    const horizon = (await port.conflictHorizon()) ?? NO_HORIZON;
    if (horizon.lost_below > 0n) orphans?.giveUp(null);
    this.#unsettled = this.#newUnsettled(horizon);
    this.#settler = this.#newSettler(horizon);
  }

  /**
   * Takes in what was applied of an origin before: items up to the mark, from `neededFrom` on. Nothing is written; conflicts
   * of what is yet to come are judged with them, and those that are not settled yet are settled.
   */
  async remember(origin: string, items: readonly LaneItem[]): Promise<void> {
    const { port, planner } = this.#options;
    const passing = this.begin(origin, items);
    const transaction = await port.begin(origin, 1n);
    try {
      const sources = items.flatMap((item) => (item.kind === 'transaction' ? [item.source] : []));
      this.take(passing, await planner.replan(transaction, sources), false);
      for (const item of items) {
        if (item.kind !== 'giant') continue;
        for await (const events of item.chunks()) {
          this.takePiece(passing, await planner.replan(transaction, [{ ...item.source, events }]));
        }
      }
    } finally {
      await rollback(transaction);
    }
    this.#unsettled.add(passing.batch);
    this.keepRemoved(passing);
    this.learn(origin, items);
  }

  begin(origin: string, items: readonly LaneItem[]): Passing {
    const eventsMax = this.#options.unsettled?.events_max ?? UNSETTLED_LIMITS.events_max;
    return { batch: new PassedBatch(origin, this.#statedBefore(origin, items), eventsMax), removed: [], givenUp: 0 };
  }

  /** `keepsImages` is false where they would be too many. */
  take({ batch, removed }: Passing, steps: readonly Step[], keepsImages: boolean): void {
    batch.take(steps, keepsImages);
    removed.push(...this.#removed.among(steps));
  }

  /** The same of a piece of a giant transaction. */
  takePiece(passing: Passing, steps: readonly Step[]): void {
    const { batch, removed } = passing;
    batch.takePiece(steps, (shape, key, source) => this.#unsettled.packs(shape, key, source));
    removed.push(...this.#removed.among(steps));
    // The oldest are given up anyway; by halves, so that each costs constant time.
    if (removed.length > 2 * REMOVED_MAX) passing.givenUp += removed.splice(0, removed.length - REMOVED_MAX).length;
  }

  keepRemoved({ removed, givenUp }: Passing): void {
    const given = givenUp + this.#removed.add(removed);
    if (given > 0) this.#options.orphans?.giveUp(given);
  }

  /** What items of a stream say, once they are applied. */
  learn(origin: string, items: readonly LaneItem[]): void {
    const { stability, marks } = this.#options;
    let entered: Position | null = null;
    for (const item of items) {
      const { position } = item;
      if (item.kind === 'heartbeat') this.#unsettled.states({ origin, position }, item.heartbeat.floor);
      if (entered === null || !areOfOneEpoch(entered, position)) {
        stability.enters(origin, position);
        this.#unsettled.enters(origin, positionEpoch(position));
        entered = position;
      }
      stability.applied(origin, position, hlcOf(item));
      // What this region stated in a history that it lost, it has not applied.
      if (item.kind !== 'heartbeat' || marks.isLost(origin, item)) continue;
      stability.heartbeat(origin, item.heartbeat.floor);
      this.#unsettled.heartbeat(origin, item.heartbeat.floor);
    }
  }

  /** Says that events stamped below it, which are not settled, cannot be remembered. */
  lacks(below: Hlc): void {
    this.#unsettled.lacks(below);
    this.#options.orphans?.giveUp(null);
  }

  /** The offset from which on the stream is needed to settle conflicts after a restart. */
  neededFrom(origin: string): number {
    return this.#settler.neededFrom(origin);
  }

  /** Makes those conflict records final that nothing can change any more; returns how many. */
  async settle(): Promise<number> {
    const { stability, marks } = this.#options;
    // First, because what is settled is not read back from the log any more.
    if (!(await this.#lookForOrphans(stability.watermark()))) return 0;
    return await this.#settler.run(
      (origin) => marks.of(origin)?.log_offset ?? 0,
      // The watermark falls back where a region begins a new epoch; what was stable before is settled all the same.
      async (undecidedFrom) => {
        while (!(await this.#lookForOrphans(undecidedFrom - 1n)));
      },
    );
  }

  #newUnsettled(horizon: ConflictHorizon): UnsettledEvents {
    const { stability, unsettled } = this.#options;
    return new UnsettledEvents(stability.members, horizon, unsettled);
  }

  #newSettler(horizon: ConflictHorizon): ConflictSettler {
    const { port, eventAt, merged } = this.#options;
    return new ConflictSettler(port, this.#unsettled, eventAt, merged, horizon);
  }

  /** Of items of one line, in their order. */
  #statedBefore(origin: string, items: readonly LaneItem[]): StatedBefore {
    const [first] = items;
    if (first === undefined) return () => 0n;
    let stated = this.#unsettled.stated({ origin, position: first.position });
    const steps = [{ after: '', stated }];
    for (const item of items) {
      if (item.kind !== 'heartbeat' || item.heartbeat.floor <= stated) continue;
      stated = item.heartbeat.floor;
      steps.push({ after: item.position, stated });
    }
    return (position) => steps.findLast(({ after }) => position > after)?.stated ?? 0n;
  }

  /** Whether nothing stable, which is what is stamped up to there, is left to look at. */
  async #lookForOrphans(stable: Hlc): Promise<boolean> {
    const { orphans } = this.#options;
    await this.#refer();
    const due = this.#removed.upTo(stable);
    if (due.length === 0) return true;
    const removed = due.slice(0, REMOVED_PER_LOOK);
    await orphans?.look(removed);
    this.#removed.forget(removed);
    return removed.length === due.length;
  }

  async #refer(): Promise<void> {
    const { orphans } = this.#options;
    if (orphans !== undefined) this.#removed.refer(await orphans.referenced());
  }
}
