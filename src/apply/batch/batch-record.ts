/**
 * What is to be kept of a batch beside its rows: exact versions of what it wrote, because the transaction's commit
 * timestamp is only the largest of the batch; tombstones of what it removed; and intents to look again. It is gathered
 * while the batch is written and sent at its end, so that only the last word on a row is.
 *
 * Of a giant transaction it is sent piece by piece, within the one transaction of the database, so that memory is bounded
 * whatever its size. Of a row that several pieces tell of, the last one speaks there too. Only intents to put a row back wait
 * for the end, since a later removal takes them away.
 */
import type { ChangeEvent, Image } from '../../change/change-event.ts';
import { eventId } from '../../change/event-id.ts';
import type { Hlc } from '../../change/hlc.ts';
import type { Version } from '../../change/version.ts';
import {
  type ApplyTransaction,
  type ConflictEntry,
  EVERY_ROW,
  type LookAgain,
  type RowKey,
  type SupersedingRow,
  type TableShape,
  type VersionEntry,
} from '../apply-port.ts';
import { PackedRows } from '../history/packed-rows.ts';
import type { ChainLink } from '../net-change.ts';

/** `index` is the event's place in its transaction. */
type Entry = VersionEntry & { readonly index?: number };

/** A row of this region that was taken, or has to wait, though it may be above what is there. */
export type RowToPutBack = Pick<LookAgain, 'key' | 'pk' | 'version'> & { readonly event: ChangeEvent };

type TableRecord = {
  readonly shape: TableShape;
  /** By row; the last entry speaks, where an exact replay writes a row more than once. */
  readonly versions: Map<RowKey, Entry>;
  readonly tombstones: Map<RowKey, VersionEntry>;
  readonly rows: Map<RowKey, ChainLink>;
  /** Of a giant, the index of the event that wrote each row of an earlier piece, where rows may have to make room. */
  readonly sent: PackedRows;
};

export class BatchRecord {
  readonly #transaction: ApplyTransaction;
  readonly #isMerging: (shape: TableShape) => boolean;
  readonly #origin: string;
  readonly #tables = new Map<string, TableRecord>();
  #looks: LookAgain[] = [];
  /** Rows to be put back, by table. */
  readonly #restores = new Map<string, Map<RowKey, LookAgain>>();
  #written = 0;
  /** What is sent piece by piece. */
  #giant: Pick<VersionEntry, 'hlc' | 'position'> | null = null;

  /** `isMerging` tells where each event counts, whatever comes behind it. */
  constructor(transaction: ApplyTransaction, origin: string, isMerging: (shape: TableShape) => boolean) {
    this.#isMerging = isMerging;
    this.#transaction = transaction;
    this.#origin = origin;
  }

  /** The tables that the batch touched. */
  get shapes(): readonly TableShape[] {
    return [...this.#tables.values()].map((record) => record.shape);
  }

  /** Rows changed, for metrics. */
  get written(): number {
    return this.#written;
  }

  /** The version under which the batch wrote a row. */
  version(shape: TableShape, key: RowKey): VersionEntry | undefined {
    const record = this.#tables.get(shape.id);
    const entry = record?.versions.get(key);
    if (entry !== undefined || this.#giant === null) return entry;
    const index = record?.sent.get(key);
    if (index === undefined) return undefined;
    const { hlc, position } = this.#giant;
    return { key, hlc, position, event_id: eventId(hlc, this.#origin, position, index) };
  }

  wrote(shape: TableShape, key: RowKey, link: ChainLink): void {
    const record = this.#table(shape);
    record.versions.set(key, entryOf(key, link));
    record.rows.set(key, link);
    this.#restores.get(shape.id)?.delete(key);
    this.#written += 1;
  }

  parked(shape: TableShape, key: RowKey, link: ChainLink): void {
    this.#table(shape).rows.set(key, link);
    this.#restores.get(shape.id)?.delete(key);
    this.#written += 1;
  }

  /** A row came back that an earlier batch had written. */
  cameBack(shape: TableShape, entry: VersionEntry): void {
    this.#table(shape).versions.set(entry.key, entry);
  }

  buried(shape: TableShape, key: RowKey, link: ChainLink): void {
    const record = this.#table(shape);
    if (key === EVERY_ROW) this.#restores.delete(shape.id);
    else this.#restores.get(shape.id)?.delete(key);
    record.tombstones.set(key, entryOf(key, link));
    record.rows.set(key, link);
    this.#written += 1;
  }

  /**
   * A removal that finds no row may be early: the row can be committed and published but not yet visible here. The
   * tombstone stands against it, and the lane looks again once everything in progress now has ended.
   */
  lookAgain(shape: TableShape, key: RowKey, pk: Image, hlc: Hlc): void {
    this.#looks.push(lookAt(shape, key, pk, { hlc, origin: this.#origin }, null));
  }

  /** Leaves the intent to put the row back, which whatever becomes of it behind that in the batch takes away again. */
  putBack(shape: TableShape, { key, pk, version, event }: RowToPutBack): void {
    const rows = this.#restores.get(shape.id) ?? new Map<RowKey, LookAgain>();
    this.#restores.set(shape.id, rows);
    rows.set(key, lookAt(shape, key, pk, version, event));
  }

  /** Sends it all, with the conflicts; `quarantined` tells which rows of a table have events in the quarantine. */
  async send(
    quarantined: (shape: TableShape) => ReadonlySet<RowKey>,
    conflicts: readonly ConflictEntry[],
  ): Promise<void> {
    const restores = [...this.#restores.values()].flatMap((rows) => [...rows.values()]);
    this.#restores.clear();
    await this.#send(quarantined, conflicts, restores);
  }

  /** The same of a piece of that giant transaction, of which there is more to come. */
  async sendPiece(
    giant: Pick<VersionEntry, 'hlc' | 'position'>,
    quarantined: (shape: TableShape) => ReadonlySet<RowKey>,
    conflicts: readonly ConflictEntry[],
  ): Promise<void> {
    this.#giant = giant;
    await this.#send(quarantined, conflicts, []);
  }

  async #send(
    quarantined: (shape: TableShape) => ReadonlySet<RowKey>,
    conflicts: readonly ConflictEntry[],
    restores: readonly LookAgain[],
  ): Promise<void> {
    const transaction = this.#transaction;
    const sent: Promise<unknown>[] = [];
    for (const record of this.#tables.values()) {
      const { shape, versions, tombstones, rows } = record;
      if (versions.size > 0) sent.push(transaction.recordVersions(shape, [...versions.values()]));
      if (tombstones.size > 0) sent.push(transaction.putTombstones(shape, this.#origin, [...tombstones.values()]));
      const waiting = quarantined(shape);
      const superseding =
        waiting.size === 0
          ? []
          : [...rows].filter(([key]) => waiting.has(key)).map(([key, link]) => toSuperseding(key, link));
      if (superseding.length > 0)
        sent.push(transaction.supersedeQuarantine(shape, this.#origin, superseding, this.#isMerging(shape)));
      this.#clear(record);
    }
    const looks = [...this.#looks, ...restores];
    this.#looks = [];
    if (looks.length > 0) sent.push(transaction.putLooks(looks));
    if (conflicts.length > 0) sent.push(transaction.recordConflicts(conflicts));
    await Promise.all(sent);
  }

  #clear({ shape, versions, tombstones, rows, sent }: TableRecord): void {
    if (this.#giant !== null && shape.hasClaims)
      for (const { key, index } of versions.values()) if (index !== undefined) sent.set(key, index);
    versions.clear();
    tombstones.clear();
    rows.clear();
  }

  #table(shape: TableShape): TableRecord {
    let record = this.#tables.get(shape.id);
    if (record === undefined) {
      record = { shape, versions: new Map(), tombstones: new Map(), rows: new Map(), sent: new PackedRows() };
      this.#tables.set(shape.id, record);
    }
    return record;
  }
}

function toSuperseding(key: RowKey, { event, source, removes }: ChainLink): SupersedingRow {
  return { key, hlc: source.hlc, columns: removes ? null : Object.keys(event.after_image ?? {}) };
}

function entryOf(key: RowKey, { source, event }: ChainLink): Entry {
  const { event_id, transaction } = event;
  return { key, hlc: source.hlc, position: source.position, event_id, index: transaction.index };
}

function lookAt(
  { schema, table }: TableShape,
  key: RowKey,
  pk: Image,
  version: Version,
  restores: ChangeEvent | null,
): LookAgain {
  return { table: { schema, table }, key, pk, version, restores };
}
