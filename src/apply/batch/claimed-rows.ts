/**
 * Writes rows that a region tells of: rows that it has held since before all regions published their table, each under its own
 * version, which is far below the stamp of the transaction that brings it.
 *
 * All regions tell of what they had written, and the highest version of a row is what all end with (`claimTakes`). A row that
 * is absent here is inserted by one statement for many, held off by a tombstone as any older write is; every other row is locked
 * and looked at. Its exact version is kept, and not pruned before every region has told of all of its rows: the tuple's commit
 * timestamp is that of now.
 *
 * No table with a unique index beside its key is told of, but one may be made meanwhile. Then a row may have to be parked, so all
 * are looked at, each in its turn.
 */
import { hlcFromText } from '../../change/hlc.ts';
import { fail } from '../../platform/errors.ts';
import type { Guard, TableShape } from '../apply-port.ts';
import { claimTakes, isParkedAbove } from '../decide.ts';
import type { RowOp } from '../net-change.ts';
import type { BatchWriter } from './batch-writer.ts';
import { RACES_MAX } from './row-placer.ts';

export type ClaimWriters = {
  readonly self: string;
  readonly origin: string;
  readonly members: readonly string[];
};

/** `ops` have the versions of their rows for stamps. */
export async function writeClaims(
  writer: BatchWriter,
  writers: ClaimWriters,
  shape: TableShape,
  ops: readonly RowOp[],
): Promise<void> {
  const sorted = [...ops].sort((a, b) => (a.key < b.key ? -1 : 1));
  if (writer.rows.asks(shape)) for (const op of sorted) await decideTogether(writer, writers, shape, [op]);
  else {
    const left = await insertAbsent(writer, writers, shape, sorted);
    await decideTogether(writer, writers, shape, left);
  }
}

/** Returns the rows that are there, or have been removed. */
async function insertAbsent(
  writer: BatchWriter,
  { origin, members }: Pick<ClaimWriters, 'origin' | 'members'>,
  shape: TableShape,
  sorted: readonly RowOp[],
): Promise<RowOp[]> {
  const none: Guard = Object.fromEntries(members.map((member) => [member, 'never']));
  const rows = sorted.map(({ key, pk, image, last }) => ({ key, pk, image: image ?? {}, hlc: last.source.hlc }));
  const left = new Set(await writer.transaction.upsert(shape, rows, origin, none));
  for (const [place, op] of sorted.entries()) if (!left.has(place)) writer.kept.wrote(shape, op.key, op.last);
  return sorted.filter((_, place) => left.has(place));
}

async function decideTogether(
  writer: BatchWriter,
  writers: ClaimWriters,
  shape: TableShape,
  ops: readonly RowOp[],
): Promise<void> {
  let open = ops;
  for (let races = 0; open.length > 0; races += 1) {
    if (races === RACES_MAX) {
      throw fail('SYN-A008', `rows of ${shape.id} changed ${RACES_MAX} times while they were looked at`);
    }
    open = await settle(writer, writers, shape, open);
  }
}

/** Decides about rows that are locked; returns those that a user has inserted meanwhile. */
async function settle(
  writer: BatchWriter,
  { self, origin, members }: ClaimWriters,
  shape: TableShape,
  ops: readonly RowOp[],
): Promise<RowOp[]> {
  const standing = await writer.stand(shape, ops);
  const raced: RowOp[] = [];
  await Promise.all(
    ops.map(async (op) => {
      const row = standing.get(op.key);
      const { claim } = op.last.event;
      if (row === undefined || claim === undefined) return;
      const version = { hlc: op.last.source.hlc, origin };
      if (isParkedAbove(row.parked, version) || !claimTakes({ self, members }, row, version, hlcFromText(claim.since)))
        return;
      if ((await writer.rows.place(shape, op, row)) === 'raced') raced.push(op);
    }),
  );
  return raced;
}
