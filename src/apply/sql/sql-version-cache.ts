/**
 * The exact versions of the newest committed batches, in memory: what a conflict asks about is mostly seconds old, and
 * the database would unpack a whole batch's arrays for one row.
 *
 * A batch is here whole or not at all, so a row that a batch here does not name has no exact version. The bound counts
 * rows, and a batch without any as one: echoes have none, and come for as long as the region is written to; the oldest batches go first. Only what has committed may enter: a rolled back batch's xid names no tuple.
 */
import { type Hlc, hlcFromMicros } from '../../change/hlc.ts';
import type { ExactVersion, RowKey, VersionEntry } from '../apply-port.ts';

/** A batch with more is not here. */
export const VERSIONS_AT_HAND_MAX = 50_000;

type Batch = {
  readonly stampMicros: bigint;
  readonly size: number;
  readonly entries: ReadonlyMap<string, readonly VersionEntry[]>;
  /** Made on the first question about a table: most batches are never asked about. */
  byKey: Map<string, Map<RowKey, ExactVersion>> | null;
};

export class SqlVersionCache {
  readonly #batches = new Map<number, Batch>();
  readonly #entriesMax: number;
  #size = 0;

  constructor(entriesMax = VERSIONS_AT_HAND_MAX) {
    this.#entriesMax = entriesMax;
  }

  /** Takes the entries of a committed batch, by table. */
  add(xid: number, stampMicros: bigint, entries: ReadonlyMap<string, readonly VersionEntry[]>): void {
    let rows = 0;
    for (const list of entries.values()) rows += list.length;
    const size = Math.max(1, rows);
    this.#batches.set(xid, { stampMicros, size, entries, byKey: null });
    this.#size += size;
    for (const [oldest, batch] of this.#batches) {
      if (this.#size <= this.#entriesMax) break;
      this.#drop(oldest, batch);
    }
  }

  /** The batch's exact versions on this table by key; undefined where the batch is not here. */
  find(xid: number, rel: string): ReadonlyMap<RowKey, ExactVersion> | undefined {
    const batch = this.#batches.get(xid);
    if (batch === undefined) return undefined;
    batch.byKey ??= new Map();
    let byKey = batch.byKey.get(rel);
    if (byKey === undefined) {
      byKey = new Map();
      for (const entry of batch.entries.get(rel) ?? []) keepHigher(byKey, entry.key, entry);
      batch.byKey.set(rel, byKey);
    }
    return byKey;
  }

  /** Drops batches whose tuples' stamps are stable, as the table drops them. */
  prune(stable: Hlc): void {
    for (const [xid, batch] of this.#batches) {
      if (hlcFromMicros(batch.stampMicros) <= stable) this.#drop(xid, batch);
    }
  }

  #drop(xid: number, batch: Batch): void {
    this.#batches.delete(xid);
    this.#size -= batch.size;
  }
}

/** A transaction that wrote a row twice never lowered its version: the higher one is the tuple's, of equal ones the later. */
export function keepHigher(versions: Map<RowKey, ExactVersion>, key: RowKey, version: ExactVersion): void {
  const known = versions.get(key);
  if (known === undefined || version.hlc >= known.hlc) versions.set(key, version);
}
