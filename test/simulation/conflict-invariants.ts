/**
 * Invariants of the conflict logs, once everything is settled: each region's equals what the definition of a loss says
 * about all published events, word for word.
 */
import type { ConflictEntry } from '../../src/apply/apply-port.ts';
import { conflictId } from '../../src/apply/history/conflicts.ts';
import { lossesOf } from '../../src/resolve/losses.ts';
import type { Failure } from './invariants.ts';
import { resultBehind, strategyOf } from './merging.ts';
import { MERGED, modelShape } from './model-store.ts';
import { eventsByRow, type Published } from './published.ts';
import type { Region } from './region.ts';
import type { Conditions } from './world-view.ts';

export function checkConflictLogs(
  regions: readonly Region[],
  published: Published,
  tables: readonly string[],
  conditions: Conditions,
): Failure | null {
  const expected = new Map<string, ConflictEntry>();
  for (const table of tables) for (const [id, loss] of losses(published, table, conditions)) expected.set(id, loss);
  for (const { name, store } of regions) {
    // What a row that merges came to is noted as it was, which is without an event that is set aside there.
    const isNotedAlike = !conditions.refusals.has(name);
    const tell = (entry: ConflictEntry): string =>
      told(isNotedAlike || entry.table_name !== MERGED ? entry : { ...entry, result_image: null });
    for (const entry of store.conflicts.values()) {
      const text = tell(entry);
      const right = expected.get(entry.conflict_id);
      // What was forgotten unsettled for want of room says so, and may be no loss at all.
      if (entry.provisional_reason === 'forgotten') {
        if (conditions.unsettled.events_max > PLENTY)
          return wrong(name, `has ${text}, though there was room to remember`);
      } else if (entry.provisional) return wrong(name, `is not done with ${text}`);
      else if (right === undefined || tell(right) !== text) {
        return wrong(name, `has ${text}, and ${right === undefined ? 'no such loss' : tell(right)} is right`);
      }
    }
    // Whoever forgot has told; who did not has everything.
    if (conditions.unsettled.events_max <= PLENTY) continue;
    for (const [id, loss] of expected) if (!store.conflicts.has(id)) return wrong(name, `does not have ${tell(loss)}`);
  }
  return null;
}

const PLENTY = 1_000;

function wrong(region: string, what: string): Failure {
  return { invariant: 'conflicts-final', message: `${region} ${what}` };
}

/** By conflict_id, what a record has to say. */
function losses(published: Published, table: string, { baseline, merging }: Conditions): Map<string, ConflictEntry> {
  const shape = modelShape('public', table);
  const records = new Map<string, ConflictEntry>();
  for (const [row, events] of eventsByRow(published, table, baseline)) {
    const key = row.slice(shape.id.length + 1);
    const before =
      baseline.find((each) => each.table === table && JSON.stringify([each.image.id]) === key)?.image ?? null;
    for (const { loser, winner } of lossesOf(events.map((event) => ({ ...event, source: event })))) {
      const conflict_id = conflictId(shape.id, key, loser);
      const { merge } = winner;
      const result = merge === undefined ? winner.after : resultBehind(winner, events, before, merging);
      records.set(conflict_id, {
        conflict_id,
        event_id_a: loser.event_id,
        event_id_b: winner.event_id,
        schema_name: shape.schema,
        table_name: shape.table,
        row_pk: loser.pk,
        resolution_strategy: merge === undefined ? 'lww' : strategyOf(merging, merge),
        merge_version: merge ?? null,
        winner_event_id: winner.event_id,
        loser: { hlc: loser.hlc, origin: loser.origin },
        winner: { hlc: winner.hlc, origin: winner.origin },
        image_a: loser.after,
        image_b: winner.after,
        base_image: merge === undefined ? loser.before : winner.before,
        result_image: result,
        provisional: false,
        provisional_reason: null,
      });
    }
  }
  return records;
}

function told({ conflict_id, loser, winner, ...rest }: ConflictEntry): string {
  const fields = JSON.stringify(Object.entries(rest).sort(([a], [b]) => (a < b ? -1 : 1)));
  return `${conflict_id} ${loser.origin} ${loser.hlc} to ${winner.origin} ${winner.hlc} ${fields}`;
}
