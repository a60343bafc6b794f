/** What is kept of an event that cannot be applied: all of it, so that a retry needs no log. */
import { type ChangeEvent, eventPosition } from '../change/change-event.ts';
import { hlcFromText } from '../change/hlc.ts';
import type { QuarantineEntry, RowKey } from './apply-port.ts';

/**
 * Why an event is set aside. What changes a key leaves its old key all the same, or else no later event would take the row away
 * there; where that fails as well, `isWhole`.
 */
export type Poison = { readonly sqlstate: string; readonly error: string; readonly isWhole: boolean };

/**
 * `left_key`: its row has left its old key, so only the new one is to be written. `left_row`: it stands for events of one row that are
 * not known any more.
 */
export type SetAsideEvent = ChangeEvent & { readonly left_key?: true; readonly left_row?: true };

export function toQuarantine(
  event: SetAsideEvent,
  key: RowKey,
  { sqlstate, error }: Omit<Poison, 'isWhole'>,
): QuarantineEntry {
  return {
    event_id: event.event_id,
    origin: event.region_id,
    schema_name: event.schema_name,
    table_name: event.table_name,
    key,
    row_pk: event.row_pk,
    hlc: hlcFromText(event.hlc_timestamp),
    position: eventPosition(event),
    event: JSON.stringify(event),
    sqlstate,
    error,
  };
}
