/**
 * A logical replication slot on the model: one holder at a time, who gets what was committed above the confirmed position.
 *
 * What a holder confirmed is written to disk only now and then, so a crash of the server can take the slot back to an
 * older position. A holder that was replaced keeps what it had received.
 */
import type { ModelDatabase, WalEntry } from './model-database.ts';
import { sqlError } from './model-transaction.ts';

/** What one holder gets of the slot. */
export class SlotHold {
  readonly #database: ModelDatabase;
  readonly #slot: ReplicationSlot;
  readonly #generation: number;
  /** Where the slot stood when it was taken hold of. */
  readonly confirmedLsn: bigint;
  #next: number;
  /** What it had received when it lost the slot; null while it holds it. */
  #end: number | null = null;

  constructor(slot: ReplicationSlot) {
    this.#slot = slot;
    this.#database = slot.database;
    this.#generation = slot.database.generation;
    this.confirmedLsn = slot.confirmedLsn;
    this.#next = slot.database.wal.findIndex((entry) => entry.lsn >= slot.confirmedLsn);
    if (this.#next < 0) this.#next = slot.database.wal.length;
  }

  get hasNext(): boolean {
    return this.#next < (this.#end ?? this.#database.wal.length);
  }

  /** The server was away since. */
  get isCut(): boolean {
    return this.#generation !== this.#database.generation;
  }

  /** Lost to another holder, or with the server: nothing more will come. */
  get isOver(): boolean {
    return this.#end !== null || this.isCut;
  }

  /** The next transaction; null once the slot is lost and everything received was taken. */
  next(): WalEntry | null {
    if (this.isCut) throw sqlError('57P02', 'the connection is gone');
    const entry = this.hasNext ? this.#database.wal[this.#next] : undefined;
    if (entry === undefined) return null;
    this.#next += 1;
    return entry;
  }

  confirm(lsn: bigint): void {
    if (this.isOver || lsn <= this.#slot.confirmedLsn) return;
    this.#slot.confirmedLsn = lsn;
    for (const entry of this.#database.wal) if (entry.endLsn <= lsn) this.#slot.published.add(entry);
  }

  lose(): void {
    this.#end ??= this.#database.wal.length;
  }
}

export class ReplicationSlot {
  readonly database: ModelDatabase;
  confirmedLsn = 0n;
  /** What is durable in the log. */
  readonly published = new Set<WalEntry>();
  /** Made anew, because there was none, and not yet told to the database. */
  isNew = false;
  #savedLsn = 0n;
  #run = 0;
  #owner: object | null = null;
  #current: SlotHold | null = null;

  constructor(database: ModelDatabase) {
    this.database = database;
  }

  get lastRun(): number {
    return this.#run;
  }

  nextRun(highest: number): number {
    this.#run = Math.max(this.#run, highest) + 1;
    return this.#run;
  }

  /** Says who may hold the slot from now on; whoever holds it loses it. */
  belongsTo(owner: object | null): void {
    this.#owner = owner;
    this.#current?.lose();
    this.#current = null;
  }

  /** Takes the slot; null for one whom it does not belong to. */
  hold(owner: object): SlotHold | null {
    if (this.#owner !== owner) return null;
    this.#current?.lose();
    this.#current = new SlotHold(this);
    return this.#current;
  }

  /** The server writes the confirmed position to disk. */
  save(): void {
    this.#savedLsn = this.confirmedLsn;
  }

  /** As the disk has it now, to come back to; `isLost`: as a base backup has it, which is not at all. */
  snapshot(): (isLost: boolean) => void {
    const [saved, run] = [this.#savedLsn, this.#run];
    return (isLost) => {
      this.#run = run;
      this.confirmedLsn = isLost ? this.database.nextLsn() : saved;
      this.#savedLsn = this.confirmedLsn;
      this.isNew = isLost;
    };
  }

  /** The server crashed. */
  restore(): void {
    this.confirmedLsn = this.#savedLsn;
  }
}
