/**
 * What is kept of a row that merges and cannot be brought to what its writes come to: a constraint that this region alone has
 * does not take it.
 *
 * No event is at fault, each of them is in the row's history already. But one is what an operator can try again: the row's newest, as
 * the history has it. Applied again it changes nothing of the fold, and so brings the row to it. The entry has an id of its
 * own, because one event can be the newest of many rows.
 */
import { hash } from 'node:crypto';
import { type ChangeEvent, type Image, microsToIso } from '../change/change-event.ts';
import { eventId } from '../change/event-id.ts';
import { hlcMicros, hlcToText } from '../change/hlc.ts';
import { lsnToText, makePosition, positionEpoch, positionLsn } from '../change/position.ts';
import { fail, sqlStateOf } from '../platform/errors.ts';
import type { HistoryEntry, QuarantineEntry, RowKey, TableShape } from './apply-port.ts';
import type { MergedRow } from './merged-row.ts';

/** Where nothing but the row's base is left, the event is one that it holds. */
const NOWHERE = makePosition('0'.repeat(19), 0n);

export type StuckRow = { readonly key: RowKey; readonly pk: Image; readonly row: MergedRow };

/** `region` stands for the writer of a row that nothing is known of. */
export function stuckEntry(
  shape: TableShape,
  { key, pk, row }: StuckRow,
  region: string,
  cause: unknown,
): QuarantineEntry {
  const { hlc } = row.version;
  const origin = row.version.origin === '' ? region : row.version.origin;
  const event = newestOf(shape, pk, row, origin);
  const position = row.fold.events.at(-1)?.position ?? NOWHERE;
  const why = cause instanceof Error ? cause.message : String(cause);
  const error = fail('SYN-A111', `a row of ${shape.id}: ${why}`, { cause });
  return {
    event_id: idOf(event.event_id, shape, key),
    origin,
    schema_name: shape.schema,
    table_name: shape.table,
    key,
    row_pk: pk,
    hlc,
    position,
    event: JSON.stringify(event),
    sqlstate: sqlStateOf(cause) ?? 'XX000',
    error: error.message,
  };
}

function newestOf({ schema, table }: TableShape, pk: Image, { fold, version }: MergedRow, origin: string): ChangeEvent {
  const { base } = fold;
  const newest: HistoryEntry = fold.events.at(-1) ?? {
    version: base.version,
    position: NOWHERE,
    index: 0,
    event_id: eventId(base.version.hlc, base.version.origin, NOWHERE, 0),
    seen: {},
    before: base.image,
    after: base.image,
    merge: undefined,
  };
  const { before, after, merge, position, index, event_id, seen } = newest;
  const operation = after === null ? 'DELETE' : before === null ? 'INSERT' : 'UPDATE';
  return {
    event_id,
    region_id: origin,
    schema_name: schema,
    table_name: table,
    row_pk: pk,
    operation,
    before_image: operation === 'DELETE' ? (before ?? pk) : before,
    after_image: after,
    committed_at: microsToIso(hlcMicros(version.hlc)),
    hlc_timestamp: hlcToText(version.hlc),
    region_tags: [origin],
    ...(merge === undefined ? {} : { merge }),
    transaction: {
      id: 0,
      epoch: positionEpoch(position),
      commit_lsn: lsnToText(positionLsn(position)),
      index,
      last: true,
      predecessor: null,
      seen,
    },
  };
}

/** Begins with the event's time, like all ids of the list. */
function idOf(event: string, { id }: TableShape, key: RowKey): string {
  const digest = hash('sha1', `${event} ${id} ${key}`, 'hex');
  return `${event.slice(0, 15)}${digest.slice(0, 3)}${event.slice(18, 20)}${digest.slice(4, 7)}-${digest.slice(7, 19)}`;
}
