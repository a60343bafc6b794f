/** A transaction of the modelled PostgreSQL: its ids, its undo log, and who waits for its end. */
import type { RowChange } from '../../src/capture/publish/decoded-transaction.ts';
import type { Image } from '../../src/change/change-event.ts';
import type { Position } from '../../src/change/position.ts';
import type { ModelTable, Slot } from './model-database.ts';

/** Asked before every statement and after every lock wait: where a scheduler interleaves sessions. */
export type Step = (what: string) => Promise<void>;

/** How a commit goes on between its WAL record and its visibility. */
export type CommitPause = () => Promise<void>;

export type ModelTuple = {
  readonly image: Image;
  readonly xid: number;
  readonly writer: Transaction;
  /** Shared by all versions of a row from its insertion to its deletion. */
  readonly birth: number;
};

/**
 * `writer` is the region whose events the transaction applies; the region itself for local ones. One that is signed has no
 * origin and the commit timestamp of any other: only what it left in `authors` tells whose it is.
 */
export type TransactionKind = {
  readonly writer: string;
  readonly local: boolean;
  readonly stampMicros: bigint | null;
  readonly isSigned?: boolean;
};

/** What an apply transaction says that it does: its batch's step of the mark, and whose events wrote which rows. */
export type Applies = {
  readonly origin: string;
  mark: { readonly from: Position | null; readonly to: Position } | null;
  /** Where its note stands in the WAL. */
  noteLsn: bigint | null;
  /** By `rowName`; a TRUNCATE's is that of the table. */
  readonly rows: Map<string, Position>;
  /** By `rowName`, what was parked and is no more. */
  readonly unparked: Set<string>;
};

export function sqlError(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}

export class Transaction {
  readonly xid: number;
  kind: TransactionKind;
  state: 'open' | 'committing' | 'visible' | 'aborted' = 'open';
  /** The commit timestamp: null until it is taken, and where PostgreSQL has it no more. */
  stampMicros: bigint | null;
  /** Where its commit record stands in the WAL. */
  lsn: bigint | null = null;
  /** The id that tuples get now: a subtransaction's after a savepoint. */
  currentXid: number;
  changes: RowChange[] = [];
  heartbeat: { members: readonly string[] } | null = null;
  /** The version of a merge rule that is active behind it; null where it says nothing of that. */
  activates: number | null = null;
  /** Whether it carries another tool's replication origin. */
  foreign = false;
  /** Whether it wrote to a table that is in no stream yet. */
  isUnpublished = false;
  /** Whether it was committed before the stream of its region began. */
  isFromBefore = false;
  /** Whether the server has lost its commit timestamp, and its replication origin with that. */
  isForgotten = false;
  /** null for a user's transaction. */
  applies: Applies | null = null;
  readonly savepoints: { name: string; undoTo: number; changesTo: number }[] = [];
  readonly tables = new Set<ModelTable>();
  /** Rows that it holds or shares, or once did. */
  readonly slots = new Set<Slot>();
  waitsFor: Transaction | null = null;
  /** Ends the current lock wait with an error. */
  expire: ((error: Error) => void) | null = null;
  #undo: (() => void)[] = [];
  #wakers: (() => void)[] = [];

  constructor(xid: number, kind: TransactionKind) {
    this.xid = xid;
    this.currentXid = xid;
    this.kind = kind;
    this.stampMicros = kind.isSigned === true ? null : kind.stampMicros;
  }

  get ended(): boolean {
    return this.state === 'visible' || this.state === 'aborted';
  }

  /** As pg_upgrade leaves it: by region `region`, some time before the stream began. */
  forget(region: string): void {
    this.isForgotten = true;
    this.isFromBefore = true;
    this.stampMicros = null;
    this.foreign = false;
    if (this.kind.isSigned !== true) this.kind = { writer: region, local: true, stampMicros: null };
  }

  /** How many changes can be undone now: what a savepoint remembers. */
  get undoDepth(): number {
    return this.#undo.length;
  }

  willUndo(undo: () => void): void {
    this.#undo.push(undo);
  }

  undoTo(depth: number): void {
    while (this.#undo.length > depth) this.#undo.pop()?.();
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
