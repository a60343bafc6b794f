/**
 * What apply asks of a region's database, statement by statement.
 *
 * Two implementations stand behind it: SQL (`sql-apply-port.ts`) and the simulation's model of PostgreSQL. They share
 * one contract suite, run on real servers with real interleavings, because the central decision of the whole system is
 * one SQL statement: a model that differed from it would prove nothing.
 *
 * All calls of one transaction are issued by the lane in turn; calls whose results do not depend on each other may be
 * issued without awaiting the earlier ones (SQL sends them in one pipeline). A failed call fails the transaction.
 */
import type { ChangeEvent, Image } from '../change/change-event.ts';
import type { Hlc } from '../change/hlc.ts';
import type { Position, Seen } from '../change/position.ts';
import type { Version } from '../change/version.ts';
import type { OwnHistory } from '../clock/own-history.ts';
import type { Validity } from '../resolve/known-merges.ts';
import type { Kept, Moment } from './rest-watch.ts';

/** The canonical text of a row's key within its table: equal texts are equal rows by the key index's own rule. */
export type RowKey = string;

/** Stands for every row of a table: the key of a TRUNCATE's tombstone. */
export const EVERY_ROW: RowKey = '';

/** A table as the target's catalog has it now. */
export type TableShape = {
  /** Schema-qualified and quoted: `"public"."orders"`. Names the table in all of our own tables. */
  readonly id: string;
  readonly schema: string;
  readonly table: string;
  /** Key columns in index order. */
  readonly key: readonly string[];
  /** Columns that can be written (no generated ones). */
  readonly columns: readonly string[];
  /** Whether only the database can tell which key texts are equal (numeric, citext, …): see `canonicalKeys`. */
  readonly keyNeedsDatabase: boolean;
  /** Whether rows can conflict by anything but their key: a secondary unique index, an exclusion constraint. */
  readonly hasClaims: boolean;
};

/**
 * Which existing tuples a statement may replace without looking closer, by who wrote the tuple.
 * `always`: an earlier event of the same stream. A number (Unix µs): the tuple's stamp is below the event's and not
 * above that number, so the event's origin had seen it. `never`: not by this statement.
 */
export type GuardRule = 'always' | 'never' | bigint;
/** Rules by writing region; the region itself stands for local writes. A writer without a rule is `never`. */
export type Guard = { readonly [writer: string]: GuardRule };

export type UpsertRow = {
  readonly key: RowKey;
  readonly pk: Image;
  readonly image: Image;
  readonly hlc: Hlc;
  /** Set where the row was new at its origin, and so most likely is here: it says what to try first, and decides nothing. */
  readonly isNew?: boolean;
};
export type RemoveRow = { readonly key: RowKey; readonly pk: Image; readonly hlc: Hlc };
/** `kept`: a tuple is there that the guard does not admit. */
export type RemoveOutcome = 'removed' | 'absent' | 'kept';

/** A row as it stands, locked by the transaction that looked. */
export type Tuple = {
  /** xmin, 32 bits. */
  readonly xid: number;
  /**
   * Commit timestamp of xmin in Unix µs. Null where it says nothing: PostgreSQL has none any more, it is this
   * transaction's own, or a local one from before the region's stream began. Such a row is in no stream, and all regions
   * hold it: whatever any of them wrote since is above it, also where that was earlier by the clock.
   */
  readonly stampMicros: bigint | null;
  /** The region whose events the writing transaction applied; the region itself for local writes. */
  readonly writer: string;
  /** Whether it was written by a user of this region (or another tool), not by apply. */
  readonly local: boolean;
  /** Whether it is a local one that another tool wrote, so that its stamp tells nothing: see `decide.ts`. */
  readonly foreign: boolean;
  /** Whether this very transaction wrote it. */
  readonly own: boolean;
  /** Set where it is from after the stream began, and PostgreSQL no longer knows when it was written. */
  readonly forgotten?: true;
  readonly image: Image;
};

/** What is known exactly of an applied or deleted row while it is unstable. */
export type ExactVersion = { readonly hlc: Hlc; readonly position: Position; readonly event_id: string };
export type VersionEntry = ExactVersion & { readonly key: RowKey };
export type Tombstone = VersionEntry & {
  readonly origin: string;
  /** One transaction can have removed the row and emptied the table: the other event, of which the order is not known. */
  readonly also?: string;
};

/** A row as it is applied now: `columns` are those of its event's image, null for a removal. */
export type SupersedingRow = { readonly key: RowKey; readonly hlc: Hlc; readonly columns: readonly string[] | null };

/**
 * A row that is not in its table, because a visible one of a higher version conflicts with it by an index's own rule.
 * It has a version as a tuple has.
 */
export type ParkedRow = {
  readonly key: RowKey;
  readonly pk: Image;
  /** The whole row. */
  readonly image: Image;
  readonly hlc: Hlc;
  readonly origin: string;
  /** Where its event stands, and which it is; null where only the row's commit timestamp told its version. */
  readonly position: Position | null;
  readonly event_id: string | null;
  /** The row that it was last seen to be blocked by. */
  readonly blocker: RowKey;
};

/** The key of a parked row and its table. */
export type ParkedKey = { readonly schema: string; readonly table: string; readonly key: RowKey };

export type Mark = {
  readonly origin: string;
  readonly position: Position;
  readonly event_id: string;
  /** Where the origin's log is read from next. */
  readonly log_offset: number;
};

/**
 * A row, or a whole table, that must be looked at again once every transaction in progress at its note has ended: where a
 * removal found nothing, or a local write is gone that may not be.
 */
export type LookAgain = {
  readonly table: { readonly schema: string; readonly table: string };
  readonly key: RowKey;
  readonly pk: Image;
  readonly version: Version;
  /** The event to put back unless something newer speaks against it; null for a removal. */
  readonly restores: ChangeEvent | null;
};
export type RipeLook = LookAgain & {
  readonly look_id: string;
  /** Of the snapshot that found it: every transaction id below `xmin` has ended, and none at or above `xmax`. */
  readonly snapshot: { readonly xmin: bigint; readonly xmax: bigint };
};

export type ConflictEntry = {
  readonly conflict_id: string;
  /** The event that lost; null where its identity is no longer known (its version is). */
  readonly event_id_a: string | null;
  /** The event that won; null as above. */
  readonly event_id_b: string | null;
  readonly schema_name: string;
  readonly table_name: string;
  readonly row_pk: Image;
  readonly resolution_strategy: string;
  /** The version of the merge rule that the winner names; null for last writer wins. */
  readonly merge_version: string | null;
  readonly winner_event_id: string | null;
  readonly loser: Version;
  readonly winner: Version;
  readonly image_a: Image | null;
  readonly image_b: Image | null;
  readonly base_image: Image | null;
  readonly result_image: Image | null;
  /** Whether it may still change; a final record is equal in every region. */
  readonly provisional: boolean;
  /** Why it is not final: images that are yet to be read from the log, or events that were forgotten unsettled. */
  readonly provisional_reason: 'images' | 'forgotten' | null;
};

/** How far the conflict log is settled, and from where the streams are needed to go on after a restart. */
export type ConflictHorizon = {
  /** Losses of events stamped below it are settled. */
  readonly undecided_from: Hlc;
  /** Losses of events stamped below it may never be told: not all was remembered. */
  readonly lost_below: Hlc;
  /** Per origin, the offset from which its stream is read back. */
  readonly offsets: { readonly [origin: string]: number };
};

/** A record, with the events that it is to name. */
export type ConflictName = Pick<ConflictEntry, 'conflict_id' | 'event_id_a' | 'event_id_b'>;

export type QuarantineEntry = {
  readonly event_id: string;
  readonly origin: string;
  readonly schema_name: string;
  readonly table_name: string;
  readonly key: RowKey;
  readonly row_pk: Image;
  readonly hlc: Hlc;
  readonly position: Position;
  /** The whole ChangeEvent as JSON, so that a retry needs no log. */
  readonly event: string;
  readonly sqlstate: string;
  readonly error: string;
};

/** `commitMicros` is null where any commit timestamp will do. */
export type OwnCommit = { readonly xid: number; readonly commitMicros: bigint | null };
/** `pending`: in the WAL and not yet visible to new snapshots. `elsewhere`: this database has no such commit. */
export type OwnCommitState = 'visible' | 'pending' | 'elsewhere';

export type Note = {
  readonly origin: string;
  /** Marks of all remote origins, as this transaction leaves them. */
  readonly seen: Seen;
  /** The running maximum of all stamps applied. */
  readonly max_hlc: Hlc;
};

/** An event in the history of a row that merges; its rule is named, not held. */
export type HistoryEntry = {
  readonly version: Version;
  readonly position: Position;
  readonly index: number;
  readonly event_id: string;
  readonly seen: Seen;
  readonly before: Image | null;
  readonly after: Image | null;
  readonly merge: string | undefined;
  /** A version that is to be run beside it, without effect. */
  readonly merge_shadow?: string;
};

/** A conflict that a version in shadow is to be asked about: see `src/resolve/shadow.ts`. */
export type ShadowEntry = {
  readonly version_id: string;
  readonly pk: Image;
  /** As text, of the fold before the event. */
  readonly state: string;
  readonly event: HistoryEntry;
  readonly result: Image | null;
};

/** Events on one row, or on every one. */
export type RowHistory = { readonly key: RowKey; readonly entries: readonly HistoryEntry[] };

/** What is kept of a row that merges: see `merged-row.ts`. `state` is null where only events are. */
export type KeptMerge = { readonly state: string | null; readonly events: readonly HistoryEntry[] };

export type MergeEntry = {
  readonly key: RowKey;
  readonly pk: Image;
  /** The highest stamp of its events. */
  readonly hlc: Hlc;
  readonly state: string;
  /** Up to where the own stream must have come back before the row is to be looked at again; null where it need not be. */
  readonly visit_at: bigint | null;
};

/** What our own tables name a table by. */
export type TableName = Pick<TableShape, 'id' | 'schema' | 'table'>;

/** A row that merges, wherever it is. */
export type MergeKey = Pick<MergeEntry, 'key' | 'pk' | 'hlc'> & { readonly schema: string; readonly table: string };

export interface ApplyTransaction {
  /** Canonical texts of keys, for shapes with `keyNeedsDatabase`. */
  canonicalKeys(shape: TableShape, pks: readonly Image[]): Promise<RowKey[]>;
  /**
   * Insert or update by key where the guard admits the tuple that is there and no higher tombstone stands; race-free
   * against the foreground, because the guard is evaluated on the newest tuple under its lock. Keys are distinct.
   * Returns the places of the rows that were left untouched.
   */
  upsert(shape: TableShape, rows: readonly UpsertRow[], origin: string, guard: Guard): Promise<number[]>;
  /** Delete by key where the guard admits the tuple. Keys are distinct. */
  remove(shape: TableShape, rows: readonly RemoveRow[], guard: Guard): Promise<RemoveOutcome[]>;
  /**
   * Deletes every row that the guard admits for an event with this stamp. Returns the keys of rows left whose
   * version may still be below the event's: all but local ones stamped above it (of equal stamps the origins decide);
   * the stamp of a foreign one, and of one from before the stream began, does not count.
   */
  removeAll(
    shape: TableShape,
    hlc: Hlc,
    guard: Guard,
  ): Promise<{ removed: number; left: { key: RowKey; pk: Image }[] }>;
  /** Locks the rows with these keys and tells how they stand; absent rows are absent from the map. */
  inspect(shape: TableShape, rows: readonly { key: RowKey; pk: Image }[]): Promise<Map<RowKey, Tuple>>;
  /** Exact versions of tuples by (xid, key); absent once pruned, or where the tuple's own stamp is exact. */
  exactVersions(shape: TableShape, wanted: readonly { key: RowKey; xid: number }[]): Promise<Map<RowKey, ExactVersion>>;
  /** The highest tombstone that covers each key: its own or the table's. */
  tombstones(shape: TableShape, keys: readonly RowKey[]): Promise<Map<RowKey, Tombstone>>;
  /** Whether any row of the table is one whose time is forgotten. */
  hasForgotten(shape: TableShape): Promise<boolean>;
  /** Replaces a tuple that `inspect` locked. */
  overwrite(shape: TableShape, row: UpsertRow): Promise<void>;
  /** The same of several rows with distinct keys. */
  overwriteAll(shape: TableShape, rows: readonly UpsertRow[]): Promise<void>;
  /** Inserts where `inspect` found nothing; false when the foreground was quicker. */
  insert(shape: TableShape, row: UpsertRow): Promise<boolean>;
  /** Deletes a tuple that `inspect` locked. */
  erase(shape: TableShape, row: { key: RowKey; pk: Image }): Promise<void>;
  /**
   * The visible rows that each of these would conflict with by an index's own rule, itself apart: of the last write of this
   * transaction, and of what others have committed. They are not locked. Rows without any are absent from the map.
   */
  rivals(
    shape: TableShape,
    rows: readonly { key: RowKey; pk: Image; image: Image }[],
  ): Promise<Map<RowKey, { key: RowKey; pk: Image }[]>>;
  /** Parked rows by key. */
  parked(shape: TableShape, keys: readonly RowKey[]): Promise<Map<RowKey, ParkedRow>>;
  /** The parked rows of a table below that one, the highest first. */
  parkedBelow(shape: TableShape, above: ParkedRow | null, limit: number): Promise<ParkedRow[]>;
  /** Parks rows; one of a higher version that is parked under the same key stays. */
  putParked(shape: TableShape, rows: readonly ParkedRow[]): Promise<void>;
  dropParked(shape: TableShape, keys: readonly RowKey[]): Promise<void>;
  /** Drops the parked rows below that version, or also those of it; returns them. */
  dropParkedBelow(shape: TableShape, version: Version, inclusive: boolean): Promise<ParkedRow[]>;
  /** Leaves tombstones; a higher one that is there stays, and one of the same version makes way. */
  putTombstones(shape: TableShape, origin: string, entries: readonly VersionEntry[]): Promise<void>;
  /** Keeps the exact versions of what this transaction wrote. */
  recordVersions(shape: TableShape, entries: readonly VersionEntry[]): Promise<void>;
  /** Provisional records, one per losing event; the highest winner stays, and so does what is final. */
  recordConflicts(entries: readonly ConflictEntry[]): Promise<void>;
  recordQuarantine(entries: readonly QuarantineEntry[]): Promise<void>;
  /**
   * Takes entries of these rows off the quarantine list whose version is below the one applied now; `onlyResults` spares those that
   * are single events.
   */
  supersedeQuarantine(
    shape: TableShape,
    origin: string,
    rows: readonly SupersedingRow[],
    onlyResults: boolean,
  ): Promise<void>;
  /** Keys of this table that are on the quarantine list. */
  quarantinedKeys(shape: TableShape): Promise<Set<RowKey>>;
  /** A position of the WAL of now: local commits on rows that are locked by this transaction are below it. */
  walPosition(): Promise<bigint>;
  /** What is kept of these rows; `EVERY_ROW` stands for the events on all rows. Rows of which nothing is are absent. */
  merges(shape: TableShape, keys: readonly RowKey[]): Promise<Map<RowKey, KeptMerge>>;
  /** The rows of the table of which anything is kept. */
  mergeKeys(shape: TableShape): Promise<{ key: RowKey; pk: Image }[]>;
  addHistory(shape: TableShape, rows: readonly RowHistory[]): Promise<void>;
  putMerges(shape: TableShape, rows: readonly MergeEntry[]): Promise<void>;
  /** Drops events of rows up to a version; with `whole`, all that is kept of the row. */
  dropHistory(
    shape: TableName,
    rows: readonly { readonly key: RowKey; readonly upTo: Version; readonly whole: boolean }[],
  ): Promise<void>;
  /** Keeps conflicts for whoever asks versions in shadow about them; beyond a bound they are only counted. */
  putShadows(shape: TableShape, cases: readonly ShadowEntry[]): Promise<void>;
  /** Whether each image could be in the table: types, lengths, ranges, NOT NULL and CHECK. */
  areValid(
    shape: TableShape,
    rows: readonly { readonly image: Image; readonly validity: Validity }[],
  ): Promise<boolean[]>;
  putLooks(looks: readonly LookAgain[]): Promise<void>;
  removeLooks(lookIds: readonly string[]): Promise<void>;
  removeQuarantine(eventIds: readonly string[]): Promise<void>;
  /** Moves the mark from `expected` on; fails with SYN-A002 where it is not there: another agent applies. */
  advanceMark(expected: Position | null, mark: Mark): Promise<void>;
  /** Notes the batch at the WAL position of now; the last statement before the commit, under all of its locks. */
  note(note: Note): Promise<{ readonly xid: number; readonly lsn: bigint }>;
  /**
   * Resolves only if the transaction has really committed, though it need not be durable by then; with a place in the WAL at
   * or above the end of its commit.
   */
  commit(): Promise<bigint>;
  rollback(): Promise<void>;
}

/** Up to where, in the WAL, the slot was confirmed and the own stream has come back. */
export type PrunedTo = { readonly confirmedLsn: bigint; readonly echoedLsn: bigint };

export interface ApplyPort {
  /**
   * Opens a transaction whose tuples will show `stampMicros` and the origin, for as long as that matters. For the region's own name they
   * show that the echo wrote them. One that is `durable` is flushed once its commit is answered, for
   * what no log would deliver again.
   */
  begin(origin: string, stampMicros: bigint, durable?: 'durable'): Promise<ApplyTransaction>;
  /** The table as it is now; null where it does not exist or is not replicated here. */
  shape(schema: string, table: string): Promise<TableShape | null>;
  /** Forgets cached shapes, after a statement failed on the table's definition. */
  forgetShapes(): void;
  loadMarks(): Promise<Mark[]>;
  /** What the database's clock shows now, Unix µs: the one that stamps local commits. */
  clockMicros(): Promise<bigint>;
  /** How the database stands now; see `rest-watch.ts`. */
  moment(): Promise<Moment>;
  /** What is kept beside the rows of all tables. */
  kept(): Promise<Kept>;
  /** Where the WAL ends, and up to where it is durable. */
  walEnds(): Promise<{ readonly inserted: bigint; readonly flushed: bigint }>;
  /**
   * About when the last transaction committed of which PostgreSQL has forgotten the time, Unix µs; null while all that was
   * committed since the stream began is known.
   */
  forgottenTo(): Promise<bigint | null>;
  /** Rows that merge and are to be looked at again, as far as the own stream has come back up to that position. */
  mergesToVisit(echoedLsn: bigint, limit: number): Promise<MergeKey[]>;
  /** Rows that merge and have events stamped at or below it. */
  mergesToPrune(stable: Hlc, limit: number): Promise<MergeKey[]>;
  /** The parked rows of all tables. */
  parkedKeys(): Promise<ParkedKey[]>;
  /** Intents to look again whose transactions in progress have all ended. */
  ripeLooks(limit: number): Promise<RipeLook[]>;
  /**
   * How the commits that the own stream tells of stand in this database, which may be a copy of the one that made them: only
   * its commit timestamp tells a transaction from another one that has the same id in another history.
   */
  ownCommits(commits: readonly OwnCommit[]): Promise<OwnCommitState[]>;
  /** What of the own stream this database has made; null before its first start. */
  ownHistory(): Promise<OwnHistory | null>;
  /** Quarantined events by id. */
  quarantined(eventIds: readonly string[]): Promise<QuarantineEntry[]>;
  /** Makes provisional records final that name these events and are whole; returns the ids that are not final then. */
  finaliseConflicts(records: readonly ConflictName[]): Promise<string[]>;
  /** Records as they are, in the place of provisional ones. */
  putConflicts(entries: readonly ConflictEntry[]): Promise<void>;
  /**
   * Keeps the horizon. Provisional records of events below `undecided_from` turn out to be none and go, but for those
   * below `lost_below`, which stay with that reason.
   */
  settleConflicts(horizon: ConflictHorizon): Promise<void>;
  /** The horizon that was kept last; null where there is none. */
  conflictHorizon(): Promise<ConflictHorizon | null>;
  /**
   * Drops what is needed for unstable versions only: stamps at or below `stable`, notes behind `confirmedLsn`. Exact
   * versions of a batch stay while a row of its table is parked whose version lies between them and the batch's stamp:
   * without them the batch's rows would count as above it.
   */
  prune(stable: Hlc, to: PrunedTo, rowsMax: number): Promise<void>;
}
