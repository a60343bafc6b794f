/**
 * The lane: everything that a region applies goes through here in turn, in one connection.
 *
 * Two applied writes never race each other, only the foreground. (With one connection per link, a delete and an older
 * upsert of one absent row can cross, and regions fork.)
 *
 * A batch is as many whole source transactions of one origin as are waiting (`batch-attempt.ts`). It is tried set by set;
 * where that runs into a constraint it is replayed transaction by transaction, change by change, and only an event that fails
 * even then is quarantined (`exact-replay.ts`). Between batches, in the same turn, comes what is done beside them: looks at
 * rows that could not be told, parked rows, conflicts that count as settled, rows that merge, and what operators decide.
 */
import type { Hlc } from '../../change/hlc.ts';
import type { Seen } from '../../change/position.ts';
import type { NotesLedger } from '../../clock/notes-ledger.ts';
import type { Stability } from '../../clock/stability.ts';
import type { KnownMerges } from '../../resolve/known-merges.ts';
import type { ApplyPort, Mark } from '../apply-port.ts';
import { BatchPlanner, type PlannerOptions } from '../batch/batch-planner.ts';
import { ParkedKeys } from '../batch/parked-keys.ts';
import type { EventAt } from '../event-at.ts';
import { isDataFault } from '../event-failure.ts';
import type { UnsettledLimits } from '../history/unsettled-events.ts';
import { type LaneItem, touchesRegistry } from '../lane-item.ts';
import { LaneMarks } from '../lane-marks.ts';
import { HistoryPacking } from '../merges/history-packing.ts';
import { MergeMemory } from '../merges/merge-memory.ts';
import { MergeRules } from '../merges/merge-rules.ts';
import type { MergeFunctions } from '../merges/merge-writer.ts';
import { type Rest, RestWatch } from '../rest-watch.ts';
import { LookAgainRunner } from '../upkeep/look-again.ts';
import { MergeUpkeep } from '../upkeep/merge-upkeep.ts';
import { type MakeWriter, ParkedSettler } from '../upkeep/parked-settler.ts';
import type { OrphanLook } from '../upkeep/removed-parents.ts';
import { type AppliedReport, BatchAttempt } from './batch-attempt.ts';
import { applyExactly } from './exact-replay.ts';
import { PassedMemory } from './passed-memory.ts';
import { QuarantineRetry, type RetryOutcome } from './quarantine-retry.ts';
import { QuarantinedKeys } from './quarantined-keys.ts';
import { WriterMaker } from './writer-maker.ts';

export type LaneOptions = Omit<PlannerOptions, 'isMerging'> & {
  readonly region: string;
  readonly onApplied?: (report: AppliedReport) => void;
  /** Reads an event from the log again. */
  readonly eventAt: EventAt;
  /** How many unsettled events are kept in mind, and how. */
  readonly unsettled?: Partial<UnsettledLimits>;
  /** Looks for rows whose parent is gone. */
  readonly orphans?: OrphanLook;
  /** What tables merge by, who runs the functions of it, and how many events of a history are packed together. */
  readonly merges?: {
    readonly registry: () => Promise<KnownMerges>;
    readonly functions: MergeFunctions;
    readonly packEvents?: number;
  };
};

export class Lane {
  readonly #port: ApplyPort;
  readonly #ledger: NotesLedger;
  readonly #stability: Stability;
  readonly #options: LaneOptions;
  readonly #marks: LaneMarks;
  readonly #passed: PassedMemory;
  readonly #attempt: BatchAttempt;
  readonly #parked = new ParkedKeys();
  readonly #parkedSettler: ParkedSettler;
  readonly #looks: LookAgainRunner;
  readonly #quarantined = new QuarantinedKeys();
  readonly #retry: QuarantineRetry;
  readonly #rules: MergeRules;
  readonly #upkeep: MergeUpkeep;
  readonly #rest = new RestWatch();
  #changes = 0;

  constructor(port: ApplyPort, ledger: NotesLedger, stability: Stability, options: LaneOptions) {
    const { region, eventAt, unsettled, orphans, merges, onApplied } = options;
    this.#port = port;
    this.#ledger = ledger;
    this.#stability = stability;
    this.#options = options;
    const planner = new BatchPlanner(port, { ...options, isMerging: (shape) => this.#rules.isTracked(shape) });
    const marks = new LaneMarks(port, region);
    this.#marks = marks;
    this.#rules = new MergeRules(merges?.registry);
    const memory = new MergeMemory(this.#rules, new HistoryPacking(merges?.packEvents));
    const [parked, quarantined] = [this.#parked, this.#quarantined];
    const writers: WriterMaker = new WriterMaker({
      region,
      stability,
      marks,
      passed: () => this.#passed,
      parked,
      quarantined,
      rules: this.#rules,
      merges: memory,
      functions: merges?.functions,
    });
    const onStuck = (origin: string): void => {
      quarantined.changed();
      onApplied?.({ origin, events: 0, written: 0, conflicts: {}, quarantined: 1 });
    };
    this.#upkeep = new MergeUpkeep({
      region,
      port,
      rules: this.#rules,
      memory,
      makeWriter: (transaction) => writers.beside(transaction, region, false),
      appliedTo: () => this.#ledger.newest.max_hlc,
      onStuck,
    });
    this.#passed = new PassedMemory({
      port,
      stability,
      marks,
      planner,
      eventAt,
      unsettled,
      orphans,
      merged: async (losses) => await this.#upkeep.resultsOf(losses),
    });
    const makeWriter: MakeWriter = (transaction, origin) => writers.beside(transaction, origin);
    this.#looks = new LookAgainRunner(port, stability, makeWriter, parked, () => this.#passed.unsettled);
    this.#parkedSettler = new ParkedSettler(port, region, parked, makeWriter, onStuck);
    const common = { region, port, planner, writers, marks, parked, quarantined };
    this.#retry = new QuarantineRetry(common);
    this.#attempt = new BatchAttempt({ ...common, ledger, stability, passed: this.#passed, onApplied });
  }

  /** Reads where the database stands. The ledger must hold the database's notes by now. */
  async open(): Promise<void> {
    this.#stability.beginsAnew();
    this.#marks.clear();
    this.#quarantined.changed();
    await this.#passed.clear();
    await this.#marks.readHistory();
    this.#parked.load(await this.#port.parkedKeys());
    await this.#upkeep.open();
    await this.#marks.readMarks();
    await this.#passed.open();
  }

  /**
   * Takes in what was applied of an origin before this lane began: items up to the mark, from `neededFrom` on. Nothing is
   * written; conflicts of what is yet to come are judged with them, and those that are not settled yet are settled.
   */
  async remember(origin: string, items: readonly LaneItem[]): Promise<void> {
    await this.#passed.remember(origin, items);
  }

  /** Says that events stamped below it, which are not settled, cannot be remembered. */
  lacks(below: Hlc): void {
    this.#passed.lacks(below);
  }

  /** The offset from which on the stream is needed to settle conflicts after a restart. */
  neededFrom(origin: string): number {
    return this.#passed.neededFrom(origin);
  }

  mark(origin: string): Mark | undefined {
    return this.#marks.of(origin);
  }

  /** Marks of all origins, the own stream's included. */
  get marks(): Seen {
    return this.#marks.seen;
  }

  /** How far in this database's WAL its own stream has come back. */
  get echoedLsn(): bigint {
    return this.#marks.echoedLsn;
  }

  /**
   * Applies items of one origin, which follow one another in its stream. Resolves once they are committed; what is at
   * or below the mark is skipped. Throws infrastructure errors (nothing, or a prefix of whole items, is applied then),
   * SYN-L001 on a gap, and SYN-A005 where an event cannot be applied and `onError` is `stop`.
   */
  async apply(origin: string, items: readonly LaneItem[]): Promise<void> {
    const fresh = this.#marks.fresh(origin, items);
    const [first] = fresh;
    if (first === undefined) return;
    const turnAt = fresh.findIndex((item) => !this.#marks.areOfOneKind(origin, first, item));
    if (turnAt > 0) {
      await this.apply(origin, fresh.slice(0, turnAt));
      return await this.apply(origin, fresh.slice(turnAt));
    }
    const giantAt = fresh.findIndex((item) => item.kind === 'giant');
    if (giantAt >= 0 && fresh.length > 1) {
      if (giantAt > 0) await this.apply(origin, fresh.slice(0, giantAt));
      await this.apply(origin, fresh.slice(giantAt, giantAt + 1));
      return await this.apply(origin, fresh.slice(giantAt + 1));
    }
    // What comes behind a change of the registry may go by it.
    const registryAt = fresh.findIndex(touchesRegistry);
    if (registryAt >= 0 && registryAt < fresh.length - 1) {
      await this.apply(origin, fresh.slice(0, registryAt + 1));
      return await this.apply(origin, fresh.slice(registryAt + 1));
    }
    this.#changes += fresh.filter(({ kind }) => kind !== 'heartbeat').length;
    try {
      await this.#attempt.run(origin, fresh, new Map(), false);
    } catch (error) {
      if (!isDataFault(error)) throw error;
      this.#port.forgetShapes();
      for (const item of fresh) await applyExactly(this.#attempt, origin, item, this.#options.onError);
    }
    if (registryAt >= 0) await this.#upkeep.reload();
  }

  /** Everything up to it is applied everywhere, and echoed here. */
  get stable(): Hlc {
    return this.#marks.stable(this.#stability);
  }

  /** Whether the region is at rest, and else what is waited for. */
  async rest(): Promise<Rest> {
    const [moment, kept] = [await this.#port.moment(), await this.#port.kept()];
    const highest = this.#stability.members.reduce((most, member) => {
      const stamp = this.#stability.highestAt(member, this.mark(member)?.position);
      return stamp > most ? stamp : most;
    }, this.#ledger.newest.max_hlc);
    const { stable, echoedLsn } = this;
    return this.#rest.look({ moment, kept, highest, stable, echoedLsn, changes: this.#changes });
  }

  /** As in `LaneMarks`. */
  async ownDue(items: readonly LaneItem[]): Promise<readonly LaneItem[]> {
    return await this.#marks.ownDue(items);
  }

  /** Looks again at removals that found no row; returns how many intents were settled. */
  async lookAgain(): Promise<number> {
    const settled = await this.#looks.run(this.#options.region, this.#ledger.newestLsn, this.echoedLsn);
    if (settled > 0) this.#quarantined.changed();
    return settled;
  }

  /** Whether there are parked rows to look at again. */
  get isUnsettled(): boolean {
    return this.#parked.isUnsettled;
  }

  /** Brings back parked rows that nothing is in the way of any more; returns how many were looked at closely. */
  async settle(): Promise<number> {
    return await this.#parkedSettler.run();
  }

  /** Makes those conflict records final that nothing can change any more; returns how many. */
  async settleConflicts(): Promise<number> {
    return await this.#passed.settle();
  }

  /** As in `QuarantineRetry`. */
  async retry(eventIds: readonly string[]): Promise<RetryOutcome[]> {
    return await this.#retry.run(eventIds);
  }

  async discard(eventIds: readonly string[]): Promise<void> {
    await this.#retry.discard(eventIds);
  }

  /** As in `MergeUpkeep`. */
  get trackedFrom(): Hlc | null {
    return this.#upkeep.trackedFrom;
  }

  /** Whether these items change rows that merge. */
  touchesMerges(items: readonly LaneItem[]): boolean {
    if (!this.#rules.areAny) return false;
    return items.some((item) => {
      if (item.kind === 'heartbeat') return false;
      if (item.kind === 'giant') return true;
      return item.source.events.some((event) =>
        this.#rules.isTracked({ schema: event.schema_name, table: event.table_name }),
      );
    });
  }

  /** As in `MergeUpkeep`. */
  async visitMerges(): Promise<number> {
    return await this.#upkeep.visit(this.echoedLsn);
  }

  /** Drops what only events that are not stable need of rows that merge; returns how many rows were looked at. */
  async pruneMerges(stable: Hlc): Promise<number> {
    // Conflicts that are not settled yet tell what came of them by the history.
    const undecided = this.#passed.unsettled.undecidedFrom;
    const upTo = stable < undecided ? stable : undecided - 1n;
    return await this.#upkeep.prune(upTo);
  }
}
