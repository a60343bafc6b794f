/**
 * The capturing half of a simulated agent: the real publisher, stamper and resume point over the modelled WAL.
 *
 * Like a real one it opens a run and reads its own stream behind that, and begins anew after its connection was cut or
 * an append failed. An agent that was replaced may linger: it goes on with what it had received, and never with more.
 */

import { checkLedger } from '../../src/capture/ledger-check.ts';
import { ActiveMerges } from '../../src/capture/publish/active-merges.ts';
import type { RowChange } from '../../src/capture/publish/decoded-transaction.ts';
import { Publisher } from '../../src/capture/publish/publisher.ts';
import { readResumePoint } from '../../src/capture/publish/resume-point.ts';
import { type OwnDatabase, startRun } from '../../src/capture/publish/run-start.ts';
import { SlotAcker } from '../../src/capture/slot/slot-acker.ts';
import { hlcFromMicros, hlcToText } from '../../src/change/hlc.ts';
import { ACTIVATION_TABLE, REGISTRY_SCHEMA } from '../../src/change/merge-registry.ts';
import type { Position } from '../../src/change/position.ts';
import type { NotesRead } from '../../src/clock/note-store.ts';
import type { NotesLedger } from '../../src/clock/notes-ledger.ts';
import type { Stability } from '../../src/clock/stability.ts';
import { fail, SynclineError, sqlStateOf } from '../../src/platform/errors.ts';
import { FIRST_VERSION } from './merging.ts';
import type { ModelStore } from './model-store.ts';
import { MERGED } from './model-store.ts';
import { sqlError } from './model-transaction.ts';
import type { ReplicationSlot, SlotHold } from './replication-slot.ts';
import type { WorldView } from './world-view.ts';

/** Transactions with more rows are stamped for their tables and stream out before their end is known. */
const TRANSACTION_ROWS_MAX = 3;

/** A minute: longer than a seed takes. */
const LATE_MICROS_MAX = 60_000_000;

export type CapturedRegion = { readonly name: string; readonly slot: ReplicationSlot; readonly store: ModelStore };

export class CaptureActor {
  readonly #name: string;
  readonly #region: CapturedRegion;
  readonly #world: WorldView;
  readonly #ledger: NotesLedger;
  readonly #stability: Stability;
  #publisher: Publisher | null = null;

  constructor(name: string, region: CapturedRegion, world: WorldView, ledger: NotesLedger, stability: Stability) {
    this.#name = name;
    this.#region = region;
    this.#world = world;
    this.#ledger = ledger;
    this.#stability = stability;
  }

  kill(): void {
    this.#world.scheduler.kill(this.#name);
    this.#world.scheduler.kill(`${this.#name}/append`);
  }

  async run(): Promise<void> {
    const { scheduler } = this.#world;
    for (;;) {
      await scheduler.step(this.#name, 'capture starts');
      const hold = this.#region.slot.hold(this);
      if (hold === null) return;
      try {
        await this.#session(hold);
        return;
      } catch (error) {
        this.#publisher?.end(error);
        this.#publisher = null;
        const cut = sqlStateOf(error) === '57P02';
        const code = error instanceof SynclineError ? error.code : null;
        if (!cut && code !== 'SYN-L002' && code !== 'SYN-L005' && code !== 'SYN-K024') throw error;
        scheduler.note(`${this.#name}: ${cut ? 'connection cut' : code}`);
      }
    }
  }

  /** Where the stream ends for the publisher; undefined between two sessions. */
  get lastPosition(): Position | null | undefined {
    return this.#publisher?.lastPosition;
  }

  #lateMicros(): bigint {
    return BigInt(this.#world.random.pick([0, LATE_MICROS_MAX]));
  }

  #database(hold: SlotHold): OwnDatabase {
    const { name, slot, store } = this.#region;
    const step = async (what: string): Promise<void> => await this.#world.scheduler.step(this.#name, what);
    // As the lease does: whoever was replaced is handed out nothing.
    const assertHeld = (): void => {
      if (hold.isOver) throw fail('SYN-L005', 'another agent has taken over');
    };
    return {
      history: async () => store.ownHistory,
      mark: async () => store.marks.get(name) ?? null,
      commitTimes: async (xids) => {
        await step('commit times');
        return xids.map((xid) => {
          const transaction = slot.database.transactionOf(xid);
          if (transaction?.lsn == null || !transaction.kind.local) return 'never';
          return transaction.isForgotten ? 'forgotten' : (transaction.stampMicros ?? 'never');
        });
      },
      lastRun: async () => slot.lastRun,
      nextRun: async (highest) => {
        assertHeld();
        return slot.nextRun(highest);
      },
      begin: async (history) => {
        await step('an epoch begins');
        assertHeld();
        store.ownHistory = history;
        slot.isNew = false;
        await step('an epoch began');
      },
      // The machine that a region comes back on may have a clock that is behind.
      now: async () => ({ epoch: hlcToText(hlcFromMicros(slot.database.now() - this.#lateMicros())), iso: '' }),
    };
  }

  /** Waits in the schedule and not in time. */
  async #knowsBatches(hold: SlotHold): Promise<void> {
    const isKnown = (): boolean => this.#ledger.isQuiet || hold.isOver;
    if (!isKnown()) await this.#world.scheduler.step(this.#name, 'batches have ended', isKnown);
    if (hold.isOver) return;
    await checkLedger(this.#ledger, async (newest) => this.#region.store.notes.some(({ lsn }) => lsn === newest));
  }

  async #notesAround(hold: SlotHold, lsn: bigint, limit: number): Promise<NotesRead> {
    await this.#world.scheduler.step(this.#name, 'notes are read');
    if (hold.isCut) throw sqlError('57P02', 'the connection is gone');
    const read = { rows: this.#region.store.notesAround(lsn, limit), end: this.#region.slot.database.walEnds.inserted };
    await this.#world.scheduler.step(this.#name, 'notes are told');
    return read;
  }

  async #flush(hold: SlotHold): Promise<void> {
    await this.#world.scheduler.step(this.#name, 'flush');
    if (hold.isCut) throw sqlError('57P02', 'the connection is gone');
    this.#region.slot.database.flush();
  }

  /** One hold of the slot; returns once the slot is another's and all that was received is done with. */
  async #session(hold: SlotHold): Promise<void> {
    const { scheduler, log } = this.#world;
    const { name: region, slot } = this.#region;
    await this.#knowsBatches(hold);
    const writer = await log.writer(region);
    await using reader = await log.reader(region);
    const database = this.#database(hold);
    const { run, history, trace } = await startRun({ region, reader, writer, database, isSlotNew: slot.isNew });
    this.#world.appended();
    const tables = [...slot.database.tables.keys()].map((table) => ({ schema: 'public', table }));
    const resume = await readResumePoint(reader, tables);
    const { confirmedLsn } = hold;
    const acker = new SlotAcker(confirmedLsn, (lsn) => hold.confirm(lsn));
    const merges = new ActiveMerges(region);
    if (this.#world.conditions.merging.isActiveFirst) merges.next(activation(region, FIRST_VERSION));
    for (const { activates } of slot.database.wal) if (activates !== null) merges.next(activation(region, activates));
    const publisher = new Publisher({
      region,
      run,
      ...history,
      writer,
      ledger: this.#ledger,
      notesServer: {
        around: async (lsn, limit) => await this.#notesAround(hold, lsn, limit),
        untilFlushed: async () => await this.#flush(hold),
      },
      stamper: resume.stamper,
      stability: this.#stability,
      merges,
      resumeAfter: trace.published,
      confirmedLsn,
      predecessor: resume.predecessor,
      onDurable: (endLsn) => {
        acker.durable(endLsn);
        this.#ledger.prune(endLsn);
        this.#world.appended();
      },
      defer: (start) => {
        void scheduler.step(`${this.#name}/append`, 'append').then(start);
      },
      limits: { transaction_rows_max: TRANSACTION_ROWS_MAX },
    });
    this.#publisher = publisher;
    for (;;) {
      await scheduler.step(this.#name, 'capture', () => hold.hasNext || hold.isOver || publisher.failed.aborted);
      publisher.failed.throwIfAborted();
      const entry = hold.next();
      if (entry === null) return;
      acker.received(entry.endLsn);
      await publisher.begin(entry);
      if (entry.activates !== null) merges.next(activation(region, entry.activates));
      if (entry.foreign) publisher.foreignOrigin();
      for (const change of entry.changes) await publisher.change(change);
      if (entry.heartbeat !== null) publisher.heartbeat(entry.heartbeat);
      await publisher.commit(entry.endLsn);
    }
  }
}

/**
 * The region's own activation row, as it is written. Its replication is left out of the model. Beside the version in effect
 * the next one always runs in shadow.
 */
function activation(region: string, version: number): RowChange {
  const [schema_name, table_name] = ['public', MERGED];
  const [version_id, base_version_id] = [String(version + 1), String(version)];
  const after = { schema_name, table_name, region, version_id, base_version_id, mode: 'shadow', percent: '100' };
  return { schema: REGISTRY_SCHEMA, table: ACTIVATION_TABLE, operation: 'INSERT', key: [], before: null, after };
}
