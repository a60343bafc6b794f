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
 * `left_key`: its row has left its old key, so only the new one is to be written. `parked`: it is made from a parked row, so its place in
 * its transaction is not known; or not even which event left the row so.
 */
export type SetAsideEvent = ChangeEvent & { readonly left_key?: true; readonly parked?: 'by event' | 'by unknown' };

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
