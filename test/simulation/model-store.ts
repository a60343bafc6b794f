/**
 * Our own tables in the modelled database; they outlive an agent.
 *
 * Writes take effect at once and are undone with their transaction. That is as good as a snapshot here, because one
 * connection alone reads and writes these tables, one transaction at a time.
 */

import type {
  ConflictEntry,
  ConflictHorizon,
  ExactVersion,
  KeptMerge,
  Mark,
  MergeKey,
  ParkedRow,
  QuarantineEntry,
  RipeLook,
  RowKey,
  ShadowEntry,
  TableShape,
  Tombstone,
  Tuple,
} from '../../src/apply/apply-port.ts';
import { higherTombstone } from '../../src/apply/decide.ts';
import { type Hlc, hlcFromMicros } from '../../src/change/hlc.ts';
import type { NoteRow } from '../../src/clock/note-store.ts';
import type { OwnHistory } from '../../src/clock/own-history.ts';
import type { TransferHold } from '../../src/transfer/transfer-steps.ts';
import type { Transaction } from './model-transaction.ts';

/** Exact versions of what one transaction wrote, by row. */
export type KeptVersions = { readonly stampMicros: bigint; readonly byRow: Map<string, ExactVersion> };
/** `lsn` is above the commits of all transactions of the lane before it. */
export type Author = { readonly origin: string; readonly stampMicros: bigint; readonly lsn: bigint };
/** Whose a transaction's tuples are, and what they say of their time. */
export type Written = Pick<Tuple, 'writer' | 'local' | 'foreign' | 'stampMicros'>;

export type KeptLook = Omit<RipeLook, 'snapshot'> & { readonly waitsFor: readonly Transaction[] };

/** Stamps of one microsecond differ by no more. */
const COUNTERS = 1023n;

/** The name of every region's first epoch. */
export const EPOCH = '0000000000000000001';
export type KeptParked = ParkedRow & { readonly schema: string; readonly table: string };

export type KeptMergeRow = KeptMerge & MergeKey & { readonly visit_at: bigint | null };

/** `xid` is that of the batch that left it. */
type ModelNote = NoteRow & { readonly xid: number };

export class ModelStore {
  ownHistory: OwnHistory = { epoch: EPOCH, lineage: [], fork: null, after: null };
  readonly marks = new Map<string, Mark>();
  readonly notes: ModelNote[] = [];
  /** By xid. */
  readonly versions = new Map<number, KeptVersions>();
  /** By xid, what transactions without an origin were signed with. */
  readonly authors = new Map<number, Author>();
  /** By row; `tombstoneName` names the one of a table. */
  readonly tombstones = new Map<string, Tombstone>();
  readonly looks = new Map<string, KeptLook>();
  readonly conflicts = new Map<string, ConflictEntry>();
  conflictHorizon: ConflictHorizon | null = null;
  readonly quarantine = new Map<string, QuarantineEntry>();
  /** By row. */
  readonly parked = new Map<string, KeptParked>();
  /** Rows that merge, by row: `state` is null where only events are kept. */
  readonly merges = new Map<string, KeptMergeRow>();
  /** Conflicts that a version in shadow is to be asked about, by row and event. */
  readonly shadows = new Map<string, ShadowEntry>();
  /** By the id of a table that is being told of: exact versions of tuples stamped above it are kept. */
  readonly holds = new Map<string, TransferHold & { readonly above: Hlc }>();
  /** Of the late table, which transactions had ended when it was sealed, and up to which key it is told. */
  transfer: { readonly sealed: ReadonlySet<number>; readonly told: string } = { sealed: new Set(), told: '' };
  #lookIds = 0;

  /**
   * Whether the version of a parked row lies between those of a batch in its table and the batch's stamp: then only exact
   * versions tell which of them are above it.
   */
  straddlesParked(versions: KeptVersions): boolean {
    return [...this.parked.values()].some((parked) => straddles(versions, parked, parked.hlc));
  }

  /** The same of one that an event of the quarantine is to be compared with. */
  straddlesQuarantined(versions: KeptVersions): boolean {
    return [...this.quarantine.values()].some(({ schema_name, table_name, hlc }) =>
      straddles(versions, { schema: schema_name, table: table_name }, hlc),
    );
  }

  /** The same of a row that is to be put back. */
  straddlesPutBack(versions: KeptVersions): boolean {
    return [...this.looks.values()].some(
      ({ restores, table, version }) => restores !== null && straddles(versions, table, version.hlc),
    );
  }

  /** What the tuples of a transaction in this region tell. */
  written({ xid, kind, foreign, stampMicros, isFromBefore }: Transaction, region: string): Written {
    const author = kind.isSigned === true ? this.authors.get(xid) : undefined;
    if (author !== undefined)
      return { writer: author.origin, local: false, foreign: false, stampMicros: author.stampMicros };
    const isLocal = kind.local || kind.isSigned === true;
    return {
      writer: isLocal ? region : kind.writer,
      local: isLocal,
      foreign: foreign && !isFromBefore,
      stampMicros: isFromBefore ? null : stampMicros,
    };
  }

  /** Forgets signatures whose tuples may count as local writes of their commit times; `PRUNE_AUTHORS` tells why each condition is there. */
  pruneAuthors(stable: Hlc, echoedLsn: bigint, commitMicros: (xid: number) => bigint | null): void {
    if (this.holds.size > 0) return;
    let newest = 0;
    for (const [xid, { lsn }] of this.authors) if (lsn <= echoedLsn && xid > newest) newest = xid;
    for (const { xid, lsn } of this.notes) if (lsn <= echoedLsn && xid > newest) newest = xid;
    const waiting = [
      ...[...this.parked.values()].map(({ hlc }) => hlc),
      ...[...this.looks.values()].flatMap(({ restores, version }) => (restores === null ? [] : [version.hlc])),
      ...[...this.quarantine.values()].map(({ hlc }) => hlc),
    ];
    for (const [xid, { stampMicros }] of this.authors) {
      const [stamp, committed] = [hlcFromMicros(stampMicros), hlcFromMicros(commitMicros(xid) ?? 0n)];
      const [low, high] = stamp < committed ? [stamp, committed] : [committed, stamp];
      const isKept =
        committed > stable ||
        stamp > stable ||
        xid >= newest ||
        this.versions.has(xid) ||
        waiting.some((hlc) => hlc >= low && hlc <= high + COUNTERS);
      if (!isKept) this.authors.delete(xid);
    }
  }

  /** The highest tombstone of a row or its table. */
  removalOver(row: string): Tombstone | undefined {
    const ofTable = this.tombstones.get(row.slice(0, row.indexOf(' ') + 1));
    return higherTombstone(this.tombstones.get(row), ofTable);
  }

  /** Whether anything is kept of a table that is not merely what it holds. */
  keepsTable(table: string): boolean {
    const { id } = modelShape('public', table);
    return this.holds.has(id) || [...this.tombstones.keys()].some((row) => row.startsWith(`${id} `));
  }

  nextLookId(): string {
    this.#lookIds += 1;
    return String(this.#lookIds);
  }

  /** As it is now, to come back to; nothing in it may be uncommitted. */
  snapshot(): () => void {
    const { conflictHorizon, ownHistory, transfer } = this;
    const maps = [
      this.marks,
      this.versions,
      this.authors,
      this.tombstones,
      this.looks,
      this.conflicts,
      this.quarantine,
      this.parked,
      this.merges,
      this.shadows,
      this.holds,
    ];
    const copies = maps.map((map) => [...(map as Map<unknown, unknown>)]);
    const notes = [...this.notes];
    return () => {
      this.ownHistory = ownHistory;
      this.conflictHorizon = conflictHorizon;
      this.transfer = transfer;
      for (const [place, map] of maps.entries()) {
        map.clear();
        for (const [key, value] of copies[place] ?? []) (map as Map<unknown, unknown>).set(key, value);
      }
      // Whatever was in progress then has ended with the server.
      for (const [id, look] of this.looks) this.looks.set(id, { ...look, waitsFor: [] });
      this.notes.splice(0, this.notes.length, ...notes);
    };
  }

  /** The newest note below the place, and up to `limit` others behind it. */
  notesAround(lsn: bigint, limit: number): NoteRow[] {
    const behind = this.notes.filter((note) => note.lsn >= lsn);
    return [...this.notes.filter((note) => note.lsn < lsn).slice(-1), ...behind.slice(0, limit)];
  }

  addNote(note: ModelNote, transaction: Transaction): void {
    this.notes.push(note);
    transaction.willUndo(() => void this.notes.splice(this.notes.indexOf(note), 1));
  }
}

/** Sets an entry, or removes it, as part of a transaction. */
export function write<K, V>(map: Map<K, V>, key: K, value: V | undefined, transaction: Transaction): void {
  const former = map.get(key);
  if (value === undefined) map.delete(key);
  else map.set(key, value);
  transaction.willUndo(() => {
    if (former === undefined) map.delete(key);
    else map.set(key, former);
  });
}

export function rowName(shape: { readonly id: string }, key: RowKey): string {
  return `${shape.id} ${key}`;
}

/** The table with two unique columns; all others have the first of them. */
export const CLAIMS = 'claims';

/** The table whose rows merge. */
export const MERGED = 'merged';

/** The table that is published in mid-run, and the one of what regions say of it. */
export const LATE = 'late';
export const SAID = 'said';

/** The columns that are unique, each by itself. */
export const UNIQUE_COLUMNS = ['u', 'w'] as const;

export function modelShape(schema: string, table: string): TableShape {
  if (table === MERGED || table === LATE || table === SAID) {
    const columns = table === MERGED ? ['id', 'v', 'n', 's', 'm'] : ['id', 'v'];
    const id = `"${schema}"."${table}"`;
    return { id, schema, table, key: ['id'], columns, keyNeedsDatabase: false, hasClaims: false };
  }
  return {
    id: `"${schema}"."${table}"`,
    schema,
    table,
    key: ['id'],
    columns: table === CLAIMS ? ['id', 'v', ...UNIQUE_COLUMNS] : ['id', 'v', 'u'],
    keyNeedsDatabase: false,
    hasClaims: true,
  };
}

function straddles(
  { stampMicros, byRow }: KeptVersions,
  { schema, table }: { readonly schema: string; readonly table: string },
  hlc: Hlc,
): boolean {
  const prefix = rowName(modelShape(schema, table), '');
  const isBelow = [...byRow].some(([row, exact]) => row.startsWith(prefix) && exact.hlc <= hlc);
  return isBelow && hlc <= hlcFromMicros(stampMicros);
}
