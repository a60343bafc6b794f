/** One simulated region: a modelled database with its slot, and the agents that serve it one after another. */
import type { Mark } from '../../src/apply/apply-port.ts';
import { type Position, positionLsn, type Seen } from '../../src/change/position.ts';
import type { NotesRead } from '../../src/clock/note-store.ts';
import { NotesLedger } from '../../src/clock/notes-ledger.ts';
import { isLost } from '../../src/clock/own-history.ts';
import { Stability } from '../../src/clock/stability.ts';
import { ApplyActor } from './apply-actor.ts';
import { CaptureActor } from './capture-actor.ts';
import { ModelDatabase, type WalEntry } from './model-database.ts';
import { ModelStore } from './model-store.ts';
import { RegionClock } from './region-clock.ts';
import { RegionTruth } from './region-truth.ts';
import { ReplicationSlot } from './replication-slot.ts';
import { TransferActor } from './transfer-actor.ts';
import { UnflushedCommits } from './unflushed-commits.ts';
import type { WorldView } from './world-view.ts';

export type Restoring = {
  /** WAL positions that are left out, as a promoted standby's new timeline may. */
  readonly skips: number;
  readonly losesSlot: boolean;
};

type Agent = { readonly apply: ApplyActor; readonly capture: CaptureActor; readonly transfer: TransferActor | null };

export class Region {
  readonly name: string;
  readonly clock: RegionClock;
  readonly database: ModelDatabase;
  readonly store = new ModelStore();
  readonly slot: ReplicationSlot;
  /** By the event that removed a row, what was applied when its children were looked for first. */
  readonly removalsLookedAt = new Map<string, Seen>();
  readonly truth: RegionTruth;
  /** What the WAL held before the database was restored. */
  readonly lostWal: WalEntry[] = [];
  readonly #world: WorldView;
  readonly #acknowledged = new Map<string, Position>();
  #agent: Agent | null = null;
  #agents = 0;

  constructor(name: string, world: WorldView) {
    this.name = name;
    this.#world = world;
    this.clock = new RegionClock(() => world.nowMicros());
    this.database = new ModelDatabase(name, () => this.clock.nowMicros());
    this.database.refusal = world.conditions.refusals.get(name) ?? null;
    this.slot = new ReplicationSlot(this.database);
    const isLostHere = (position: Position): boolean => isLost(this.store.ownHistory, position);
    const latestMicros = (): bigint => this.clock.highestMicros + world.driftMicros;
    this.truth = new RegionTruth(name, isLostHere, latestMicros, (failure) => world.fail(failure), {
      isParked: (row) => this.store.parked.has(row),
      removalOf: (row) => this.store.removalOver(row),
      isDecision: (position) =>
        this.database.wal.some(
          ({ lsn, changes }) => lsn === positionLsn(position) && changes.some((change) => change.operator === true),
        ),
    });
    if (world.conditions.losesCommits)
      this.database.unflushed = new UnflushedCommits({
        store: () => this.#storeOfLane(),
        truth: () => this.truth.snapshot(),
      });
    this.database.onVisible = (transaction, writes) => this.truth.becameVisible(transaction, writes);
  }

  /** Whether the lane of the agent that was started last signs. */
  get signs(): boolean {
    const { signing, changesSigning } = this.#world.conditions;
    return signing.has(this.name) && (!changesSigning || this.#agents % 2 === 1);
  }

  get isServed(): boolean {
    return this.#agent !== null;
  }

  get capture(): CaptureActor | null {
    return this.#agent?.capture ?? null;
  }

  get apply(): ApplyActor | null {
    return this.#agent?.apply ?? null;
  }

  get newestNote(): NotesRead {
    return { rows: this.store.notes.slice(-1), end: this.database.walEnds.inserted };
  }

  /** Starts an agent as real ones start: notes and marks from the database, then capture and the lane. */
  startAgent(): void {
    this.#agents += 1;
    const peers = this.#world.regions.filter((region) => region !== this.name);
    const ledger = new NotesLedger(this.#world.conditions.notesMax);
    ledger.reset(this.newestNote);
    const stability = new Stability(this.name, peers);
    const captureName = `${this.name}/capture${this.#agents}`;
    const capture = new CaptureActor(captureName, this, this.#world, ledger, stability);
    const apply = new ApplyActor(`${this.name}/agent${this.#agents}`, this, this.#world, ledger, stability);
    const transfer = this.#world.conditions.late
      ? new TransferActor(`${this.name}/transfer${this.#agents}`, this, this.#world, { ledger, stability, apply })
      : null;
    this.#agent = { apply, capture, transfer };
    this.slot.belongsTo(capture);
    void apply.run();
    void capture.run();
    void transfer?.run();
  }

  /** The process dies; its capture may linger for a while, with what it had received. */
  killAgent(lingers: boolean): void {
    if (this.#agent === null) return;
    const { apply, capture, transfer } = this.#agent;
    this.#agent = null;
    transfer?.kill();
    this.slot.belongsTo(null);
    apply.kill();
    if (!lingers) capture.kill();
  }

  /** The server dies and comes back at once; sessions are cut, the agent reconnects. */
  crashDatabase(lost: (unflushed: number) => number): void {
    this.database.crash(lost);
    this.slot.restore();
    this.#checkAcknowledged();
  }

  /** What the lane alone writes. */
  #storeOfLane(): () => void {
    const takeBack = this.store.snapshot();
    return () => {
      const { ownHistory, transfer } = this.store;
      const holds = [...this.store.holds];
      takeBack();
      this.store.ownHistory = ownHistory;
      this.store.transfer = transfer;
      this.store.holds.clear();
      for (const [id, hold] of holds) this.store.holds.set(id, hold);
    };
  }

  /** The log was told that it may forget what is below these marks. */
  acknowledged(marks: readonly Mark[]): void {
    for (const { origin, position } of marks) this.#acknowledged.set(origin, position);
  }

  #checkAcknowledged(): void {
    for (const [origin, position] of this.#acknowledged) {
      const mark = this.store.marks.get(origin)?.position;
      if (mark !== undefined && mark >= position) continue;
      const message = `${this.name}: ${origin} is applied up to ${mark ?? 'nothing'}, and ${position} was acknowledged`;
      this.#world.fail({ invariant: 'acknowledged-is-durable', message });
    }
  }

  /**
   * The disk as it is now; null where it shows something uncommitted. Calling it brings the region back to that: a restored
   * snapshot, or a standby that was behind and is promoted.
   */
  snapshot(): ((how: Restoring) => void) | null {
    if (!this.database.isQuiet || this.#agent?.apply.isIdle === false) return null;
    // Who publishes the late table does so once.
    if (this.database.unpublished.size > 0) return null;
    const [truth, store, slot] = [this.truth.snapshot(), this.store.snapshot(), this.slot.snapshot()];
    const database = this.database.snapshot();
    const wal = [...this.database.wal];
    return ({ skips, losesSlot }) => {
      this.killAgent(false);
      this.database.crash();
      this.lostWal.push(...this.database.wal);
      database(skips);
      truth();
      store();
      // An older copy takes back what it needs again.
      this.#acknowledged.clear();
      // What was neither published nor is in a slot could not be known of: such a region is refused.
      slot(losesSlot && wal.every((entry) => this.slot.published.has(entry)));
      this.startAgent();
    };
  }

  /** The server is stopped and upgraded by pg_upgrade; the agent starts behind it. */
  upgradeServer(): void {
    this.killAgent(false);
    this.database.crash();
    const slot = this.slot.snapshot();
    this.database.forgetTimes();
    slot(true);
    this.startAgent();
  }

  /** Whether everything committed is published, and everything published was applied here. */
  isSettled(tails: ReadonlyMap<string, Position>): boolean {
    if (this.#world.conditions.late && !TransferActor.isDone(this, this.#world)) return false;
    if (this.store.quarantine.size > 0) return false;
    if (this.#agent === null || this.store.looks.size > 0 || !this.#agent.apply.isIdle) return false;
    if (!this.#agent.apply.isSettled) return false;
    if ([...this.store.merges.values()].some(({ visit_at }) => visit_at !== null)) return false;
    return [...tails].every(([origin, tail]) => this.store.marks.get(origin)?.position === tail);
  }

  /** Where it stands, for a report. */
  tell(): string {
    const { database, slot, store } = this;
    const marks = [...store.marks.values()].map(({ origin, position }) => `${origin}:${positionLsn(position)}`);
    const open = [...database.open].map(({ xid, state, waitsFor }) => `x${xid} ${state} ${waitsFor?.xid ?? ''}`);
    return `${this.name} committed ${database.wal.at(-1)?.endLsn}, confirmed ${slot.confirmedLsn}, applied ${marks.join(' ')}, open ${open.join(' ')}, ${store.looks.size} looks, ${store.quarantine.size} set aside`;
  }
}
