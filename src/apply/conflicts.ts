/**
 * Conflict records, provisional: what was seen when the second of two concurrent events passed the lane.
 *
 * One record per losing event; its id derives from the loser's version and row, so regions and retries name it alike,
 * and a later, higher winner replaces the earlier one.
 */
import { hash } from 'node:crypto';
import type { Image } from '../change/change-event.ts';
import { hlcToText } from '../change/hlc.ts';
import type { Version } from '../change/version.ts';
import type { ConflictEntry, RowKey, TableShape } from './apply-port.ts';
import { imageOf, type Loss, versionOf } from './recent-events.ts';

export function conflictId(tableId: string, key: RowKey, loser: Version): string {
  const digest = hash('sha256', `${tableId} ${key} ${hlcToText(loser.hlc)} ${loser.origin}`, 'hex');
  return `${digest.slice(0, 8)}-${digest.slice(8, 12)}-8${digest.slice(13, 16)}-a${digest.slice(17, 20)}-${digest.slice(20, 32)}`;
}

/** The record of a loss whose two events are both known. */
export function lossEntry(shape: TableShape, key: RowKey, pk: Image, loss: Loss): ConflictEntry {
  const { loser, winner } = loss;
  return {
    conflict_id: conflictId(shape.id, key, versionOf(loser)),
    event_id_a: loser.event.event_id,
    event_id_b: winner.event.event_id,
    schema_name: shape.schema,
    table_name: shape.table,
    row_pk: pk,
    resolution_strategy: 'lww',
    winner_event_id: winner.event.event_id,
    loser: versionOf(loser),
    winner: versionOf(winner),
    image_a: imageOf(loser),
    image_b: imageOf(winner),
    base_image: loser.event.before_image,
    result_image: imageOf(winner),
  };
}

/** One side of a conflict of which no event is at hand, only what the row itself tells. */
export type Side = { readonly version: Version; readonly event_id: string | null; readonly image: Image | null };

/** The record of a loss that is known from the row alone: one event is older than what the lane remembers. */
export function rowLossEntry(shape: TableShape, key: RowKey, pk: Image, loser: Side, winner: Side): ConflictEntry {
  return {
    conflict_id: conflictId(shape.id, key, loser.version),
    event_id_a: loser.event_id,
    event_id_b: winner.event_id,
    schema_name: shape.schema,
    table_name: shape.table,
    row_pk: pk,
    resolution_strategy: 'lww',
    winner_event_id: winner.event_id,
    loser: loser.version,
    winner: winner.version,
    image_a: loser.image,
    image_b: winner.image,
    base_image: null,
    result_image: winner.image,
  };
}
