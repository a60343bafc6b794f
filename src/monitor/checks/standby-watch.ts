/** Whether the server waits for a standby that is away, and so sends nothing to capture. */
import type { Queryable } from '../../platform/standing-connection.ts';
import type { Problem } from '../agent-status.ts';
import { listed } from './finding.ts';

/** JSON of the slots that the server waits for and nobody uses. Servers before 17 wait for none. */
export const STANDBYS_AWAY = `
  select coalesce(json_agg(name order by name), '[]')
    from unnest(string_to_array(coalesce(current_setting('synchronized_standby_slots', true), ''), ',')) as entry,
         trim(both ' "' from entry) as name
   where name <> '' and not exists (select from pg_replication_slots s where s.slot_name = name and s.active)`;

export const standbysAway = (slots: readonly string[]): string =>
  `synchronized_standby_slots names ${listed(slots)}, which no standby uses.`;

export class StandbyWatch {
  /** As it was found last. */
  problem: Problem | null = null;

  async look(database: Queryable): Promise<void> {
    const { rows } = await database.query(`select (${STANDBYS_AWAY})::text as away`);
    const slots = JSON.parse(rows[0]?.away ?? '[]') as string[];
    this.problem = slots.length === 0 ? null : { code: 'SYN-P055', detail: standbysAway(slots) };
  }
}
