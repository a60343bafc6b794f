// What the contract suite of the apply port needs of a database, be it a real PostgreSQL or the
// simulation's model of one. There is one table, public.kv(id int primary key, v text, u text unique),
// and foreground sessions that write to it statement by statement, as users do.
//
// Nothing here is SQL: both implementations stand behind the same few verbs. Every verb is a promise
// that stays open while its statement waits for a lock, so a test issues one, sees that it is blocked,
// lets another session go on, and then awaits it.

import type { ApplyPort, ConflictEntry } from '../../src/apply/apply-port.ts';
import type { Hlc } from '../../src/change/hlc.ts';

export type KvRow = { readonly id: number; readonly v: string | null; readonly u: string | null };

/** Who wrote the tuple that a new snapshot sees, as the commit timestamps tell. */
export type KvTuple = {
  readonly xid: number;
  /** Unix µs; null where there is none any more. */
  readonly stampMicros: bigint | null;
  readonly writer: string;
  readonly local: boolean;
  /** Whether another tool wrote it. */
  readonly foreign: boolean;
};

/** A user's session. Outside of begin … commit each statement is a transaction of its own. */
export interface Foreground {
  begin(): Promise<void>;
  insert(row: KvRow): Promise<void>;
  /** Sets the columns given; resolves with the number of rows changed. */
  update(id: number, change: Partial<Omit<KvRow, 'id'>>): Promise<number>;
  /** Gives the row another key. */
  changeKey(id: number, to: number): Promise<number>;
  delete(id: number): Promise<number>;
  truncate(): Promise<void>;
  /** SELECT … FOR UPDATE, or FOR KEY SHARE as a foreign key's check does. */
  lock(id: number, strength: 'update' | 'key share'): Promise<void>;
  /** Makes the open transaction another tool's: it carries that tool's origin and this commit timestamp (Unix µs). */
  foreignOrigin(stampMicros: bigint): Promise<void>;
  savepoint(name: string): Promise<void>;
  rollbackTo(name: string): Promise<void>;
  commit(): Promise<void>;
  rollback(): Promise<void>;
  /** The id (32 bits) of the open transaction, which has written something. */
  xid(): Promise<number>;
}

export interface ApplyPortHarness extends AsyncDisposable {
  /** The region's own name: 'home'. The others that the suite uses are 'r1', 'r2' and 'r3'. */
  readonly region: string;
  readonly port: ApplyPort;
  foreground(): Promise<Foreground>;
  /** Committed rows by id. */
  rows(): Promise<KvRow[]>;
  /** The committed tuple of this row; null where there is none. */
  tuple(id: number): Promise<KvTuple | null>;
  /** Where the WAL ends now. */
  walPosition(): Promise<bigint>;
  /** The region's stream begins: what is committed is in none. */
  beginStream(): Promise<void>;
  /** The rows of `kv` are being told to others: versions stamped above it are compared with them. null: no more. */
  tellRows(above: Hlc | null): Promise<void>;
  /** Resolves once the port, or that session, is seen to wait for a lock. */
  blocked(who: 'port' | Foreground): Promise<void>;
  /** Ends the lock wait that the port is in, as its lock timeout does (a real server's does so by itself). */
  expireLockWait(): Promise<void>;
  /** What the conflict log holds, by conflict_id. */
  conflicts(): Promise<ConflictEntry[]>;
}

export type HarnessOptions = {
  /** Whether the port's lock waits last as long as a test needs, or run out within moments. */
  readonly lockWaits: 'long' | 'short';
  /** Whether UNSTAMPED_ROW is there from the start; else the table is empty. */
  readonly unstamped?: boolean;
  /** Whether the port signs its transactions, and writes under no replication origin. */
  readonly signs?: boolean;
};

/** A row whose commit timestamp the database no longer has. */
export const UNSTAMPED_ROW: KvRow = { id: 9, v: 'unstamped', u: null };

export type MakeHarness = (options: HarnessOptions) => Promise<ApplyPortHarness>;
