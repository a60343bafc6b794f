import type { PostgresClient } from '../../platform/postgres.ts';

/**
 * Whether that process of the server still holds the slot: a walsender that is only silent does, and one that has ended, or a
 * server that was replaced, does not. Throws where the server cannot be reached.
 */
export async function holdsSlot(client: PostgresClient, slot: string, pid: number): Promise<boolean> {
  const sql = 'select active_pid = $2::int as is_held from pg_replication_slots where slot_name = $1';
  const { rows } = await client.query(sql, [slot, String(pid)]);
  return rows[0]?.is_held === 't';
}
