/**
 * Applies one item change by change, setting aside what fails even so.
 *
 * Each attempt tells the first event that fails, and the next one goes without it; so the loop ends with the item applied,
 * whatever its events are. An event is named twice at most: at first a change of a key still leaves the old key, then it is set aside
 * whole. One that fails even so is no fault of the data.
 */
import { fail, sqlStateOf } from '../../platform/errors.ts';
import type { OnError } from '../batch/batch-planner.ts';
import { EventFailure, isDataFault } from '../event-failure.ts';
import type { LaneItem } from '../lane-item.ts';
import type { Poison } from '../quarantine-entry.ts';
import { isClaimViolation } from '../upkeep/parked-settler.ts';
import type { BatchAttempt } from './batch-attempt.ts';

/** How often an exact replay is made again because a user took a value between the look and the write. */
const CLAIM_RACES_MAX = 16;

/** Throws SYN-A005 where an event cannot be applied and `onError` is `stop`. */
export async function applyExactly(
  attempt: BatchAttempt,
  origin: string,
  item: LaneItem,
  onError: OnError,
): Promise<void> {
  const poisoned = new Map<string, Poison>();
  for (let races = 0; ; ) {
    try {
      await attempt.run(origin, [item], poisoned, true);
      return;
    } catch (error) {
      if (!isDataFault(error)) throw error;
      // Rows that claim one value make room for each other, so it was a user who took it in between.
      if (isClaimViolation(error) && races < CLAIM_RACES_MAX) {
        races += 1;
        continue;
      }
      const culprit = error instanceof EventFailure ? error.event : null;
      const known = culprit === null ? undefined : poisoned.get(culprit.event_id);
      if (culprit === null || known?.isWhole === true) throw error;
      if (onError === 'stop') {
        throw fail('SYN-A005', `event ${culprit.event_id} on ${culprit.schema_name}.${culprit.table_name}`, {
          cause: error,
          context: { event_id: culprit.event_id, row_pk: culprit.row_pk },
        });
      }
      poisoned.set(culprit.event_id, {
        sqlstate: sqlStateOf(error) ?? 'XX000',
        error: messageOf(error),
        isWhole: known !== undefined,
      });
    }
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
