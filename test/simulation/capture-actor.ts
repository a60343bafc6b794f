/**
 * The capturing half of a simulated agent: the real publisher, stamper and resume point over the modelled WAL.
 *
 * Like a real one it opens a run and reads its own stream behind that, and begins anew after its connection was cut or
 * an append failed. An agent that was replaced may linger: it goes on with what it had received, and never with more.
 */
import { Publisher } from '../../src/capture/publisher.ts';
import { readResumePoint } from '../../src/capture/resume-point.ts';
import { SlotAcker } from '../../src/capture/slot-acker.ts';
import { runRecord } from '../../src/change/stream-record.ts';
import type { NotesLedger } from '../../src/clock/notes-ledger.ts';
import type { Stability } from '../../src/clock/stability.ts';
import { SynclineError, sqlStateOf } from '../../src/platform/errors.ts';
import type { ReplicationSlot, SlotHold } from './replication-slot.ts';
import type { WorldView } from './world-view.ts';

export const EPOCH = '0000000000000000001';
/** Transactions with more rows are stamped for their tables and stream out before their end is known. */
const TRANSACTION_ROWS_MAX = 3;

export class CaptureActor {
  readonly #name: string;
  readonly #region: string;
  readonly #world: WorldView;
  readonly #slot: ReplicationSlot;
  readonly #ledger: NotesLedger;
  readonly #stability: Stability;
  #publisher: Publisher | null = null;

  constructor(
    name: string,
    region: string,
    world: WorldView,
    slot: ReplicationSlot,
    ledger: NotesLedger,
    stability: Stability,
  ) {
    this.#name = name;
    this.#region = region;
    this.#world = world;
    this.#slot = slot;
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
      const hold = this.#slot.hold(this);
      if (hold === null) return;
      try {
        await this.#session(hold);
        return;
      } catch (error) {
        this.#publisher?.end(error);
        this.#publisher = null;
        const cut = sqlStateOf(error) === '57P02';
        if (!cut && !(error instanceof SynclineError && error.code === 'SYN-L002')) throw error;
        scheduler.note(`${this.#name}: ${cut ? 'connection cut' : 'append crashed'}`);
      }
    }
  }

  /** One hold of the slot; returns once the slot is another's and all that was received is done with. */
  async #session(hold: SlotHold): Promise<void> {
    const { scheduler, log } = this.#world;
    const run = this.#slot.nextRun();
    const writer = await log.writer(this.#region);
    await writer.append([runRecord({ region_id: this.#region, run, epoch: EPOCH, opened_at: '' })]);
    this.#world.appended();
    await using reader = await log.reader(this.#region);
    const tables = [...this.#slot.database.tables.keys()].map((table) => ({ schema: 'public', table }));
    const resume = await readResumePoint(reader, tables);
    const { confirmedLsn } = this.#slot;
    const acker = new SlotAcker(confirmedLsn, (lsn) => hold.confirm(lsn));
    const publisher = new Publisher({
      region: this.#region,
      run,
      epoch: EPOCH,
      writer,
      ledger: this.#ledger,
      stamper: resume.stamper,
      stability: this.#stability,
      resumeAfter: resume.tail,
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
      if (entry.foreign) publisher.foreignOrigin();
      for (const change of entry.changes) await publisher.change(change);
      if (entry.heartbeat !== null) publisher.heartbeat(entry.heartbeat);
      await publisher.commit(entry.endLsn);
    }
  }
}
