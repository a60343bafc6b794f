/**
 * The lane: everything that a region applies goes through here in turn, in one connection.
 *
 * Two applied writes never race each other, only the foreground. (With one connection per link, a delete and an older
 * upsert of one absent row can cross, and regions fork.) The lane owns the marks and tells the ledger of every batch
 * before its note can exist, so that capture never stamps a transaction from a guess.
 *
 * A batch is as many whole source transactions of one origin as are waiting. It is tried set by set; where that runs
 * into a constraint it is replayed transaction by transaction, change by change, and only an event that fails even then
 * is quarantined.
 */
import { type ChangeEvent, isoToMicros, keptMicros } from '../change/change-event.ts';
import { type Hlc, hlcMicrosCeil } from '../change/hlc.ts';
import { type Position, positionEpoch, type Seen } from '../change/position.ts';
import { compareVersions } from '../change/version.ts';
import type { BatchToken, NotesLedger } from '../clock/notes-ledger.ts';
import { echoedLsn, isLost, type OwnHistory, seenOfOwn } from '../clock/own-history.ts';
import type { Stability } from '../clock/stability.ts';
import { invariant } from '../platform/assert.ts';
import { isDataFault as blamesData, fail, SynclineError, sqlStateOf } from '../platform/errors.ts';
import type { KnownMerges } from '../resolve/known-merges.ts';
import type {
  ApplyPort,
  ApplyTransaction,
  ConflictHorizon,
  Mark,
  OwnCommit,
  QuarantineEntry,
  RowKey,
  TableShape,
} from './apply-port.ts';
import { BatchPlanner, EventFailure, type PlannerOptions } from './batch-planner.ts';
import { BatchWriter } from './batch-writer.ts';
import { ConflictSettler, type MergedOf } from './conflict-settler.ts';
import { echoGuard, remoteGuard } from './decide.ts';
import { EchoWriter } from './echo-writer.ts';
import type { EventAt } from './event-at.ts';
import { hlcOf, type LaneItem, touchesRegistry } from './lane-item.ts';
import { LookAgainRunner } from './look-again.ts';
import { MergeMemory } from './merge-memory.ts';
import { MergeRules } from './merge-rules.ts';
import { MergeUpkeep } from './merge-upkeep.ts';
import { type MergeFunctions, type MergeView, MergeWriter } from './merge-writer.ts';
import type { SourceTransaction, Step } from './net-change.ts';
import { ParkedKeys } from './parked-keys.ts';
import { isClaimViolation, ParkedSettler } from './parked-settler.ts';
import type { Poison } from './quarantine-entry.ts';
import { type OrphanLook, REMOVED_PER_LOOK, type RemovedParent, RemovedParents } from './removed-parents.ts';
import { rollback } from './roll-back.ts';
import type { Stand } from './standing-row.ts';
import { NO_HORIZON, PassedBatch, UnsettledEvents } from './unsettled-events.ts';

/** How often an exact replay is made again because a user took a value between the look and the write. */
const CLAIM_RACES_MAX = 16;

/** Stands for the own stream's epoch until it is known. */
const FIRST_EPOCH = '0'.repeat(19);

export type LaneOptions = PlannerOptions & {
  readonly region: string;
  readonly onApplied?: (report: AppliedReport) => void;
  /** Reads an event from the log again. */
  readonly eventAt: EventAt;
  /** How many unsettled events are kept in mind. */
  readonly unsettledMax?: number;
  /** Looks for rows whose parent is gone. */
  readonly orphans?: OrphanLook;
  /** What tables merge by, and who runs the functions of it. */
  readonly merges?: { readonly registry: () => Promise<KnownMerges>; readonly functions: MergeFunctions };
};

export type AppliedReport = {
  readonly origin: string;
  readonly events: number;
  readonly written: number;
  readonly conflicts: { readonly [table: string]: number };
  readonly quarantined: number;
};

/** `error` is null where the event is applied now. */
export type RetryOutcome = { readonly event_id: string; readonly error: unknown };

export class Lane {
  readonly #port: ApplyPort;
  readonly #ledger: NotesLedger;
  readonly #stability: Stability;
  readonly #options: LaneOptions;
  readonly #marks = new Map<string, Mark>();
  readonly #quarantined = new Map<string, Set<RowKey>>();
  readonly #planner: BatchPlanner;
  readonly #looks: LookAgainRunner;
  readonly #parked = new ParkedKeys();
  readonly #parkedSettler: ParkedSettler;
  #removed = new RemovedParents();
  #unsettled: UnsettledEvents;
  #settler: ConflictSettler;
  #own: OwnHistory | null = null;
  readonly #rules: MergeRules;
  readonly #merges: MergeMemory;
  readonly #upkeep: MergeUpkeep;

  constructor(port: ApplyPort, ledger: NotesLedger, stability: Stability, options: LaneOptions) {
    this.#port = port;
    this.#ledger = ledger;
    this.#stability = stability;
    this.#options = options;
    this.#planner = new BatchPlanner(port, options);
    this.#rules = new MergeRules(options.merges?.registry);
    this.#merges = new MergeMemory(this.#rules);
    this.#upkeep = new MergeUpkeep({
      region: options.region,
      port,
      rules: this.#rules,
      memory: this.#merges,
      makeWriter: (transaction) =>
        this.#writer(transaction, options.region, {}, true, { seen: this.marks, isEcho: false }),
      appliedTo: () => this.#ledger.newest.max_hlc,
    });
    const makeWriter = (transaction: ApplyTransaction, origin: string): BatchWriter =>
      this.#writer(transaction, origin, {}, true, { seen: this.marks, isEcho: origin === options.region });
    this.#looks = new LookAgainRunner(port, stability, makeWriter, this.#parked, () => this.#unsettled);
    this.#parkedSettler = new ParkedSettler(port, options.region, this.#parked, makeWriter);
    this.#unsettled = new UnsettledEvents(stability.members, NO_HORIZON, options.unsettledMax);
    this.#settler = this.#newSettler(NO_HORIZON);
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
    const undecided = this.#unsettled.undecidedFrom;
    const upTo = stable < undecided ? stable : undecided - 1n;
    return await this.#upkeep.prune(upTo);
  }

  /** Reads where the database stands. The ledger must hold the database's notes by now. */
  async open(): Promise<void> {
    this.#marks.clear();
    this.#quarantined.clear();
    this.#removed = new RemovedParents();
    await this.#refer();
    this.#own = await this.#port.ownHistory();
    this.#parked.load(await this.#port.parkedKeys());
    await this.#upkeep.open();
    for (const mark of await this.#port.loadMarks()) this.#marks.set(mark.origin, mark);
    const horizon = (await this.#port.conflictHorizon()) ?? NO_HORIZON;
    const { unsettledMax, orphans } = this.#options;
    if (horizon.lost_below > 0n) orphans?.giveUp(null);
    this.#unsettled = new UnsettledEvents(this.#stability.members, horizon, unsettledMax);
    this.#settler = this.#newSettler(horizon);
  }

  /**
   * Takes in what was applied of an origin before this lane began: items up to the mark, from `neededFrom` on. Nothing is
   * written; conflicts of what is yet to come are judged with them, and those that are not settled yet are settled.
   */
  async remember(origin: string, items: readonly LaneItem[]): Promise<void> {
    const passed = new PassedBatch(origin, this.#statedBefore(origin, items));
    const removed: RemovedParent[] = [];
    const transaction = await this.#port.begin(origin, 1n);
    try {
      const sources = items.flatMap((item) => (item.kind === 'transaction' ? [item.source] : []));
      const steps = await this.#planner.replan(transaction, sources);
      passed.take(steps, false);
      removed.push(...this.#removed.among(steps));
      for (const item of items) {
        if (item.kind !== 'giant') continue;
        for await (const events of item.chunks()) {
          const chunk = await this.#planner.replan(transaction, [{ ...item.source, events }]);
          passed.take(chunk, false);
          removed.push(...this.#removed.among(chunk));
        }
      }
    } finally {
      await rollback(transaction);
    }
    this.#unsettled.add(passed);
    this.#keepRemoved(removed);
    this.#learn(origin, items);
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
  async settleConflicts(): Promise<number> {
    // First, because what is settled is not read back from the log any more.
    if (!(await this.#lookForOrphans())) return 0;
    return await this.#settler.run((origin) => this.#marks.get(origin)?.log_offset ?? 0);
  }

  #newSettler(horizon: ConflictHorizon): ConflictSettler {
    const merged: MergedOf = async (losses) => await this.#upkeep.resultsOf(losses);
    return new ConflictSettler(this.#port, this.#unsettled, this.#options.eventAt, merged, horizon);
  }

  /** Whether nothing stable is left to look at. */
  async #lookForOrphans(): Promise<boolean> {
    await this.#refer();
    const due = this.#removed.upTo(this.#stability.watermark());
    if (due.length === 0) return true;
    const removed = due.slice(0, REMOVED_PER_LOOK);
    await this.#options.orphans?.look(removed);
    this.#removed.forget(removed);
    return removed.length === due.length;
  }

  #keepRemoved(removed: readonly RemovedParent[]): void {
    const given = this.#removed.add(removed);
    if (given > 0) this.#options.orphans?.giveUp(given);
  }

  async #refer(): Promise<void> {
    const { orphans } = this.#options;
    if (orphans !== undefined) this.#removed.refer(await orphans.referenced());
  }

  mark(origin: string): Mark | undefined {
    return this.#marks.get(origin);
  }

  /** How far in this database's WAL its own stream has come back. */
  get echoedLsn(): bigint {
    return this.#own === null ? 0n : echoedLsn(this.#own, this.#marks.get(this.#options.region)?.position);
  }

  /** Marks of all origins, the own stream's included. */
  get marks(): Seen {
    return Object.fromEntries([...this.#marks].map(([origin, mark]) => [origin, mark.position]));
  }

  /**
   * Applies items of one origin, which follow one another in its stream. Resolves once they are committed; what is at
   * or below the mark is skipped. Throws infrastructure errors (nothing, or a prefix of whole items, is applied then),
   * SYN-L001 on a gap, and SYN-A005 where an event cannot be applied and `onError` is `stop`.
   */
  async apply(origin: string, items: readonly LaneItem[]): Promise<void> {
    const fresh = this.#fresh(origin, items);
    if (fresh.length === 0) return;
    // Along an epoch, what its transactions had seen only grows; with the next one it may go back.
    const kind = this.#kindOf(origin, fresh[0]);
    const turnAt = fresh.findIndex((item) => this.#kindOf(origin, item) !== kind);
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
    try {
      await this.#attempt(origin, fresh, new Map(), false);
    } catch (error) {
      if (!isDataFault(error)) throw error;
      this.#port.forgetShapes();
      for (const item of fresh) await this.#applyExactly(origin, item);
    }
    if (registryAt >= 0) await this.#upkeep.reload();
  }

  /** Looks again at removals that found no row; returns how many intents were settled. */
  async lookAgain(): Promise<number> {
    const { region } = this.#options;
    const echoed = this.#own === null ? 0n : echoedLsn(this.#own, this.#marks.get(region)?.position);
    const settled = await this.#looks.run(region, this.#ledger.newestLsn, echoed);
    if (settled > 0) this.#quarantined.clear();
    return settled;
  }

  /**
   * The first of these own items that may be applied now: echoes of what is visible here, and what this database has to be
   * given because it was lost to it. What it seems to have made and has not is held back, until capture has found where
   * the histories part.
   */
  async ownDue(items: readonly LaneItem[]): Promise<readonly LaneItem[]> {
    const last = items.at(-1);
    const mayBeNewer = last !== undefined && positionEpoch(last.position) > (this.#own?.epoch ?? '');
    if (mayBeNewer) this.#own = await this.#port.ownHistory();
    const states = await this.#port.ownCommits(items.map(commitOf));
    if (states.includes('elsewhere')) this.#own = await this.#port.ownHistory();
    const own = this.#own;
    if (own === null) return [];
    const held = items.findIndex(({ position }, place) => {
      if (positionEpoch(position) > own.epoch) return true;
      return !isLost(own, position) && states[place] !== 'visible';
    });
    return held < 0 ? items : items.slice(0, held);
  }

  /** Whether there are parked rows to look at again. */
  get isUnsettled(): boolean {
    return this.#parked.unsettled.length > 0;
  }

  /** Brings back parked rows that nothing is in the way of any more; returns how many were looked at closely. */
  async settle(): Promise<number> {
    return await this.#parkedSettler.run();
  }

  /**
   * Applies quarantined events again, each in its own transaction, in the order of their versions: events of one
   * transaction share a version, and only their order tells which of them is the later. Ids that are not there are absent
   * from the outcomes.
   */
  async retry(eventIds: readonly string[]): Promise<RetryOutcome[]> {
    const outcomes: RetryOutcome[] = [];
    this.#port.forgetShapes();
    const entries = await this.#port.quarantined(eventIds);
    const waiting = entries.map((entry) => ({ entry, event: JSON.parse(entry.event) as ChangeEvent }));
    waiting.sort((a, b) => compareVersions(a.entry, b.entry) || a.event.transaction.index - b.event.transaction.index);
    for (const { entry, event } of waiting) {
      try {
        await this.#retryOne(entry, event);
        outcomes.push({ event_id: entry.event_id, error: null });
      } catch (error) {
        outcomes.push({ event_id: entry.event_id, error });
      }
    }
    return outcomes;
  }

  async #retryOne(entry: QuarantineEntry, event: ChangeEvent): Promise<void> {
    const source: SourceTransaction = {
      position: entry.position,
      hlc: entry.hlc,
      seen: event.transaction.seen,
      xid: event.transaction.id,
      committed_at: event.committed_at,
      events: [event],
    };
    const transaction = await this.#port.begin(entry.origin, hlcMicrosCeil(entry.hlc));
    try {
      const { steps } = await this.#planner.plan(transaction, [source], new Map(), true);
      const merging = { seen: this.marks, isEcho: false };
      const writer = this.#writer(transaction, entry.origin, source.seen, true, merging);
      await writer.write(steps);
      await writer.record(() => new Set());
      await transaction.removeQuarantine([entry.event_id]);
      await transaction.commit();
      this.#parked.changed(writer.parking.changes);
      this.#parked.touched(event.schema_name, event.table_name);
    } catch (error) {
      await rollback(transaction);
      throw error;
    }
    this.#quarantined.clear();
  }

  async discard(eventIds: readonly string[]): Promise<void> {
    const transaction = await this.#port.begin(this.#options.region, 1n);
    try {
      await transaction.removeQuarantine(eventIds);
      await transaction.commit();
    } catch (error) {
      await rollback(transaction);
      throw error;
    }
    this.#quarantined.clear();
  }

  /** Items of one kind may share a batch. */
  #kindOf(origin: string, item: LaneItem | undefined): string {
    if (item === undefined) return '';
    return `${positionEpoch(item.position)} ${this.#isLost(origin, item)}`;
  }

  /** Whether it is of the own stream, and not of this database's history. */
  #isLost(origin: string, { position }: LaneItem): boolean {
    return origin === this.#options.region && this.#own !== null && isLost(this.#own, position);
  }

  #fresh(origin: string, items: readonly LaneItem[]): LaneItem[] {
    const fresh: LaneItem[] = [];
    let last: Position | null = this.#marks.get(origin)?.position ?? null;
    for (const item of items) {
      if (last !== null && item.position <= last) continue;
      if (item.predecessor !== last) {
        throw fail('SYN-L001', `the stream of ${origin} goes from ${last ?? 'its start'} to ${item.position}`, {
          context: { origin, mark: last, position: item.position, predecessor: item.predecessor },
        });
      }
      fresh.push(item);
      last = item.position;
    }
    return fresh;
  }

  /** Change by change, setting aside what fails even so. */
  async #applyExactly(origin: string, item: LaneItem): Promise<void> {
    const poisoned = new Map<string, Poison>();
    for (let races = 0; ; ) {
      try {
        await this.#attempt(origin, [item], poisoned, true);
        return;
      } catch (error) {
        if (!isDataFault(error)) throw error;
        // Rows that claim one value make room for each other, so it was a user who took it in between.
        if (isClaimViolation(error) && races < CLAIM_RACES_MAX) {
          races += 1;
          continue;
        }
        const culprit = error instanceof EventFailure ? error.event : null;
        if (culprit === null || poisoned.has(culprit.event_id)) throw error;
        if (this.#options.onError === 'stop') {
          throw fail('SYN-A005', `event ${culprit.event_id} on ${culprit.schema_name}.${culprit.table_name}`, {
            cause: error,
            context: { event_id: culprit.event_id, row_pk: culprit.row_pk },
          });
        }
        poisoned.set(culprit.event_id, { sqlstate: sqlStateOf(error) ?? 'XX000', error: messageOf(error) });
      }
    }
  }

  async #attempt(
    origin: string,
    items: readonly LaneItem[],
    poisoned: Map<string, Poison>,
    exact: boolean,
  ): Promise<void> {
    const sources = items.flatMap((item) => (item.kind === 'heartbeat' ? [] : [item.source]));
    let stamp: Hlc = 0n;
    for (const item of items) {
      const hlc = hlcOf(item);
      if (hlc > stamp) stamp = hlc;
    }
    const [first] = items;
    invariant(first !== undefined, 'a batch has at least one item');
    const isEcho = origin === this.#options.region && !this.#isLost(origin, first);
    this.#stability.enters(origin, first.position);
    const transaction = await this.#port.begin(origin, hlcMicrosCeil(stamp));
    const seen = this.#seenAfter(origin, items);
    const writer = this.#writer(transaction, origin, sources[0]?.seen ?? {}, exact, { seen, isEcho });
    const rows = isEcho ? new EchoWriter(writer, this.#options.region, this.#unsettled.lostBelow) : writer;
    const passed = new PassedBatch(origin, this.#statedBefore(origin, items));
    const removed: RemovedParent[] = [];
    const written = new Set<TableShape>();
    const quarantine: QuarantineEntry[] = [];
    let token: BatchToken | null = null;
    try {
      for (const item of items) {
        if (item.kind !== 'giant') continue;
        for await (const events of item.chunks()) {
          const chunk = [{ ...item.source, events }];
          const planned = await this.#planner.plan(transaction, chunk, poisoned, exact);
          quarantine.push(...planned.quarantine);
          for (const shape of shapesOf(planned.steps)) written.add(shape);
          await write(rows, planned.steps, exact);
          const all = poisoned.size === 0 ? planned.steps : await this.#planner.replan(transaction, chunk);
          passed.take(all, false);
          removed.push(...this.#removed.among(all));
        }
      }
      const normal = sources.filter((source) => source.events.length > 0);
      if (normal.length > 0) {
        const planned = await this.#planner.plan(transaction, normal, poisoned, exact);
        quarantine.push(...planned.quarantine);
        for (const shape of shapesOf(planned.steps)) written.add(shape);
        await write(rows, planned.steps, exact);
        // What is set aside here counts in the other regions, so it does in conflicts.
        const all = poisoned.size === 0 ? planned.steps : await this.#planner.replan(transaction, normal);
        passed.take(all, true);
        removed.push(...this.#removed.among(all));
      }
      const known = this.#ledger.newest.max_hlc;
      const max_hlc = !isEcho && stamp > known ? stamp : known;
      const mark = this.#markOf(origin, items);
      const expected = this.#marks.get(origin)?.position ?? null;
      const waiting = new Map<string, ReadonlySet<RowKey>>();
      for (const shape of writer.kept.shapes) waiting.set(shape.id, await this.#waiting(transaction, shape));
      const open = this.#ledger.batchStarts();
      token = open;
      const recorded = writer.record((shape) => waiting.get(shape.id) ?? new Set());
      const sidelined = quarantine.length === 0 ? null : transaction.recordQuarantine(quarantine);
      const advanced = transaction.advanceMark(expected, mark);
      const noted = transaction.note({ origin, seen, max_hlc });
      const noticed = noted.then((note) => this.#ledger.batchNoted(open, note.lsn));
      const [note] = await Promise.all([noted, recorded, sidelined, advanced, noticed, transaction.commit()]);
      this.#ledger.batchCommitted(open, note.lsn, { seen, max_hlc });
      this.#marks.set(origin, mark);
    } catch (error) {
      writer.merging.undo();
      // Where the connection broke in mid-commit nobody knows the outcome: the batch stays in flight in the ledger
      // until the lane has read the database again.
      if (token === null || isKnownToHaveRolledBack(error)) {
        await rollback(transaction);
        if (token !== null) this.#ledger.batchAborted(token);
      }
      throw error;
    }
    this.#parked.changed(writer.parking.changes);
    for (const table of written) this.#parked.touched(table.schema, table.table);
    this.#keepRemoved(removed);
    this.#settled(origin, items, writer, passed, quarantine);
  }

  #settled(
    origin: string,
    items: readonly LaneItem[],
    writer: BatchWriter,
    passed: PassedBatch,
    quarantine: readonly QuarantineEntry[],
  ): void {
    let events = 0;
    for (const item of items) if (item.kind !== 'heartbeat') events += item.source.events.length;
    this.#learn(origin, items);
    this.#unsettled.add(passed);
    if (quarantine.length > 0) this.#quarantined.clear();
    const conflicts: { [table: string]: number } = {};
    for (const entry of writer.judge.conflicts) {
      const table = `${entry.schema_name}.${entry.table_name}`;
      conflicts[table] = (conflicts[table] ?? 0) + 1;
    }
    this.#options.onApplied?.({
      origin,
      events,
      written: writer.kept.written,
      conflicts,
      quarantined: quarantine.length,
    });
  }

  /** By the position of each item, the highest floor that its stream had stated before it. */
  #statedBefore(origin: string, items: readonly LaneItem[]): Map<Position, Hlc> {
    const before = new Map<Position, Hlc>();
    let stated: Hlc = 0n;
    for (const item of items) {
      const { position } = item;
      if (before.size === 0) stated = this.#unsettled.stated({ origin, position });
      before.set(position, stated);
      if (item.kind === 'heartbeat' && item.heartbeat.floor > stated) stated = item.heartbeat.floor;
    }
    return before;
  }

  #learn(origin: string, items: readonly LaneItem[]): void {
    for (const item of items) {
      if (item.kind === 'heartbeat') this.#unsettled.states({ origin, position: item.position }, item.heartbeat.floor);
      this.#stability.enters(origin, item.position);
      this.#stability.applied(origin, item.position, hlcOf(item));
      this.#unsettled.enters(origin, positionEpoch(item.position));
      // What this region stated in a history that it lost, it has not applied.
      if (item.kind !== 'heartbeat' || this.#isLost(origin, item)) continue;
      this.#stability.heartbeat(origin, item.heartbeat.floor);
      this.#unsettled.heartbeat(origin, item.heartbeat.floor);
    }
  }

  #writer(
    transaction: ApplyTransaction,
    origin: string,
    seen: Seen,
    exact: boolean,
    merging: Pick<MergeView, 'seen' | 'isEcho'>,
  ): BatchWriter {
    const self = this.#options.region;
    const guardOf = origin === self ? echoGuard : remoteGuard;
    const guard = guardOf(origin, seen, this.#stability, this.#unsettled.lostBelow);
    const makeMerging = (stand: Stand): MergeWriter => new MergeWriter(transaction, stand, this.#mergeView(merging));
    const memory = { unsettled: this.#unsettled, stability: this.#stability, parked: this.#parked };
    return new BatchWriter(transaction, { self, origin }, guard, memory, exact, makeMerging);
  }

  #mergeView(merging: Pick<MergeView, 'seen' | 'isEcho'>): MergeView {
    const { region, merges } = this.#options;
    return {
      ...merging,
      rules: this.#rules,
      memory: this.#merges,
      functions: merges?.functions ?? noFunctions,
      region,
      epoch: this.#own?.epoch ?? FIRST_EPOCH,
      echoedLsn: this.echoedLsn,
    };
  }

  async #waiting(transaction: ApplyTransaction, shape: TableShape): Promise<ReadonlySet<RowKey>> {
    let keys = this.#quarantined.get(shape.id);
    if (keys === undefined) {
      keys = await transaction.quarantinedKeys(shape);
      this.#quarantined.set(shape.id, keys);
    }
    return keys;
  }

  #seenAfter(origin: string, items: readonly LaneItem[]): Seen {
    const seen: { [origin: string]: Position } = {};
    for (const [other, mark] of this.#marks) if (other !== this.#options.region) seen[other] = mark.position;
    const last = items.at(-1);
    const { region } = this.#options;
    if (origin !== region && last !== undefined) seen[origin] = last.position;
    const mark = origin === region ? last?.position : this.#marks.get(region)?.position;
    const ofOwn = this.#own === null ? undefined : seenOfOwn(this.#own, mark);
    if (ofOwn !== undefined) seen[region] = ofOwn;
    return seen;
  }

  #markOf(origin: string, items: readonly LaneItem[]): Mark {
    const last = items.at(-1);
    if (last === undefined) throw new Error('a batch has at least one item');
    return { origin, position: last.position, event_id: last.event_id, log_offset: last.log_offset };
  }
}

function commitOf(item: LaneItem): OwnCommit {
  if (item.kind === 'heartbeat') {
    const { xid, committed_at } = item.heartbeat;
    return { xid, commitMicros: isoToMicros(committed_at) };
  }
  const { xid, committed_at, stated_micros } = item.source;
  return { xid, commitMicros: keptMicros(committed_at, stated_micros) };
}

/** Where no table merges by a function, nobody asks. */
async function noFunctions(): Promise<never> {
  throw new Error('no merge function is registered');
}

/** Writes steps; in exact mode an error of the data tells whose event it is. */
async function write(rows: BatchWriter | EchoWriter, steps: readonly Step[], exact: boolean): Promise<void> {
  if (!exact) return await rows.write(steps);
  for (const step of steps) {
    try {
      await rows.write([step]);
    } catch (error) {
      if (!isDataFault(error)) throw error;
      throw new EventFailure(eventOf(step), error);
    }
  }
}

/** The tables that steps write to. */
function shapesOf(steps: readonly Step[]): TableShape[] {
  return steps.flatMap((step) =>
    step.kind === 'truncate' ? [step.shape] : [...step.tables.values()].map(({ shape }) => shape),
  );
}

function eventOf(step: Step): ChangeEvent {
  if (step.kind === 'truncate') return step.link.event;
  for (const { ops } of step.tables.values()) for (const op of ops.values()) return op.last.event;
  throw new Error('a step has at least one change');
}

/** Whether the data, not the world, made the statement fail: what an exact replay can narrow down. */
function isDataFault(error: unknown): boolean {
  if (error instanceof EventFailure) return true;
  if (error instanceof SynclineError && error.class !== 'infrastructure') return error.class === 'data';
  return blamesData(error);
}

/** A statement's own error aborts the transaction for certain; an error of the connection may hide a commit. */
function isKnownToHaveRolledBack(error: unknown): boolean {
  const state = sqlStateOf(error);
  return state !== undefined && !state.startsWith('08') && !state.startsWith('57P');
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
