/**
 * Which rows of which tables have cold events (`cold-events.ts`) and nothing else, and where. What is forgotten leaves its room once
 * most of all that is cold is forgotten: what is left is written anew then, so that there is at most twice as much as is kept.
 */
import type { Hlc } from '../../change/hlc.ts';
import type { Origination } from '../../resolve/losses.ts';
import type { RowKey } from '../apply-port.ts';
import { type ColdEvent, ColdEvents, NOT_COLD } from './cold-events.ts';
import { PackedRows } from './packed-rows.ts';
import type { EventHolder, Passed } from './passed-event.ts';
import { isUnseen, type LineEnd } from './passed-row.ts';

export class ColdRows {
  readonly #chunkEvents: number;
  #events: ColdEvents;
  /** By table, where the newest event of a row is. */
  readonly #tables = new Map<string, PackedRows>();

  constructor(chunkEvents: number) {
    this.#chunkEvents = chunkEvents;
    this.#events = new ColdEvents(chunkEvents);
  }

  hasAny(tableId: string): boolean {
    return (this.#tables.get(tableId)?.size ?? 0) > 0;
  }

  /** The place of the newest event of a row that is cold as a whole. */
  placeOf(tableId: string, key: RowKey): number {
    return this.#tables.get(tableId)?.get(key) ?? NOT_COLD;
  }

  /** From now on the row is cold as a whole. */
  keep(tableId: string, key: RowKey, place: number): void {
    const rows = this.#tables.get(tableId) ?? new PackedRows();
    this.#tables.set(tableId, rows);
    rows.set(key, place);
  }

  /** From now on it is not; returns its place. */
  take(tableId: string, key: RowKey): number {
    return this.#tables.get(tableId)?.delete(key) ?? NOT_COLD;
  }

  /** Rows that are cold as a whole, with an event that this one had not seen. */
  unseen(tableId: string, by: Origination): RowKey[] {
    const keys = [...(this.#tables.get(tableId)?.keys() ?? [])];
    return keys.filter((key) => this.some(this.placeOf(tableId, key), (event) => isUnseen(event, by)));
  }

  /** As in `ColdEvents`, from the newest event of a row on. */
  some(place: number, holds: (event: ColdEvent) => boolean): boolean {
    return this.#events.some(place, holds);
  }

  hasOpen(place: number, from: Hlc, to: Hlc): boolean {
    return this.#events.hasOpen(place, from, to);
  }

  read(place: number): Passed[] {
    return this.#events.read(place);
  }

  ends(place: number): LineEnd[] {
    return this.#events.ends(place);
  }

  takes(passed: Passed): boolean {
    return this.#events.takes(passed);
  }

  note(passed: Passed): void {
    this.#events.note(passed);
  }

  /** Writes down those of a row's events that are not yet, behind the place; returns that of the newest one. */
  write(events: readonly Passed[], place: number): number {
    let newest = events.reduce((at, { coldAt }) => Math.max(at, coldAt), place);
    for (const passed of events) {
      if (passed.coldAt === NOT_COLD) newest = this.#events.append(passed, newest);
      else this.#events.note(passed);
    }
    return newest;
  }

  /** The holder has been forgotten; says whether it is time to rewrite. */
  forget(holder: EventHolder): boolean {
    this.#events.forget(holder);
    return this.#events.isMostlyForgotten;
  }

  /** Writes what is left anew, and tells of rows of which nothing is. Returns where a place that is kept elsewhere leads by now. */
  rewrite(gone: (tableId: string, key: RowKey) => void): (place: number) => number {
    const [former, tables] = [this.#events, new Map(this.#tables)];
    this.#events = new ColdEvents(this.#chunkEvents);
    this.#tables.clear();
    const moved = (place: number): number => {
      const events = former.read(place);
      for (const passed of events) passed.coldAt = NOT_COLD;
      return this.write(events, NOT_COLD);
    };
    for (const [id, rows] of tables) {
      for (const key of rows.keys()) {
        const place = moved(rows.get(key) ?? NOT_COLD);
        if (place === NOT_COLD) gone(id, key);
        else this.keep(id, key, place);
      }
    }
    return moved;
  }

  /** Keeps nothing for tables without such rows. */
  trim(): void {
    for (const [id, { size }] of this.#tables) if (size === 0) this.#tables.delete(id);
  }
}
