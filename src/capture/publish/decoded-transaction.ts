/**
 * A transaction as the WAL tells it, handed on piece by piece: begin, its row changes in order, then the commit.
 *
 * The sink decides the pace. `change` is called for every row of the database, so it returns a promise only where the
 * caller has to wait for room; whoever drives a sink awaits what it returns before the next call.
 */
import type { ChangeEvent, Image, Operation } from '../../change/change-event.ts';
import type { KeyNature } from '../../change/key-nature.ts';
import type { Delays } from '../../change/stream-record.ts';

export type RowChange = {
  readonly schema: string;
  readonly table: string;
  readonly operation: Operation;
  /** Names of the key's columns, in index order. */
  readonly key: readonly string[];
  /** Set where equal keys may differ in their text (numeric, citext, …), so that text does not tell rows apart. */
  readonly looseKey?: true;
  /** With `looseKey`: how the text of each key column becomes canonical; null where that is not known. */
  readonly natures?: readonly (KeyNature | null)[];
  readonly before: Image | null;
  readonly after: Image | null;
  /** Set where an operator wrote it through the WAL, for a row that is in no table. */
  readonly operator?: true;
  /** Set where it is a row that is only told of, with its own version: as in the event. */
  readonly claim?: NonNullable<ChangeEvent['claim']>;
  /** As in the event. */
  readonly merge?: string;
  readonly merge_shadow?: string;
};

export type TransactionBegin = {
  readonly xid: number;
  /** Position of the commit record. */
  readonly lsn: bigint;
  /** The commit timestamp, Unix µs; of a transaction with another tool's origin it is what that tool said. */
  readonly commitMicros: bigint;
};

export type HeartbeatMessage = {
  readonly members: readonly string[];
  readonly delays_ms?: Delays;
  /** Whether the agent that wrote it takes in the registry of merge rules. */
  readonly merges?: boolean;
  /** Whether it knows rows that are told of. */
  readonly claims?: boolean;
};

export interface TransactionSink {
  begin(transaction: TransactionBegin): Promise<void>;
  /** Says, before its changes, that the transaction carries another tool's replication origin. */
  foreignOrigin(): void;
  change(change: RowChange): void | Promise<void>;
  heartbeat(heartbeat: HeartbeatMessage): void;
  /** `endLsn` is the first byte behind the commit record: confirming it means that this is not sent again. */
  commit(endLsn: bigint): Promise<void>;
}
