/**
 * Conflict records: one per losing event.
 *
 * The id derives from the loser's version and row, so regions and retries name it alike, and a later, higher winner
 * replaces the earlier one. What else a record says derives from the two events alone, so that final records are equal
 * in every region.
 */
import { hash } from 'node:crypto';
import type { ChangeEvent, Image } from '../../change/change-event.ts';
import { eventId } from '../../change/event-id.ts';
import { hlcToText } from '../../change/hlc.ts';
import type { Version } from '../../change/version.ts';
import type { ConflictEntry, RowKey, TableShape } from '../apply-port.ts';
import { currentKey, formerKey } from '../net-change.ts';
import { imageOf, type Passed, type RowLoss, versionOf } from './passed-event.ts';

export function conflictId(tableId: string, key: RowKey, loser: Version): string {
  const digest = hash('sha256', `${tableId} ${key} ${hlcToText(loser.hlc)} ${loser.origin}`, 'hex');
  return `${digest.slice(0, 8)}-${digest.slice(8, 12)}-8${digest.slice(13, 16)}-a${digest.slice(17, 20)}-${digest.slice(20, 32)}`;
}

export function eventIdOf({ source, index }: Passed): string {
  return eventId(source.hlc, source.origin, source.position, index);
}

/** What came of a loss in a table that merges: the row behind the winner's step, which is known once nothing changes it. */
export type Merged = { readonly strategy: string; readonly result: { readonly image: Image | null } | null };

/** The record of a loss as far as its events are at hand; `pk` where the loser is not. */
export function provisionalEntry(loss: RowLoss, pk: Image, merged: Merged | null): ConflictEntry {
  return entry(loss, loss.loser.event, loss.winner.event, pk, true, merged);
}

/** The record of a settled loss; it stays provisional where the log does not hold its events any more. */
export function settledEntry(
  loss: RowLoss,
  loser: ChangeEvent | null,
  winner: ChangeEvent | null,
  merged: Merged | null,
): ConflictEntry {
  if (loser !== null && winner !== null) return entry(loss, loser, winner, {}, false, merged);
  const known = entry(loss, loser, winner, keyImage(loss.shape, loss.key), true, merged);
  return { ...known, provisional_reason: 'forgotten' };
}

/** The key's columns, as far as the canonical text of a key tells them. */
export function keyImage(shape: TableShape, key: RowKey): Image {
  const values = JSON.parse(key) as (string | null)[];
  return Object.fromEntries(shape.key.map((column, place) => [column, values[place] ?? null]));
}

function entry(
  { shape, key, loser, winner }: RowLoss,
  lost: ChangeEvent | null,
  won: ChangeEvent | null,
  pk: Image,
  provisional: boolean,
  merged: Merged | null,
): ConflictEntry {
  const winnerImage = won === null ? null : imageOf(winner, won);
  return {
    conflict_id: conflictId(shape.id, key, versionOf(loser)),
    event_id_a: eventIdOf(loser),
    event_id_b: eventIdOf(winner),
    schema_name: shape.schema,
    table_name: shape.table,
    row_pk: lost === null ? pk : pkOf(shape, loser, lost),
    resolution_strategy: merged?.strategy ?? 'lww',
    merge_version: winner.merge ?? null,
    winner_event_id: eventIdOf(winner),
    loser: versionOf(loser),
    winner: versionOf(winner),
    image_a: lost === null ? null : imageOf(loser, lost),
    image_b: winnerImage,
    // What is merged with is what the winner had found.
    base_image: (merged === null ? lost : won)?.before_image ?? null,
    result_image: merged === null ? winnerImage : (merged.result?.image ?? null),
    provisional,
    provisional_reason: lost === null || won === null || merged?.result === null ? 'images' : null,
  };
}

/** The key of the row that the event is about: a change of key removes the row with the former one. */
function pkOf(shape: TableShape, { removes }: Passed, event: ChangeEvent): Image {
  return (removes ? formerKey(shape, event) : null) ?? currentKey(shape, event);
}

/** One side of a conflict of which no event is at hand, only what the row itself tells. */
export type Side = { readonly version: Version; readonly event_id: string | null; readonly image: Image | null };

/** The record of a loss that is known from the row alone, because an event of it is forgotten: it stays provisional. */
export function rowLossEntry(shape: TableShape, key: RowKey, pk: Image, loser: Side, winner: Side): ConflictEntry {
  return {
    conflict_id: conflictId(shape.id, key, loser.version),
    event_id_a: loser.event_id,
    event_id_b: winner.event_id,
    schema_name: shape.schema,
    table_name: shape.table,
    row_pk: pk,
    resolution_strategy: 'lww',
    merge_version: null,
    winner_event_id: winner.event_id,
    loser: loser.version,
    winner: winner.version,
    image_a: loser.image,
    image_b: winner.image,
    base_image: null,
    result_image: winner.image,
    provisional: true,
    provisional_reason: 'forgotten',
  };
}
