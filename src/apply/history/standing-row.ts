/** How a row stands before something is done about it: its tuple with its exact version, its tombstone, and what is parked. */
import type { Image } from '../../change/change-event.ts';
import { isAbove } from '../../change/version.ts';
import type { ApplyTransaction, ExactVersion, ParkedRow, RowKey, TableShape, Tombstone } from '../apply-port.ts';
import { type Current, tupleVersion } from '../decide.ts';
import type { Side } from './conflicts.ts';

export type StandingRow = {
  readonly current: Current;
  readonly exact: ExactVersion | undefined;
  readonly tombstone: Tombstone | undefined;
  readonly parked: ParkedRow | undefined;
};

export type KeyedRow = { readonly key: RowKey; readonly pk: Image };

/** Locks rows, and tells how they stand. */
export type Stand = (shape: TableShape, rows: readonly KeyedRow[]) => Promise<Map<RowKey, StandingRow>>;

export type FindParked = (shape: TableShape, keys: readonly RowKey[]) => Promise<Map<RowKey, ParkedRow>>;

export async function standingRows(
  transaction: ApplyTransaction,
  findParked: FindParked,
  shape: TableShape,
  rows: readonly KeyedRow[],
): Promise<Map<RowKey, StandingRow>> {
  const keys = rows.map((row) => row.key);
  const [tuples, tombstones, parked] = await Promise.all([
    transaction.inspect(shape, rows),
    transaction.tombstones(shape, keys),
    findParked(shape, keys),
  ]);
  const applied: { key: RowKey; xid: number }[] = [];
  for (const [key, tuple] of tuples) if (!tuple.local && !tuple.own) applied.push({ key, xid: tuple.xid });
  const exacts =
    applied.length === 0 ? new Map<RowKey, ExactVersion>() : await transaction.exactVersions(shape, applied);
  return new Map(
    rows.map(({ key }) => {
      const tuple = tuples.get(key);
      const exact = exacts.get(key);
      const current = tuple === undefined ? null : { tuple, version: tupleVersion(tuple, exact) };
      return [key, { current, exact, tombstone: tombstones.get(key), parked: parked.get(key) }];
    }),
  );
}

export type StandingSide = Side & { readonly position: ExactVersion['position'] | null };

/** The highest of what is there of a row, as a side of a conflict. */
export function standingSide(row: StandingRow): StandingSide | null {
  const { current, exact, tombstone, parked } = row;
  const isHighest =
    parked !== undefined &&
    (tombstone === undefined || isAbove(parked, tombstone)) &&
    (current === null || isAbove(parked, current.version));
  if (isHighest) {
    const version = { hlc: parked.hlc, origin: parked.origin };
    return { version, event_id: parked.event_id, image: parked.image, position: parked.position };
  }
  if (current !== null && (tombstone === undefined || isAbove(current.version, tombstone))) {
    return {
      version: current.version,
      event_id: exact?.event_id ?? null,
      image: current.tuple.image,
      position: exact?.position ?? null,
    };
  }
  if (tombstone === undefined) return null;
  const version = { hlc: tombstone.hlc, origin: tombstone.origin };
  return { version, event_id: tombstone.event_id, image: null, position: tombstone.position };
}
