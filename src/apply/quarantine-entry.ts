/** What is kept of an event that cannot be applied: all of it, so that a retry needs no log. */
import { type ChangeEvent, eventPosition } from '../change/change-event.ts';
import { hlcFromText } from '../change/hlc.ts';
import type { QuarantineEntry, RowKey } from './apply-port.ts';

/** Why an event is set aside. */
export type Poison = { readonly sqlstate: string; readonly error: string };

export function toQuarantine(event: ChangeEvent, key: RowKey, poison: Poison): QuarantineEntry {
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
    ...poison,
  };
}
