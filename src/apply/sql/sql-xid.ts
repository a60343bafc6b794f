/**
 * Transaction ids: tuples and events carry the low 32 bits, which come round; PostgreSQL's 64-bit ids (xid8) do not.
 * A 32-bit id means the 64-bit one nearest to a recent one: PostgreSQL never lets two ids in use be further apart.
 */

/** A transaction id with its epoch, as xid8 has it. */
export type FullXid = bigint;

export function xidOf(full: FullXid): number {
  return Number(BigInt.asUintN(32, full));
}

export function fullXidNear(recent: FullXid, xid: number): FullXid {
  const near = recent + BigInt.asIntN(32, BigInt(xid) - recent);
  return near < 0n ? near + (1n << 32n) : near;
}
