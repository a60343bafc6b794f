/**
 * A model of one PostgreSQL database, as far as replication depends on it: row locks, READ COMMITTED statements that
 * wait and look again at the newest tuple, commits that are in the WAL before they are visible, commit timestamps,
 * subtransactions, crashes. It is checked against real servers by the contract suite of the apply port.
 *
 * Everything is deterministic: time comes from outside, and every statement asks `step` before it acts, which is where
 * a scheduler interleaves sessions.
 */

import type { RowChange } from '../../src/capture/decoded-transaction.ts';
import type { Image } from '../../src/change/change-event.ts';
import { invariant } from '../../src/platform/assert.ts';

export type Step = (what: string) => Promise<void>;

export type ModelTuple = {
  readonly image: Image;
  readonly xid: number;
  readonly writer: Transaction;
  readonly birth: number;
};

/** A place in a table: the newest visible tuple, and what the transaction that holds it has made of it. */
export type Slot = {
  readonly table: ModelTable;
  readonly key: string;
  tuple: ModelTuple | null;
  holder: Transaction | null;
  /** undefined: the holder only locked the row. */
  pending: ModelTuple | null | undefined;
  readonly sharers: Set<Transaction>;
};

export class ModelTable {
  readonly name: string;
  readonly slots = new Map<string, Slot>();
  /** Set while a TRUNCATE holds the whole table. */
  exclusive: Transaction | null = null;

  constructor(name: string) {
    this.name = name;
  }

  slot(key: string): Slot {
    const known = this.slots.get(key);
    if (known !== undefined) return known;
    const slot: Slot = { table: this, key, tuple: null, holder: null, pending: undefined, sharers: new Set() };
    this.slots.set(key, slot);
    return slot;
  }
}

type Undo = {
  readonly slot: Slot;
  readonly holder: Transaction | null;
  readonly pending: ModelTuple | null | undefined;
};

export type TransactionKind = { readonly writer: string; readonly local: boolean; readonly stampMicros: bigint | null };

/** A transaction of any session. */
export class Transaction {
  readonly xid: number;
  readonly kind: TransactionKind;
  state: 'open' | 'committing' | 'visible' | 'aborted' = 'open';
  stampMicros: bigint | null;
  /** The id that tuples get now: a subtransaction's after a savepoint. */
  currentXid: number;
  readonly undo: Undo[] = [];
  changes: RowChange[] = [];
  heartbeat: { members: readonly string[] } | null = null;
  readonly savepoints: { name: string; undoTo: number; changesTo: number }[] = [];
  readonly tables = new Set<ModelTable>();
  readonly onCommit: (() => void)[] = [];
  waitsFor: Transaction | null = null;
  /** Ends the current lock wait with an error. */
  expire: ((error: Error) => void) | null = null;
  #wakers: (() => void)[] = [];

  constructor(xid: number, kind: TransactionKind) {
    this.xid = xid;
    this.currentXid = xid;
    this.kind = kind;
    this.stampMicros = kind.stampMicros;
  }

  get ended(): boolean {
    return this.state === 'visible' || this.state === 'aborted';
  }

  onEnd(wake: () => void): void {
    this.#wakers.push(wake);
  }

  wake(): void {
    const wakers = this.#wakers;
    this.#wakers = [];
    for (const wake of wakers) wake();
  }
}

export type WalEntry = {
  readonly lsn: bigint;
  readonly endLsn: bigint;
  readonly xid: number;
  readonly commitMicros: bigint;
  readonly changes: readonly RowChange[];
  readonly heartbeat: { members: readonly string[] } | null;
};

export function sqlError(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}

export class ModelDatabase {
  readonly region: string;
  readonly now: () => bigint;
  readonly tables = new Map<string, ModelTable>();
  /** What logical decoding would send: local commits, in WAL order. */
  readonly wal: WalEntry[] = [];
  readonly open = new Set<Transaction>();
  readonly #transactions = new Map<number, Transaction>();
  #lsn = 16n;
  #xid = 700;
  #births = 0;
  /** Grows with each crash: sessions of an older generation are cut. */
  generation = 0;

  constructor(region: string, now: () => bigint) {
    this.region = region;
    this.now = now;
  }

  get walPosition(): bigint {
    this.#lsn += 8n;
    return this.#lsn;
  }

  table(name: string): ModelTable {
    const known = this.tables.get(name);
    if (known !== undefined) return known;
    const table = new ModelTable(name);
    this.tables.set(name, table);
    return table;
  }

  begin(kind: TransactionKind): Transaction {
    const transaction = new Transaction(this.nextXid(), kind);
    this.#transactions.set(transaction.xid, transaction);
    this.open.add(transaction);
    return transaction;
  }

  nextXid(): number {
    this.#xid += 1;
    return this.#xid;
  }

  transactionOf(xid: number): Transaction | undefined {
    return this.#transactions.get(xid);
  }

  nextBirth(): number {
    this.#births += 1;
    return this.#births;
  }

  /** The newest tuple as this transaction sees it under its lock. */
  newest(slot: Slot, transaction: Transaction): ModelTuple | null {
    return slot.holder === transaction && slot.pending !== undefined ? slot.pending : slot.tuple;
  }

  /** Waits until no other transaction holds the row; `resumed` is asked after each wait. */
  async lock(slot: Slot, transaction: Transaction, resumed: Step, againstSharers = false): Promise<void> {
    for (;;) {
      const holder = this.#blocker(slot, transaction, againstSharers);
      if (holder === null) break;
      await this.#waitFor(holder, transaction);
      await resumed('lock granted');
    }
    if (slot.holder === transaction) return;
    transaction.undo.push({ slot, holder: slot.holder, pending: slot.pending });
    slot.holder = transaction;
    slot.pending = undefined;
    transaction.tables.add(slot.table);
  }

  /** Waits for every other transaction that has the table in use, then holds all of it. */
  async lockTable(table: ModelTable, transaction: Transaction, resumed: Step): Promise<void> {
    for (;;) {
      const user = [...this.open].find((other) => other !== transaction && other.tables.has(table));
      if (user === undefined) break;
      await this.#waitFor(user, transaction);
      await resumed('table lock granted');
    }
    table.exclusive = transaction;
    transaction.tables.add(table);
  }

  /** Takes part in the table's use, waiting for a TRUNCATE. */
  async use(table: ModelTable, transaction: Transaction, resumed: Step): Promise<void> {
    while (table.exclusive !== null && table.exclusive !== transaction) {
      await this.#waitFor(table.exclusive, transaction);
      await resumed('table free');
    }
    transaction.tables.add(table);
  }

  put(slot: Slot, transaction: Transaction, image: Image | null): void {
    invariant(slot.holder === transaction, 'a row is locked before it is written');
    const before = this.newest(slot, transaction);
    transaction.undo.push({ slot, holder: transaction, pending: slot.pending });
    slot.pending =
      image === null
        ? null
        : { image, xid: transaction.currentXid, writer: transaction, birth: before?.birth ?? this.nextBirth() };
  }

  /** Fails where another row has this value of the unique column; waits for one that might. */
  async checkUnique(
    table: ModelTable,
    slot: Slot,
    image: Image,
    transaction: Transaction,
    resumed: Step,
  ): Promise<void> {
    const value = image.u;
    if (value === null || value === undefined) return;
    for (;;) {
      let blocker: Transaction | null = null;
      for (const other of table.slots.values()) {
        if (other === slot) continue;
        const held = other.holder !== null && other.holder !== transaction && other.pending !== undefined;
        if (held && (other.pending?.image.u === value || other.tuple?.image.u === value)) blocker = other.holder;
        else if (!held && this.newest(other, transaction)?.image.u === value) {
          throw sqlError('23505', `duplicate key value violates unique constraint: u = ${value}`);
        }
      }
      if (blocker === null) return;
      await this.#waitFor(blocker, transaction);
      await resumed('unique value free');
    }
  }

  rollbackTo(transaction: Transaction, undoTo: number): void {
    while (transaction.undo.length > undoTo) {
      const undo = transaction.undo.pop();
      if (undo === undefined) break;
      undo.slot.holder = undo.holder;
      undo.slot.pending = undo.pending;
    }
  }

  abort(transaction: Transaction): void {
    if (transaction.ended) return;
    this.rollbackTo(transaction, 0);
    this.#finish(transaction, 'aborted');
  }

  /** The commit record is in the WAL: decoding sees it, snapshots do not yet. */
  enterWal(transaction: Transaction): void {
    invariant(transaction.state === 'open', 'a transaction commits once');
    transaction.state = 'committing';
    const lsn = this.walPosition;
    if (transaction.kind.local && (transaction.changes.length > 0 || transaction.heartbeat !== null)) {
      const { xid, changes, heartbeat } = transaction;
      const commitMicros = transaction.stampMicros ?? 0n;
      this.wal.push({ lsn, endLsn: lsn + 4n, xid, commitMicros, changes, heartbeat });
    }
  }

  becomeVisible(transaction: Transaction): void {
    if (transaction.ended) return;
    invariant(transaction.state === 'committing', 'a transaction is in the WAL before it is visible');
    for (const table of this.tables.values()) {
      for (const slot of table.slots.values()) {
        if (slot.holder !== transaction) continue;
        if (slot.pending !== undefined) slot.tuple = slot.pending;
      }
    }
    for (const hook of transaction.onCommit) hook();
    this.#finish(transaction, 'visible');
  }

  /** Stops the server at once and starts it again: what reached the WAL is there, everything else is not. */
  crash(): void {
    this.generation += 1;
    for (const transaction of [...this.open]) {
      if (transaction.state === 'committing') this.becomeVisible(transaction);
      else this.abort(transaction);
      transaction.expire?.(sqlError('57P02', 'terminating connection because of a crash'));
    }
  }

  #finish(transaction: Transaction, state: 'visible' | 'aborted'): void {
    transaction.state = state;
    for (const table of this.tables.values()) {
      if (table.exclusive === transaction) table.exclusive = null;
      for (const slot of table.slots.values()) {
        slot.sharers.delete(transaction);
        if (slot.holder !== transaction) continue;
        slot.holder = null;
        slot.pending = undefined;
      }
    }
    this.open.delete(transaction);
    transaction.wake();
  }

  #blocker(slot: Slot, transaction: Transaction, againstSharers: boolean): Transaction | null {
    if (slot.holder !== null && slot.holder !== transaction) return slot.holder;
    if (againstSharers) for (const sharer of slot.sharers) if (sharer !== transaction) return sharer;
    return null;
  }

  async #waitFor(holder: Transaction, transaction: Transaction): Promise<void> {
    for (let next: Transaction | null = holder; next !== null; next = next.waitsFor) {
      if (next === transaction) throw sqlError('40P01', 'deadlock detected');
    }
    transaction.waitsFor = holder;
    try {
      await new Promise<void>((resolve, reject) => {
        holder.onEnd(resolve);
        transaction.expire = reject;
      });
    } finally {
      transaction.waitsFor = null;
      transaction.expire = null;
    }
  }
}
