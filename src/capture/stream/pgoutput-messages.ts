// What pgoutput (protocol version 1, text format, messages on) can say, as one tagged union.
//
// Values stay PostgreSQL's own text output: no type is interpreted on the way, so nothing can lose
// precision between two regions. NULL is null, and the empty string is ''. A value that was not
// sent because its TOAST pointer did not change is a symbol of its own: it is neither NULL nor any
// string, and code that forgets about it fails to compile instead of writing a wrong value.
//
// Row messages carry the relation as it was when the row was sent. A later Relation message with
// the same oid (after ALTER TABLE) makes a new object and leaves the earlier one as it is, so rows
// that wait in a buffer keep the shape that they were written with.

export const UNCHANGED_TOAST: unique symbol = Symbol('unchanged TOAST value');

/** One column of a tuple, in the order of the relation's columns. */
export type TupleColumn = string | null | typeof UNCHANGED_TOAST;

/** default (primary key), nothing, full, or a chosen unique index. */
export type ReplicaIdentity = 'd' | 'n' | 'f' | 'i';

export interface RelationColumn {
  readonly name: string;
  readonly typeOid: number;
  /** As in pg_attribute.atttypmod: -1 where the type takes no modifier. */
  readonly typeModifier: number;
  /** Part of the replica identity; with FULL every column is. */
  readonly key: boolean;
}

export interface BeginMessage {
  readonly kind: 'begin';
  /** Position of the commit record, which the commit message repeats as commitLsn. */
  readonly finalLsn: bigint;
  /** Unix microseconds. */
  readonly commitTimeMicros: bigint;
  readonly xid: number;
}

export interface CommitMessage {
  readonly kind: 'commit';
  readonly flags: number;
  readonly commitLsn: bigint;
  /** First byte after the commit record: confirming it means that the transaction is not sent again. */
  readonly endLsn: bigint;
  /** Unix microseconds. */
  readonly commitTimeMicros: bigint;
}

/** Precedes the changes of a transaction that was applied under a replication origin. */
export interface OriginMessage {
  readonly kind: 'origin';
  /** Position at the origin, as the applying session set it. */
  readonly commitLsn: bigint;
  readonly name: string;
}

export interface RelationMessage {
  readonly kind: 'relation';
  readonly oid: number;
  readonly schema: string;
  readonly table: string;
  readonly replicaIdentity: ReplicaIdentity;
  readonly columns: readonly RelationColumn[];
}

export interface TypeMessage {
  readonly kind: 'type';
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
}

export interface InsertMessage {
  readonly kind: 'insert';
  readonly relationOid: number;
  readonly relation: RelationMessage;
  readonly new: readonly TupleColumn[];
}

/**
 * `key` holds the old values of the identity's columns (the others are null) and is sent only when
 * one of them changed; `old` is the whole old row and is sent with REPLICA IDENTITY FULL.
 */
export interface UpdateMessage {
  readonly kind: 'update';
  readonly relationOid: number;
  readonly relation: RelationMessage;
  readonly key: readonly TupleColumn[] | undefined;
  readonly old: readonly TupleColumn[] | undefined;
  readonly new: readonly TupleColumn[];
}

/** Exactly one of `key` and `old` is there, as for an update. */
export interface DeleteMessage {
  readonly kind: 'delete';
  readonly relationOid: number;
  readonly relation: RelationMessage;
  readonly key: readonly TupleColumn[] | undefined;
  readonly old: readonly TupleColumn[] | undefined;
}

/** An insert, update or delete of which no more is known: it is too large to be taken in. */
export interface OversizedMessage {
  readonly kind: 'oversized';
  readonly relationOid: number;
  readonly relation: RelationMessage;
  readonly frameBytes: number;
}

export interface TruncateMessage {
  readonly kind: 'truncate';
  readonly relationOids: readonly number[];
  readonly relations: readonly RelationMessage[];
  readonly cascade: boolean;
  readonly restartIdentity: boolean;
}

/** What pg_logical_emit_message wrote. A transactional one stands between begin and commit. */
export interface LogicalMessage {
  readonly kind: 'message';
  readonly transactional: boolean;
  readonly lsn: bigint;
  readonly prefix: string;
  readonly content: Buffer;
}

export type PgoutputMessage =
  | BeginMessage
  | CommitMessage
  | OriginMessage
  | RelationMessage
  | TypeMessage
  | InsertMessage
  | UpdateMessage
  | DeleteMessage
  | OversizedMessage
  | TruncateMessage
  | LogicalMessage;
