// How much WAL a region's server keeps back for its slot: what it costs the source when nobody takes its events.

import type { ClusterRegion } from './cluster.ts';

/** Lets the slot go on as far as it can: what it keeps moves on with records that the server writes now and then. */
export async function letSlotMove(region: ClusterRegion): Promise<void> {
  // Before PostgreSQL 16 only a checkpoint writes one when it is told to.
  const isOld = Number(await region.one('show server_version_num')) < 160_000;
  await region.sql(isOld ? 'checkpoint' : 'select pg_log_standby_snapshot()');
}

export async function retainedBytes(region: ClusterRegion): Promise<number> {
  await letSlotMove(region);
  const bytes = await region.one(
    `select pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) from pg_replication_slots where slot_name = 'syncline_${region.name}'`,
  );
  return Number(bytes);
}

export async function walPosition(region: ClusterRegion): Promise<number> {
  return Number(await region.one(`select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')`));
}

export const megabytes = (bytes: number): string => `${(bytes / 1024 ** 2).toFixed(1)} MB`;
