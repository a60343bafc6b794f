/**
 * What is kept of a row whose turn comes between batches, and which a constraint that this region alone has does not take: one that
 * merges and cannot be brought to what its writes come to, or one that was parked.
 *
 * Of a row that merges no event is at fault, each of them is in its history already. But one is what an operator can try again: the
 * row's newest, as the history has it. Applied again it changes nothing of the fold, and so brings the row to it. The entry has an
 * id of its own, because one event can be the newest of many rows. Of a parked row it is the event that left it so, as an insertion.
 */
import { hash } from 'node:crypto';
import { type ChangeEvent, type Image, microsToIso } from '../../change/change-event.ts';
import { eventId } from '../../change/event-id.ts';
import { hlcMicros, hlcToText } from '../../change/hlc.ts';
import { lsnToText, makePosition, positionEpoch, positionLsn } from '../../change/position.ts';
import type { Version } from '../../change/version.ts';
import { fail, sqlStateOf } from '../../platform/errors.ts';
import type { HistoryEntry, ParkedRow, QuarantineEntry, RowKey, TableShape } from '../apply-port.ts';
import type { MergedRow } from '../merges/merged-row.ts';
import { type SetAsideEvent, toQuarantine } from '../quarantine-entry.ts';

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
  const origin = row.version.origin === '' ? region : row.version.origin;
  const event = toEvent(shape, pk, newestOf(row), { ...row.version, origin });
  const error = fail('SYN-A111', `a row of ${shape.id}: ${messageOf(cause)}`, { cause });
  const entry = toQuarantine(event, key, { sqlstate: sqlStateOf(cause) ?? 'XX000', error: error.message });
  return { ...entry, event_id: idOf(event.event_id, shape, key) };
}

/** `region` stands for the writer of a row that was there before replication began. */
export function stuckParkedEntry(
  shape: TableShape,
  { key, pk, image, hlc, origin, position, event_id }: ParkedRow,
  region: string,
  cause: unknown,
): QuarantineEntry {
  const version = { hlc, origin: origin === '' ? region : origin };
  const place = position ?? NOWHERE;
  // Where the event is forgotten, one event can stand for many rows.
  const id = event_id ?? idOf(eventId(hlc, version.origin, place, 0), shape, key);
  const newest = {
    version,
    position: place,
    index: 0,
    event_id: id,
    seen: {},
    before: null,
    after: image,
    merge: undefined,
  };
  const event: SetAsideEvent = {
    ...toEvent(shape, pk, newest, version),
    parked: event_id === null ? 'by unknown' : 'by event',
  };
  return toQuarantine(event, key, { sqlstate: sqlStateOf(cause) ?? 'XX000', error: messageOf(cause) });
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

function newestOf({ fold }: MergedRow): HistoryEntry {
  const { base, newest } = fold;
  if (newest !== undefined) return newest;
  return {
    version: base.version,
    position: NOWHERE,
    index: 0,
    event_id: eventId(base.version.hlc, base.version.origin, NOWHERE, 0),
    seen: {},
    before: base.image,
    after: base.image,
    merge: undefined,
  };
}

function toEvent(
  { schema, table }: TableShape,
  pk: Image,
  newest: HistoryEntry,
  { hlc, origin }: Version,
): ChangeEvent {
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
    committed_at: microsToIso(hlcMicros(hlc)),
    hlc_timestamp: hlcToText(hlc),
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
