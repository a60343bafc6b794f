/**
 * Drives the lane: takes turns among the streams that a region applies, its own (the echo) included.
 *
 * Each turn asks one consumer for what is due and applies it in one batch, while reading ahead goes on beside it. A batch
 * that waits for a foreground lock gives up after the lock timeout, comes back smaller and later, and lets the other
 * links pass meanwhile; it grows again when batches succeed. Batches are also kept short in time (batch-size.ts).
 *
 * What is wrong with one stream (a gap, an event that may not be skipped) stops that link alone, with its error shown. So
 * what is wrong with a row or a table that housekeeping comes to, in the middle of no stream, stops that chore alone.
 * What is wrong with the connection ends the run; its owner reconnects and starts another.
 */
import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises';
import type { Position } from '../../change/position.ts';
import type { DatabaseClock } from '../../clock/database-clock.ts';
import { fail, isDataFault, isInfrastructure, SynclineError, sqlStateOf } from '../../platform/errors.ts';
import type { ApplyPort } from '../apply-port.ts';
import type { LaneItem } from '../lane-item.ts';
import { isYielding } from '../yielding.ts';
import { rowsAfter, rowsAfterLock } from './batch-size.ts';
import { EchoPace } from './echo-pace.ts';
import { FlushWatch } from './flush-watch.ts';
import type { Lane } from './lane.ts';
import { type LeadLimits, leadOf } from './lead-gate.ts';
import { type Due, type LeadOf, type LinkConsumer, NEVER_AHEAD } from './link-consumer.ts';

const TRANSACTIONS_MAX = 5_000;
const YIELD_MS_MIN = 5;
const YIELD_MS_MAX = 250;
/** How long an own transaction that is not visible yet, or one that waits for its causes, is left alone. */
const RECHECK_MS = 2;
const IDLE_MS = 200;
const LOOK_PERIOD_MS = 200;
const PRUNE_PERIOD_MS = 1_000;
/** Then other streams have their turn. */
const PRUNE_MS_MAX = 200;
const VISIT_PERIOD_MS = 50;
const SETTLE_PERIOD_MS = 500;
const FLUSH_PERIOD_MS = 250;
const PRUNE_ROWS_MAX = 10_000;
const BROKEN_RETRY_MS = 5_000;
const CLOCK_PERIOD_MS = 1_000;
/** A reading of the clock that is older does not hold a link. */
const CLOCK_AGE_MS_MAX = 50;
/** How often a held link is looked at: an operator may let it go on, or somebody set a clock. */
const HELD_RECHECK_MS = 200;

const WOKEN = 'there is something to do';

export type LaneLoopOptions = {
  readonly region: string;
  readonly lane: Lane;
  readonly port: ApplyPort;
  readonly consumers: readonly LinkConsumer[];
  readonly batchRowsMax: number;
  /** The slot's confirmed position: notes behind it are needed no more. */
  readonly confirmedLsn: () => bigint;
  readonly isPaused: (origin: string) => boolean;
  /** Whether a lane before this one said that the link stands still: this one says when it goes on. */
  readonly wasStanding: (origin: string) => boolean;
  /** A link stopped, or (null) goes on again. */
  readonly onFault: (origin: string, error: unknown) => void;
  /** A chore failed for what is in the database, and is tried again; null: it is done again. */
  readonly onChoreFault: (chore: Chore, error: unknown) => void;
  /** How far ahead of the local clock the events of a link may be. */
  readonly leadLimits: (origin: string) => LeadLimits;
  readonly clock: DatabaseClock;
  readonly onBatch: (origin: string, items: readonly LaneItem[], durationMs: number) => void;
  /** As in `FlushWatch`. */
  readonly prepareAcknowledgement: () => () => void;
  /** Where the own stream ends by what is published; null for nothing, undefined where that is not known. */
  readonly publishedTo: () => Position | null | undefined;
  /** The next command of an operator for the lane, if there is one. */
  readonly nextCommand: () => (() => Promise<void>) | undefined;
  readonly nowMs?: () => number;
};

/** What the lane does between batches. */
export type Chore = 'looks' | 'parked rows' | 'merges' | 'conflicts' | 'pruning';

type Turn = {
  readonly consumer: LinkConsumer;
  rowsMax: number;
  yieldMs: number;
  /** Not before this time. */
  notBeforeMs: number;
  broken: boolean;
  /** Its next event is too far ahead of the local clock. */
  held: boolean;
  /** Where the own stream ended when the batch that begins there was looked at first. */
  ownTo?: { readonly before: Position; readonly to: Position | null };
};

export class LaneLoop {
  readonly #options: LaneLoopOptions;
  readonly #turns: Turn[];
  readonly #nowMs: () => number;
  #nextLookMs = 0;
  #nextSettleMs = 0;
  #nextConflictsMs = 0;
  #nextPruneMs = 0;
  #nextVisitMs = 0;
  #nextFlushMs = 0;
  readonly #echoPace = new EchoPace();
  readonly #flushes: FlushWatch;
  readonly #failing = new Set<Chore>();
  /** How far the own stream had come back when rows that merge were last looked at. */
  #visitedLsn = 0n;

  constructor(options: LaneLoopOptions) {
    this.#options = options;
    this.#nowMs = options.nowMs ?? Date.now;
    this.#flushes = new FlushWatch(options.port, options.prepareAcknowledgement);
    this.#turns = options.consumers.map((consumer) => ({
      consumer,
      rowsMax: options.batchRowsMax,
      yieldMs: YIELD_MS_MIN,
      notBeforeMs: 0,
      broken: options.wasStanding(consumer.origin),
      held: false,
    }));
  }

  /** Runs until the signal aborts; throws what only a new connection can mend. Calls `healthy` after each whole round. */
  async run(signal: AbortSignal, healthy: () => void): Promise<void> {
    for (; !signal.aborted; healthy()) {
      await this.#housekeeping();
      let progressed = false;
      for (const turn of this.#turns) {
        if (signal.aborted) return;
        if (await this.#take(turn)) progressed = true;
      }
      if (!progressed) await this.#idle(signal);
    }
  }

  async #housekeeping(): Promise<void> {
    const { lane, port, nextCommand } = this.#options;
    for (let command = nextCommand(); command !== undefined; command = nextCommand()) await command();
    if (this.#options.clock.ageMs >= CLOCK_PERIOD_MS) await this.#readClock();
    const now = this.#nowMs();
    if (now >= this.#nextLookMs) {
      const settled = await this.#does('looks', async () => await lane.lookAgain());
      this.#nextLookMs = (settled ?? 0) > 0 ? now : now + LOOK_PERIOD_MS;
    }
    if (lane.isUnsettled && now >= this.#nextSettleMs) {
      await this.#does('parked rows', async () => await lane.settle());
      // What is still unsettled met a lock, or a user who was quicker.
      this.#nextSettleMs = lane.isUnsettled ? now + YIELD_MS_MAX : 0;
    }
    if (now >= this.#nextVisitMs && lane.echoedLsn > this.#visitedLsn) {
      const lsn = lane.echoedLsn;
      const visited = await this.#does('merges', async () => await lane.visitMerges());
      if (visited === 0) this.#visitedLsn = lsn;
      this.#nextVisitMs = now + VISIT_PERIOD_MS;
    }
    if (now >= this.#nextFlushMs) {
      this.#nextFlushMs = now + FLUSH_PERIOD_MS;
      await this.#flushes.look();
    }
    if (now >= this.#nextConflictsMs) {
      this.#nextConflictsMs = now + SETTLE_PERIOD_MS;
      await this.#does('conflicts', async () => await lane.settleConflicts());
    }
    if (now >= this.#nextPruneMs) {
      this.#nextPruneMs = now + PRUNE_PERIOD_MS;
      const { stable, echoedLsn } = lane;
      await this.#does('pruning', async () => {
        await port.prune(stable, { confirmedLsn: this.#options.confirmedLsn(), echoedLsn }, PRUNE_ROWS_MAX);
        while ((await lane.pruneMerges(stable)) > 0 && this.#nowMs() < now + PRUNE_MS_MAX);
      });
    }
  }

  /** Housekeeping that meets a lock comes back later, and so does what fails for a row or a table; of that is told. */
  async #does<T>(chore: Chore, work: () => Promise<T>): Promise<T | undefined> {
    try {
      const done = await work();
      if (this.#failing.delete(chore)) this.#options.onChoreFault(chore, null);
      return done;
    } catch (error) {
      if (isYielding(error)) return undefined;
      if (!isDataFault(error) && !(error instanceof SynclineError && error.class === 'config')) throw error;
      this.#failing.add(chore);
      const why = error instanceof Error ? error.message : String(error);
      this.#options.onChoreFault(chore, fail('SYN-A012', `${chore}: ${why}`, { cause: error }));
      return undefined;
    }
  }

  /** One turn of one consumer; true if something was applied. */
  async #take(turn: Turn): Promise<boolean> {
    const { lane, isPaused, region } = this.#options;
    const { consumer } = turn;
    const now = this.#nowMs();
    if (now < this.#notBeforeMs(turn)) return false;
    if (!(await this.#fill(turn))) return false;
    if (consumer.origin !== region && isPaused(consumer.origin)) return false;
    consumer.settle(lane.mark(consumer.origin)?.position);
    const limit = { rows_max: turn.rowsMax, transactions_max: TRANSACTIONS_MAX };
    const due = consumer.due(lane.marks, limit, now, (origin) => this.#isDown(origin), this.#leadOf(consumer.origin));
    if (turn.held && !(due.kind === 'ahead' && due.lead.kind === 'hold')) this.#mended(turn);
    if (due.kind === 'ahead') return await this.#stayBehind(turn, due);
    if (due.kind === 'waiting' && due.origin === region) this.#echoPace.awaited();
    if (due.kind !== 'batch') return false;
    const items = consumer.origin === region ? await lane.ownDue(due.items) : due.items;
    if (items.length === 0 || !this.#isOwnIn(turn, items)) return false;
    return await this.#apply(turn, items);
  }

  /**
   * Whether the own stream is in up to where it ended when this batch of another region was first looked at. An event can
   * hold local writes of this region that its origin knows through a third one only, and says nothing of. In a row that
   * merges they would count twice, once in the event and once as what is not captured yet.
   */
  #isOwnIn(turn: Turn, items: readonly LaneItem[]): boolean {
    const { lane, region, publishedTo } = this.#options;
    const { origin } = turn.consumer;
    const [first] = items;
    if (first === undefined || origin === region || !lane.touchesMerges(items)) return true;
    if (turn.ownTo?.before !== first.position) {
      const to = publishedTo();
      if (to === undefined)
        return this.#turns.every((each) => each.consumer.origin !== region || each.consumer.waiting === 0);
      turn.ownTo = { before: first.position, to };
    }
    const { to } = turn.ownTo;
    const mark = lane.mark(region)?.position;
    const isIn = to === null || (mark !== undefined && mark >= to);
    if (!isIn) this.#echoPace.awaited();
    return isIn;
  }

  async #apply(turn: Turn, items: readonly LaneItem[]): Promise<boolean> {
    const { lane, onBatch, batchRowsMax, region } = this.#options;
    const { origin } = turn.consumer;
    const startedMs = this.#nowMs();
    let isApplied = false;
    const ahead = this.#readAhead(() => isApplied);
    try {
      await lane.apply(origin, items);
    } catch (error) {
      if (isYielding(error)) {
        turn.rowsMax = rowsAfterLock(turn.rowsMax);
        turn.notBeforeMs = this.#nowMs() + turn.yieldMs;
        turn.yieldMs = Math.min(YIELD_MS_MAX, turn.yieldMs * 2);
        return false;
      }
      if (isInfrastructure(error) && !hasNoRoom(error)) throw error;
      this.#break(turn, hasNoRoom(error) ? noRoom(origin, error) : error);
      return false;
    } finally {
      isApplied = true;
      await ahead;
    }
    const durationMs = this.#nowMs() - startedMs;
    turn.yieldMs = YIELD_MS_MIN;
    turn.rowsMax = rowsAfter(turn.rowsMax, durationMs, batchRowsMax);
    if (turn.broken) this.#mended(turn);
    turn.consumer.settle(lane.mark(origin)?.position);
    if (origin === region) this.#echoPace.applied(this.#nowMs(), turn.consumer.waiting > 0);
    this.#flushes.moved();
    onBatch(origin, items, durationMs);
    return true;
  }

  async #readClock(): Promise<void> {
    const { port, clock } = this.#options;
    await clock.read(async () => await port.clockMicros());
  }

  #leadOf(origin: string): LeadOf {
    const { region, clock, leadLimits } = this.#options;
    const nowMicros = clock.nowMicros();
    if (origin === region || nowMicros === null) return NEVER_AHEAD;
    const limits = leadLimits(origin);
    return (stamp) => leadOf(stamp, nowMicros, limits);
  }

  /** Waits without a transaction or a lock, so that the other links go on; a lead beyond all measure is a fault. */
  async #stayBehind(turn: Turn, { lead, stamp }: Extract<Due, { kind: 'ahead' }>): Promise<boolean> {
    const { clock, onFault } = this.#options;
    const { origin } = turn.consumer;
    const restMs = Number(lead.restMicros) / 1_000;
    if (lead.kind === 'wait') {
      turn.notBeforeMs = this.#nowMs() + restMs;
      return false;
    }
    if (clock.ageMs > CLOCK_AGE_MS_MAX) {
      // The clock may have been set since it was read; then this is looked at anew.
      await this.#readClock();
      if (this.#leadOf(origin)(stamp).kind !== 'hold') return false;
    }
    turn.notBeforeMs = this.#nowMs() + Math.min(restMs, HELD_RECHECK_MS);
    turn.held = true;
    const ahead = `the next event of ${origin} is ${(Number(lead.leadMicros) / 1_000_000).toFixed(1)} s ahead`;
    onFault(origin, fail('SYN-A006', `${ahead} of the clock of the local database`, { context: { origin } }));
    return false;
  }

  #mended(turn: Turn): void {
    turn.broken = false;
    turn.held = false;
    this.#options.onFault(turn.consumer.origin, null);
  }

  /** The link stops; it is tried again now and then, because an operator may have mended the cause. */
  #break(turn: Turn, error: unknown): void {
    turn.broken = true;
    turn.notBeforeMs = this.#nowMs() + BROKEN_RETRY_MS;
    this.#options.onFault(turn.consumer.origin, error);
  }

  async #fill(turn: Turn): Promise<boolean> {
    try {
      return await turn.consumer.fill(0);
    } catch (error) {
      this.#break(turn, error);
      return false;
    }
  }

  /** Reads on while the database works on a batch. */
  async #readAhead(isApplied: () => boolean): Promise<void> {
    // The batch's own statements go out first.
    await nextTurn();
    for (let grew = true; grew; ) {
      grew = false;
      for (const turn of this.#turns) {
        if (isApplied()) return;
        const before = turn.consumer.waiting;
        await this.#fill(turn);
        if (turn.consumer.waiting > before) grew = true;
        await nextTurn();
      }
    }
  }

  async #idle(signal: AbortSignal): Promise<void> {
    const now = this.#nowMs();
    const waits = this.#turns.some((turn) => turn.consumer.waiting > 0 && now >= this.#notBeforeMs(turn));
    if (waits) {
      const pausedOnly = this.#turns.every(
        (turn) =>
          turn.consumer.waiting === 0 || turn.broken || turn.held || this.#options.isPaused(turn.consumer.origin),
      );
      await delay(pausedOnly ? RECHECK_MS * 5 : RECHECK_MS);
      return;
    }
    const woken = new AbortController();
    // An error made anew for each turn, as it is without a reason, costs more than the waking.
    const abort = (): void => woken.abort(WOKEN);
    signal.addEventListener('abort', abort, { once: true });
    try {
      await Promise.all(
        this.#turns.map(async (turn) => {
          const restMs = this.#notBeforeMs(turn) - now;
          if (restMs > 0) {
            await delay(Math.min(restMs, IDLE_MS), undefined, { signal: woken.signal }).catch(() => undefined);
            return abort();
          }
          try {
            if (await turn.consumer.fill(IDLE_MS, woken.signal)) abort();
          } catch (error) {
            this.#break(turn, error);
            abort();
          }
        }),
      );
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  #notBeforeMs({ consumer, notBeforeMs }: Turn): number {
    if (consumer.origin !== this.#options.region) return notBeforeMs;
    return Math.max(notBeforeMs, this.#echoPace.notBeforeMs);
  }

  #isDown(origin: string): boolean {
    const turn = this.#turns.find((each) => each.consumer.origin === origin);
    return turn === undefined || turn.broken || turn.held || this.#options.isPaused(origin);
  }
}

/** The statement failed for want of disk or memory; the connection is as good as before. */
function hasNoRoom(error: unknown): boolean {
  const state = sqlStateOf(error);
  return state === '53100' || state === '53200';
}

function noRoom(origin: string, cause: unknown): Error {
  const detail = `the database has no room for events of ${origin}: ${cause instanceof Error ? cause.message : ''}`;
  return fail('SYN-A010', detail, { cause, context: { origin } });
}
