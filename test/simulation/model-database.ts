/**
 * A model of one PostgreSQL database, as far as replication depends on it: row locks, READ COMMITTED statements that
 * wait and look again at the newest tuple, commits that are in the WAL before they are visible, commit timestamps,
 * subtransactions, crashes. It is checked against real servers by the contract suite of the apply port.
 *
 * Everything is deterministic: time comes from outside, and every statement asks `step` before it acts, which is where
 * a scheduler interleaves sessions.
 */
import type { RowChange } from '../../src/capture/publish/decoded-transaction.ts';
import type { Image } from '../../src/change/change-event.ts';
import { invariant } from '../../src/platform/assert.ts';
import { UNIQUE_COLUMNS } from './model-store.ts';
import { type ModelTuple, type Step, sqlError, Transaction, type TransactionKind } from './model-transaction.ts';
import type { Refusal } from './refusals.ts';
import type { UnflushedCommits } from './unflushed-commits.ts';

/** As in PostgreSQL: `share` is FOR KEY SHARE, `write` FOR NO KEY UPDATE, `key` FOR UPDATE. */
export type LockStrength = 'share' | 'write' | 'key';

/** A place in a table: the newest visible tuple, and what the transaction that holds it has made of it. */
export type Slot = {
  readonly table: ModelTable;
  readonly key: string;
  tuple: ModelTuple | null;
  holder: Transaction | null;
  strength: 'write' | 'key';
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
    const slot: Slot = {
      table: this,
      key,
      tuple: null,
      holder: null,
      strength: 'write',
      pending: undefined,
      sharers: new Set(),
    };
    this.slots.set(key, slot);
    return slot;
  }
}

export type WalEntry = {
  readonly lsn: bigint;
  readonly endLsn: bigint;
  readonly xid: number;
  readonly commitMicros: bigint;
  readonly changes: readonly RowChange[];
  readonly heartbeat: { members: readonly string[] } | null;
  readonly foreign: boolean;
  readonly activates: number | null;
};

/** What a transaction made of a row, told when it becomes visible. */
export type RowWrite = { readonly slot: Slot; readonly before: ModelTuple | null; readonly after: ModelTuple | null };

export class ModelDatabase {
  readonly region: string;
  readonly now: () => bigint;
  readonly tables = new Map<string, ModelTable>();
  /** What logical decoding would send: local commits, in WAL order. */
  readonly wal: WalEntry[] = [];
  /** Tables of which nothing is decoded yet. */
  readonly unpublished = new Set<string>();
  readonly open = new Set<Transaction>();
  /** Called as a transaction becomes visible, still under its locks. */
  onVisible: (transaction: Transaction, writes: readonly RowWrite[]) => void = () => {};
  /** Grows with each crash: sessions of an older generation are cut. */
  generation = 0;
  /** A constraint of its own. */
  refusal: Refusal | null = null;
  /** null where every commit is flushed at once. */
  unflushed: UnflushedCommits | null = null;
  #flushedTo = { lsn: 16n, xid: 700 };
  readonly #transactions = new Map<number, Transaction>();
  #lsn = 16n;
  #xid = 700;
  #births = 0;

  constructor(region: string, now: () => bigint) {
    this.region = region;
    this.now = now;
  }

  /** A position of its own for each caller. */
  nextLsn(): bigint {
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

  /** What is committed by now is in no stream. */
  beginStream(): void {
    for (const transaction of this.#transactions.values()) {
      transaction.isFromBefore = transaction.kind.local && transaction.state === 'visible';
    }
  }

  /** Nothing that is visible tells any more when it was committed, and by whom. */
  forgetTimes(): void {
    for (const transaction of this.#transactions.values())
      if (transaction.state === 'visible') transaction.forget(this.region);
  }

  begin(kind: TransactionKind): Transaction {
    const transaction = new Transaction(this.nextXid(), kind);
    if (!kind.local) this.unflushed?.begins(transaction);
    this.#transactions.set(transaction.xid, transaction);
    this.open.add(transaction);
    return transaction;
  }

  nextXid(): number {
    this.#xid += 1;
    return this.#xid;
  }

  /** As `pg_current_snapshot()` tells of it. */
  get idsInUse(): { readonly xmin: bigint; readonly xmax: bigint } {
    const xmax = this.#xid + 1;
    return { xmin: BigInt(Math.min(xmax, ...[...this.open].map(({ xid }) => xid))), xmax: BigInt(xmax) };
  }

  /** Of the transactions whose writes everybody sees. */
  visibleIds(): Set<number> {
    return new Set([...this.#transactions.values()].filter(({ state }) => state === 'visible').map(({ xid }) => xid));
  }

  transactionOf(xid: number): Transaction | undefined {
    return this.#transactions.get(xid);
  }

  /** The newest tuple as this transaction sees it: its own, else the visible one. */
  newest(slot: Slot, transaction: Transaction): ModelTuple | null {
    return slot.holder === transaction && slot.pending !== undefined ? slot.pending : slot.tuple;
  }

  /** Waits until nobody else holds the row in a way that conflicts; `resumed` is asked after each wait. */
  async free(slot: Slot, transaction: Transaction, strength: LockStrength, resumed: Step): Promise<void> {
    for (;;) {
      const blocker = blockerOf(slot, transaction, strength);
      if (blocker === null) return;
      await this.#waitFor(blocker, transaction);
      await resumed('lock granted');
    }
  }

  /** Waits until nobody else has an uncommitted version of the row, or is inserting it; locks alone do not matter. */
  async settled(slot: Slot, transaction: Transaction, resumed: Step): Promise<void> {
    for (;;) {
      const { holder, pending, tuple } = slot;
      if (holder === null || holder === transaction || (pending === undefined && tuple !== null)) return;
      await this.#waitFor(holder, transaction);
      await resumed('row settled');
    }
  }

  /** Takes a row that is free. */
  hold(slot: Slot, transaction: Transaction, strength: LockStrength): void {
    invariant(blockerOf(slot, transaction, strength) === null, 'a row is free before it is held');
    transaction.slots.add(slot);
    if (strength === 'share') {
      if (!slot.sharers.has(transaction)) transaction.willUndo(() => void slot.sharers.delete(transaction));
      slot.sharers.add(transaction);
      return;
    }
    if (slot.holder === transaction && (slot.strength === 'key' || strength === 'write')) return;
    const { holder, strength: former, pending } = slot;
    transaction.willUndo(() => {
      slot.holder = holder;
      slot.strength = former;
      slot.pending = pending;
    });
    if (holder !== transaction) slot.pending = undefined;
    slot.holder = transaction;
    slot.strength = strength;
  }

  async lock(slot: Slot, transaction: Transaction, strength: LockStrength, resumed: Step): Promise<void> {
    await this.free(slot, transaction, strength, resumed);
    this.hold(slot, transaction, strength);
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
    const { pending } = slot;
    transaction.willUndo(() => {
      slot.pending = pending;
    });
    if (image === null) slot.pending = null;
    else {
      if (before === null) this.#births += 1;
      const birth = before?.birth ?? this.#births;
      slot.pending = { image, xid: transaction.currentXid, writer: transaction, birth };
    }
  }

  /** Fails where another row has the same value of a unique column; waits for one that might. */
  async checkUnique(slot: Slot, image: Image, transaction: Transaction, resumed: Step): Promise<void> {
    for (;;) {
      let blocker: Transaction | null = null;
      for (const other of slot.table.slots.values()) {
        if (other === slot) continue;
        const held = other.holder !== null && other.holder !== transaction && other.pending !== undefined;
        if (held && (claimsSame(other.pending?.image, image) || claimsSame(other.tuple?.image, image))) {
          blocker = other.holder;
        } else if (!held && claimsSame(this.newest(other, transaction)?.image, image)) {
          throw sqlError('23505', `duplicate key value violates unique constraint: the row ${other.key} has it`);
        }
      }
      if (blocker === null) return;
      await this.#waitFor(blocker, transaction);
      await resumed('unique value free');
    }
  }

  /** Undoes what came after the savepoint; locks taken since are free again. */
  rollbackTo(transaction: Transaction, depth: number): void {
    transaction.undoTo(depth);
    transaction.wake();
  }

  abort(transaction: Transaction): void {
    if (transaction.ended) return;
    transaction.undoTo(0);
    this.#finish(transaction, 'aborted');
  }

  /** The commit record is in the WAL: decoding sees it, snapshots do not yet. */
  enterWal(transaction: Transaction): void {
    invariant(transaction.state === 'open', 'a transaction commits once');
    transaction.state = 'committing';
    const lsn = this.nextLsn();
    transaction.lsn = lsn;
    if (transaction.kind.isSigned === true) transaction.stampMicros = this.now();
    if (transaction.kind.local) this.flush();
    else this.unflushed?.commits(transaction);
    if (transaction.kind.local && (transaction.changes.length > 0 || transaction.heartbeat !== null)) {
      const { xid, changes, heartbeat, foreign, activates } = transaction;
      const commitMicros = transaction.stampMicros ?? 0n;
      this.wal.push({ lsn, endLsn: lsn + 4n, xid, commitMicros, changes, heartbeat, foreign, activates });
    }
  }

  becomeVisible(transaction: Transaction): void {
    if (transaction.ended) return;
    invariant(transaction.state === 'committing', 'a transaction is in the WAL before it is visible');
    // What is shown between two commits of the lane is not told apart from them, so neither of them is lost then.
    if (transaction.kind.local) this.flush();
    const writes: RowWrite[] = [];
    for (const slot of transaction.slots) {
      if (slot.holder !== transaction || slot.pending === undefined) continue;
      writes.push({ slot, before: slot.tuple, after: slot.pending });
      slot.tuple = slot.pending;
    }
    this.unflushed?.shows(transaction, writes);
    this.onVisible(transaction, writes);
    this.#finish(transaction, 'visible');
  }

  /** Everything that is in the WAL is on disk, as it is with every commit of users. */
  flush(): void {
    this.unflushed?.clear();
    this.#flushedTo = { lsn: this.#lsn, xid: this.#xid };
  }

  get walEnds(): { readonly inserted: bigint; readonly flushed: bigint } {
    return { inserted: this.#lsn, flushed: this.#unflushedCount === 0 ? this.#lsn : this.#flushedTo.lsn };
  }

  get #unflushedCount(): number {
    return this.unflushed?.count ?? 0;
  }

  /** Nothing is between its commit record and its visibility. */
  get isQuiet(): boolean {
    return [...this.open].every(({ state }) => state !== 'committing');
  }

  /**
   * The disk as it is now, to come back to once the server is down. What comes after it gets the same positions and
   * transaction ids again, unless `skips` says by how many positions it goes on.
   */
  snapshot(): (skips: number) => void {
    invariant(this.isQuiet, 'what is committed is visible');
    this.flush();
    const tables = [...this.tables.values()].map((table) => {
      return { table, tuples: new Map([...table.slots].map(([key, { tuple }]) => [key, tuple])) };
    });
    const transactions = [...this.#transactions];
    const [wal, lsn, xid] = [[...this.wal], this.#lsn, this.#xid];
    const open = new Set(this.open);
    return (skips) => {
      for (const { table, tuples } of tables) {
        for (const [key, slot] of table.slots) slot.tuple = tuples.get(key) ?? null;
      }
      this.#transactions.clear();
      for (const [id, transaction] of transactions) if (!open.has(transaction)) this.#transactions.set(id, transaction);
      this.#lsn = lsn + 8n * BigInt(skips);
      this.#xid = xid;
      this.wal.splice(0, this.wal.length, ...wal);
      this.flush();
    };
  }

  /**
   * Stops the server at once and starts it again: what reached the WAL is there, everything else is not. Of what is not
   * flushed, the last are lost, as many as `lost` says.
   */
  crash(lost: (unflushed: number) => number = () => 0): void {
    this.generation += 1;
    const cut = [...this.open];
    // What they would undo comes after all that is lost.
    for (const transaction of cut) if (transaction.state === 'open') this.abort(transaction);
    this.#lose(lost(this.#unflushedCount));
    for (const transaction of cut) {
      if (transaction.state === 'committing') this.becomeVisible(transaction);
      transaction.expire?.(sqlError('57P02', 'terminating connection because of a crash'));
    }
  }

  /** What comes after a loss gets the same positions and transaction ids again. */
  #lose(count: number): void {
    const kept = this.unflushed?.lose(count, (transaction) => this.abort(transaction)) ?? [];
    if (count > 0) {
      for (const [xid, { state, lsn }] of this.#transactions)
        if (state === 'aborted' && lsn !== null) this.#transactions.delete(xid);
      this.#lsn = kept.reduce((most, { lsn }) => (lsn !== null && lsn > most ? lsn : most), this.#flushedTo.lsn);
      this.#xid = Math.max(this.#flushedTo.xid, ...kept.map(({ xid }) => xid));
    }
    this.flush();
  }

  #finish(transaction: Transaction, state: 'visible' | 'aborted'): void {
    transaction.state = state;
    this.unflushed?.ends(transaction);
    for (const table of transaction.tables) if (table.exclusive === transaction) table.exclusive = null;
    for (const slot of transaction.slots) {
      slot.sharers.delete(transaction);
      if (slot.holder !== transaction) continue;
      slot.holder = null;
      slot.pending = undefined;
    }
    this.open.delete(transaction);
    transaction.wake();
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

/** Whether two rows have the same value in a unique column. */
export function claimsSame(one: Image | undefined, other: Image): boolean {
  return one !== undefined && UNIQUE_COLUMNS.some((column) => one[column] != null && one[column] === other[column]);
}

function blockerOf(slot: Slot, transaction: Transaction, strength: LockStrength): Transaction | null {
  const { holder } = slot;
  const goesBeside = strength === 'share' && slot.strength === 'write';
  if (holder !== null && holder !== transaction && !goesBeside) return holder;
  if (strength === 'key') for (const sharer of slot.sharers) if (sharer !== transaction) return sharer;
  return null;
}
