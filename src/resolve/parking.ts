/**
 * Which rows are parked: two rows that claim one value of a secondary unique key cannot both be in the table.
 *
 * Going down by version, a row is visible unless a visible one above it conflicts with it by an index's own rule. So what
 * is parked follows from the rows' versions alone, and not from the order in which they arrived. Reference semantics, and
 * the oracle of the simulation. Apply reaches the same set step by step, because there is only one set of rows in which no
 * two conflict and everything left out has a higher one inside that it conflicts with.
 *
 * Two transactions of one region that come behind the same later stamp have one version, and their rows may conflict where an
 * event of another region freed a value in between. So the key makes the order total: the lower one is above.
 */
import { compareVersions, type Version } from '../change/version.ts';

export type ClaimingRow = { readonly key: string; readonly version: Version };

export type Parting<Row> = { readonly visible: readonly Row[]; readonly parked: readonly Row[] };

/** Parts the rows of one table, each with its key, into those that the table holds and those that are parked. */
export function partRows<Row extends ClaimingRow>(
  rows: readonly Row[],
  conflict: (a: Row, b: Row) => boolean,
): Parting<Row> {
  const visible: Row[] = [];
  const parked: Row[] = [];
  for (const row of [...rows].sort(downwards)) {
    (visible.some((above) => conflict(above, row)) ? parked : visible).push(row);
  }
  return { visible, parked };
}

/** The order in which rows take their places: the highest version first. */
export function downwards(a: ClaimingRow, b: ClaimingRow): number {
  return compareVersions(b.version, a.version) || (a.key < b.key ? -1 : 1);
}
