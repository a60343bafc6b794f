/**
 * The applying half of a simulated agent: the real lane and link consumers over the apply port's model.
 *
 * It takes turns among the streams as the agent's loop does, only in random order, with random bounds of batches, and
 * with deliveries that are lost and repeated. After a lost connection it opens a new lane from what the database holds.
 */
import assert from 'node:assert/strict';
import type { Mark } from '../../src/apply/apply-port.ts';
import { readEvent } from '../../src/apply/event-at.ts';
import { FlushWatch } from '../../src/apply/lane/flush-watch.ts';
import { Lane } from '../../src/apply/lane/lane.ts';
import { leadOf } from '../../src/apply/lane/lead-gate.ts';
import { LinkConsumer } from '../../src/apply/lane/link-consumer.ts';
import { readBack } from '../../src/apply/lane/read-back.ts';
import type { LaneItem } from '../../src/apply/lane-item.ts';
import type { OrphanLook } from '../../src/apply/upkeep/removed-parents.ts';
import type { Position, Seen } from '../../src/change/position.ts';
import type { NotesRead } from '../../src/clock/note-store.ts';
import type { NotesLedger } from '../../src/clock/notes-ledger.ts';
import type { Stability } from '../../src/clock/stability.ts';
import type { StreamReader } from '../../src/log/event-log.ts';
import { TransactionReader } from '../../src/log/transaction-reader.ts';
import { SynclineError, sqlStateOf } from '../../src/platform/errors.ts';
import { LossyReader } from './lossy-reader.ts';
import { mergeAny, registryOf } from './merging.ts';
import { ModelApplyPort } from './model-apply-port.ts';
import type { ModelDatabase } from './model-database.ts';
import { type ModelStore, modelShape } from './model-store.ts';
import type { ReplicationSlot } from './replication-slot.ts';
import { TABLES } from './workload.ts';
import type { WorldView } from './world-view.ts';

const CAUSAL_WAIT_MS = 5;
const LEAD_WAIT_MICROS = 20_000n;
const LOOK_PERIOD_MICROS_MAX = 2_000;
const NOTICES_SHARE = 0.1;
const CHECK_STABLE_SHARE = 0.3;
/** How often an operator has events of the quarantine applied again. */
const RETRY_SHARE = 0.05;
const READ_AHEAD_BYTES_MAX = 1024 * 1024;

export type AppliedRegion = {
  /** Whether its lane signs. */
  readonly signs: boolean;
  readonly name: string;
  readonly database: ModelDatabase;
  readonly store: ModelStore;
  /** As in `NoteStore`. */
  readonly newestNote: NotesRead;
  readonly slot: ReplicationSlot;
  readonly removalsLookedAt: Map<string, Seen>;
  /** The own stream's writer. */
  readonly capture: { readonly lastPosition: Position | null | undefined } | null;
  acknowledged(marks: readonly Mark[]): void;
};

export class ApplyActor {
  readonly #name: string;
  readonly #region: AppliedRegion;
  readonly #world: WorldView;
  readonly #ledger: NotesLedger;
  readonly #stability: Stability;
  readonly #port: ModelApplyPort;
  #turn: Promise<void> = Promise.resolve();
  #lane: Lane;
  #flushes: FlushWatch;
  #consumers: LinkConsumer[] = [];
  #filledAt = -1;
  #isCalm = false;
  /** Also while the answer to a COMMIT is on its way. */
  #isApplying = false;
  #nextLookMicros = 0n;
  /** By origin, the local time before which its next event is not due. */
  readonly #ahead = new Map<string, { readonly untilMicros: bigint; readonly isHeld: boolean }>();

  constructor(name: string, region: AppliedRegion, world: WorldView, ledger: NotesLedger, stability: Stability) {
    this.#name = name;
    this.#region = region;
    this.#world = world;
    this.#ledger = ledger;
    this.#stability = stability;
    const step = async (what: string): Promise<void> => await world.scheduler.step(name, what);
    this.#port = new ModelApplyPort(region.database, region.store, step, {
      pause: async () => await this.#linger(),
      signs: region.signs,
    });
    this.#lane = this.#newLane();
    this.#flushes = this.#newFlushWatch();
  }

  /** Between transactions, so that the database shows nothing uncommitted. */
  get isIdle(): boolean {
    return this.#port.transaction?.ended !== false;
  }

  /** Whether every parked row was looked at since its table was last written to. */
  get isSettled(): boolean {
    return !this.#isApplying && !this.#lane.isUnsettled;
  }

  /** The process dies: what its connection had not committed is rolled back, a COMMIT under way is carried out. */
  kill(): void {
    this.#world.scheduler.kill(this.#name);
    const open = this.#port.transaction;
    if (open === null) return;
    if (open.state === 'committing') this.#region.database.becomeVisible(open);
    else this.#region.database.abort(open);
  }

  /** Ends the lock wait that the lane is in, as its lock timeout does. */
  expireLockWait(): void {
    this.#port.transaction?.expire?.(Object.assign(new Error('lock timeout'), { code: '55P03' }));
  }

  async run(): Promise<void> {
    const { scheduler, random } = this.#world;
    await scheduler.step(this.#name, 'apply starts');
    await this.#openAtLast();
    for (;;) {
      await scheduler.step(this.#name, 'apply', () => this.#hasWork);
      await this.#inTurn(async () => {
        try {
          this.#port.mustLive();
          await this.#calmDown();
          if (this.#world.conditions.losesCommits && random.chance(0.2)) await this.#flushes.look();
          if (random.chance(0.1)) await this.#prune();
          if (this.#shouldRetry) await this.#retry();
          if (random.chance(0.1)) await this.#lane.settleConflicts();
          if (this.#shouldLook) await this.#lookAgain();
          if (this.#shouldVisit && random.chance(0.5)) await this.#lane.visitMerges();
          if (this.#lane.isUnsettled && random.chance(0.5)) await this.#lane.settle();
          await this.#applyOnce();
        } catch (error) {
          await this.#recover(error);
        }
      });
    }
  }

  /** The lane does one thing at a time. */
  async #inTurn(work: () => Promise<void>): Promise<void> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => undefined);
    await turn;
  }

  async prune(): Promise<void> {
    await this.#inTurn(async () => await this.#prune());
  }

  /** Does that in the lane's turn, if the region is at rest. */
  async whenAtRest(work: () => void): Promise<void> {
    await this.#inTurn(async () => {
      try {
        this.#port.mustLive();
        await this.#lane.settleConflicts();
        await this.#prune();
        if ((await this.#lane.rest()).kind === 'rest') work();
      } catch (error) {
        await this.#recover(error);
      }
    });
  }

  /** Everything up to it is applied everywhere, and echoed here. */
  get stable(): bigint {
    return this.#lane.stable;
  }

  /** What is stable here, and echoed, is needed no more. */
  async #prune(): Promise<void> {
    const { slot } = this.#region;
    const { stable } = this;
    const { echoedLsn } = this.#lane;
    if (this.#world.conditions.losesCommits && this.#world.random.chance(CHECK_STABLE_SHARE))
      await this.#checkStable(stable);
    await this.#port.prune(stable, { confirmedLsn: slot.confirmedLsn, echoedLsn }, 1000);
    await this.#lane.pruneMerges(stable);
  }

  /** What is not applied here yet is stamped above it. */
  async #checkStable(stable: bigint): Promise<void> {
    for (const origin of this.#world.regions) {
      const mark = this.#lane.mark(origin);
      await using stream = await this.#world.log.reader(origin);
      const transactions = new TransactionReader(stream, mark?.log_offset ?? 0);
      for await (const item of transactions.items()) {
        if (item.kind !== 'transaction' || item.hlc > stable) continue;
        if (mark !== undefined && item.position <= mark.position) continue;
        const message = `${this.#name}: ${origin} at ${item.position} is stamped ${item.hlc}, and ${stable} counts as stable`;
        this.#world.fail({ invariant: 'stable', message });
      }
    }
  }

  async settleConflicts(): Promise<void> {
    await this.#inTurn(async () => {
      await this.#lane.settleConflicts();
    });
  }

  async #recover(error: unknown): Promise<void> {
    const state = sqlStateOf(error);
    const code = error instanceof SynclineError ? error.code : state;
    this.#world.scheduler.note(`${this.#name}: ${code}`);
    if (state === '55P03' || state === '40P01') return;
    if (state === '57P02') await this.#openAtLast();
    // A transaction was lost on its way: read from the mark again.
    else if (code === 'SYN-L001') await this.#connect();
    else throw error;
  }

  async #openAtLast(): Promise<void> {
    for (;;) {
      try {
        return await this.#open();
      } catch (error) {
        // The server may be gone again before all is read.
        if (sqlStateOf(error) !== '57P02') throw error;
      }
    }
  }

  /** Reads where the database stands: at start, and after the connection was lost. */
  async #open(): Promise<void> {
    this.#port.connect();
    this.#ledger.reset(this.#region.newestNote);
    this.#lane = this.#newLane();
    this.#flushes = this.#newFlushWatch();
    await this.#lane.open();
    await this.#remember();
    await this.#connect();
  }

  /** Tells the lane what was applied before and is not settled yet. */
  async #remember(): Promise<void> {
    const { log, random, regions } = this.#world;
    for (const origin of regions) {
      const mark = this.#lane.mark(origin);
      if (mark === undefined) continue;
      await using reader = await log.reader(origin);
      // Of some streams more is read back than is needed: what is settled must not be judged from a part.
      const from = random.chance(0.3) ? 0 : this.#lane.neededFrom(origin);
      const onLack = (): never => assert.fail('nothing is trimmed here');
      for await (const items of readBack(reader, mark, from, onLack)) await this.#lane.remember(origin, items);
    }
  }

  #newLane(): Lane {
    return new Lane(this.#port, this.#ledger, this.#stability, {
      region: this.#region.name,
      onError: 'quarantine',
      isReplicated: () => true,
      eventAt: async (place) => {
        await using reader = await this.#world.log.reader(place.origin);
        return await readEvent(reader, place);
      },
      unsettled: this.#world.conditions.unsettled,
      orphans: this.#orphans(),
      merges: {
        registry: async () => registryOf(this.#world.conditions.merging),
        functions: mergeAny,
        packEvents: this.#world.conditions.merging.packEvents,
      },
    });
  }

  /** Every table is referred to; what stands in a look is for the invariants. */
  #orphans(): OrphanLook {
    const { removalsLookedAt } = this.#region;
    const referenced = new Map(TABLES.map((table) => [modelShape('public', table).id, new Set(['id'])]));
    return {
      referenced: async () => referenced,
      look: async (removed) => {
        const { marks } = this.#lane;
        for (const { event_id } of removed) if (!removalsLookedAt.has(event_id)) removalsLookedAt.set(event_id, marks);
      },
      giveUp: (count) => {
        if (count !== null) this.#world.fail({ invariant: 'orphans-found', message: `${this.#name} gave removals up` });
      },
    };
  }

  async #connect(): Promise<void> {
    this.#consumers = [];
    for (const origin of this.#world.regions) this.#consumers.push(await this.#consumer(origin));
    this.#filledAt = -1;
  }

  /** Reads from the mark on, or from the stream's start: deliveries may repeat, and be lost. */
  async #consumer(origin: string): Promise<LinkConsumer> {
    const { random, log, conditions, isCalm } = this.#world;
    const mark: Mark | undefined = this.#lane.mark(origin);
    const from = mark === undefined || random.chance(0.2) ? 0 : mark.log_offset;
    let stream: StreamReader = await log.reader(origin);
    if (!isCalm && conditions.lossRate > 0) stream = new LossyReader(stream, random, conditions.lossRate);
    const limits = { rows_max: conditions.giantRows, bytes_max: READ_AHEAD_BYTES_MAX };
    return new LinkConsumer(origin, new TransactionReader(stream, from, limits), CAUSAL_WAIT_MS);
  }

  /** What was lost at a stream's end shows with the next transaction only: read again once nothing is lost any more. */
  async #calmDown(): Promise<void> {
    if (this.#isCalm || !this.#world.isCalm) return;
    this.#isCalm = true;
    await this.#connect();
  }

  get #shouldLook(): boolean {
    return this.#region.store.looks.size > 0 && this.#world.nowMicros() >= this.#nextLookMicros;
  }

  async #lookAgain(): Promise<void> {
    const { random } = this.#world;
    this.#nextLookMicros = this.#world.nowMicros() + BigInt(random.below(LOOK_PERIOD_MICROS_MAX));
    await this.#lane.lookAgain();
  }

  get #shouldRetry(): boolean {
    if (this.#region.store.quarantine.size === 0) return false;
    return this.#world.isCalm || this.#world.random.chance(RETRY_SHARE);
  }

  /** Some of the quarantine, or all of it, in any order. */
  async #retry(): Promise<void> {
    const { random } = this.#world;
    if (random.chance(0.1)) this.#region.database.refusal?.drop();
    const ids = [...this.#region.store.quarantine.keys()];
    const chosen = random.chance(0.5) ? ids : ids.filter(() => random.chance(0.5));
    for (const { event_id, error } of await this.#lane.retry(chosen))
      this.#world.scheduler.note(`${this.#name}: ${event_id} is ${error === null ? 'applied' : 'still refused'}`);
  }

  get #shouldVisit(): boolean {
    const lane = this.#lane;
    return [...this.#region.store.merges.values()].some(
      ({ visit_at }) => visit_at !== null && visit_at <= lane.echoedLsn,
    );
  }

  get #hasWork(): boolean {
    // Its connection may be the last to tell.
    if (this.#port.isCut) return this.#world.random.chance(NOTICES_SHARE);
    if (this.#filledAt < this.#world.appends || this.#shouldLook || this.#shouldVisit || this.#lane.isUnsettled)
      return true;
    if (this.#world.isCalm && (!this.#isCalm || this.#region.store.quarantine.size > 0)) return true;
    const { name } = this.#region;
    return this.#consumers.some(
      ({ waiting, origin }) => waiting > 0 && !this.#isAhead(origin) && !this.#world.isPaused(origin, name),
    );
  }

  #isAhead(origin: string): boolean {
    const ahead = this.#ahead.get(origin);
    if (ahead === undefined || this.#world.driftMicros > this.#world.conditions.driftMicros) return false;
    return this.#region.database.now() < ahead.untilMicros;
  }

  async #applyOnce(): Promise<void> {
    const { random, appends } = this.#world;
    const { name, database } = this.#region;
    const isDown = (other: string): boolean =>
      this.#world.isPaused(other, name) || this.#ahead.get(other)?.isHeld === true;
    this.#filledAt = appends;
    for (const each of this.#consumers) await this.#fill(each);
    const filled = this.#consumers.filter(({ waiting }) => waiting > 0);
    const consumer = random.pick(filled.length > 0 ? filled : this.#consumers);
    const { origin } = consumer;
    if (this.#world.isPaused(origin, name)) return;
    // A reader that is replaced goes back: what it delivered is delivered again.
    if (random.chance(0.02)) {
      this.#consumers[this.#consumers.indexOf(consumer)] = await this.#consumer(origin);
      this.#filledAt = -1;
      return;
    }
    const [rows, transactions] = random.chance(0.3) ? [30, 30] : [8, 5];
    const limit = { rows_max: 1 + random.below(rows), transactions_max: 1 + random.below(transactions) };
    const nowMs = Number(this.#world.nowMicros() / 1000n);
    consumer.settle(this.#lane.mark(origin)?.position);
    const limits = { waitMicros: LEAD_WAIT_MICROS, holdMicros: this.#world.driftMicros };
    const now = database.now();
    const due = consumer.due(this.#lane.marks, limit, nowMs, isDown, (stamp) => {
      return origin === name ? { kind: 'due' } : leadOf(stamp, now, limits);
    });
    this.#ahead.delete(origin);
    if (due.kind === 'ahead') {
      this.#ahead.set(origin, { untilMicros: now + due.lead.restMicros, isHeld: due.lead.kind === 'hold' });
    }
    if (due.kind !== 'batch') return;
    const items = origin === this.#region.name ? await this.#lane.ownDue(due.items) : due.items;
    if (items.length === 0 || !this.#isOwnIn(origin, items)) return;
    this.#isApplying = true;
    try {
      await this.#lane.apply(origin, items);
    } finally {
      this.#isApplying = false;
    }
    this.#flushes.moved();
    consumer.settle(this.#lane.mark(origin)?.position);
    // There is room to read on.
    this.#filledAt = -1;
  }

  #newFlushWatch(): FlushWatch {
    return new FlushWatch(this.#port, () => {
      const marks = this.#world.regions.flatMap((origin) => this.#lane.mark(origin) ?? []);
      return () => this.#region.acknowledged(marks);
    });
  }

  /** As in `lane-loop.ts`. */
  #isOwnIn(origin: string, items: readonly LaneItem[]): boolean {
    const { name, capture } = this.#region;
    if (origin === name || !this.#lane.touchesMerges(items)) return true;
    const to = capture?.lastPosition;
    if (to === undefined) return this.#consumers.every((each) => each.origin !== name || each.waiting === 0);
    const mark = this.#lane.mark(name)?.position;
    return to === null || (mark !== undefined && mark >= to);
  }

  /** Reads on until something is there that the mark does not cover. */
  async #fill(consumer: LinkConsumer): Promise<void> {
    while (await consumer.fill(0)) {
      consumer.settle(this.#lane.mark(consumer.origin)?.position);
      if (consumer.waiting > 0) return;
    }
  }

  /** Between a batch's commit record and its visibility. */
  async #linger(): Promise<void> {
    const { random, scheduler } = this.#world;
    if (!random.chance(0.1)) return;
    await scheduler.rest(this.#name, 'apply commit lingers', random.below(10));
  }
}
