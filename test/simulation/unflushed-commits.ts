/**
 * What a modelled server would lose if it crashed now: what the lane has committed since the WAL was flushed last. Users'
 * commits flush it. A crash takes back the last of these commits, and what stands behind the others is had back whole.
 */
import type { RowWrite } from './model-database.ts';
import type { Transaction } from './model-transaction.ts';

/** What of the disk is to be had back; each returns how to come back to it. */
export type Keeps = { readonly store: () => () => void; readonly truth: () => () => void };

/** A commit of the lane, or a statement by itself. */
type Unflushed = {
  /** null for a statement by itself. */
  readonly transaction: Transaction | null;
  readonly takeBackStore: () => void;
  /** Empty until it is visible. */
  writes: readonly RowWrite[];
  takeBackTruth: () => void;
};

export class UnflushedCommits {
  readonly #keeps: Keeps;
  /** In the WAL's order. */
  #unflushed: Unflushed[] = [];
  /** By the lane's open transaction, how to come back to what was there before it. */
  readonly #begun = new Map<Transaction, () => void>();

  constructor(keeps: Keeps) {
    this.#keeps = keeps;
  }

  get count(): number {
    return this.#unflushed.length;
  }

  begins(transaction: Transaction): void {
    this.#begun.set(transaction, this.#keeps.store());
  }

  ends(transaction: Transaction): void {
    this.#begun.delete(transaction);
  }

  /** Its commit is in the WAL. */
  commits(transaction: Transaction): void {
    const takeBackStore = this.#begun.get(transaction);
    if (takeBackStore !== undefined) this.#add(transaction, takeBackStore);
  }

  /** A transaction of one statement is about to begin. */
  alone(): void {
    this.#add(null, this.#keeps.store());
  }

  /** It is about to be seen, with these writes. */
  shows(transaction: Transaction, writes: readonly RowWrite[]): void {
    const unflushed = this.#unflushed.find((each) => each.transaction === transaction);
    if (unflushed === undefined) return;
    unflushed.takeBackTruth = this.#keeps.truth();
    unflushed.writes = writes;
  }

  clear(): void {
    this.#unflushed = [];
  }

  /** Takes back the last `count`, the last first; `abort` those that nobody has seen. Returns the transactions that remain. */
  lose(count: number, abort: (transaction: Transaction) => void): Transaction[] {
    const survivors = this.#unflushed.slice(0, this.#unflushed.length - count);
    const lost = this.#unflushed.slice(survivors.length).reverse();
    for (const { transaction, writes, takeBackStore, takeBackTruth } of lost) {
      if (transaction?.state === 'committing') {
        abort(transaction);
        continue;
      }
      for (const { slot, before } of writes.toReversed()) slot.tuple = before;
      takeBackTruth();
      takeBackStore();
      if (transaction !== null) transaction.state = 'aborted';
    }
    return survivors.flatMap(({ transaction }) => transaction ?? []);
  }

  #add(transaction: Transaction | null, takeBackStore: () => void): void {
    this.#unflushed.push({ transaction, takeBackStore, writes: [], takeBackTruth: () => {} });
  }
}
