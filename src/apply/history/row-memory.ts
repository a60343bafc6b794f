/**
 * Unsettled events by table and row.
 *
 * Most rows have one event, which stands for itself; only a row with more gets lists (`passed-row.ts`). Events are forgotten
 * with the batches that they came in, which only marks those: a row is swept when it is looked at, and all are once as many
 * events are forgotten as there are objects.
 *
 * A row is contested once an event came to it that had not seen all of the others, or one behind a write with a pushed
 * stamp, which may be hidden from it: only such rows can have conflicts.
 *
 * Of giant transactions the rows are packed (`packed-events.ts`) until something else comes to them that could conflict, or
 * is to be judged with them. What is packed and what is not never share a row. And events that are no longer young are written
 * down (`cold-events.ts`) until their row is to be judged; where none is young, nothing else is left of the row.
 */
import type { Hlc } from '../../change/hlc.ts';
import type { Version } from '../../change/version.ts';
import type { Origination } from '../../resolve/losses.ts';
import { EVERY_ROW, type RowKey, type TableShape } from '../apply-port.ts';
import { NOT_COLD } from './cold-events.ts';
import { ColdRows } from './cold-rows.ts';
import type { PackedEvents } from './packed-events.ts';
import type { Passed, PassedBatch, PassedEntry } from './passed-event.ts';
import { isUnseen, linesOf, PassedRow } from './passed-row.ts';

/** A row with more events that has been judged stays as it is: each time they would all be made anew. */
const THAWED_MAX = 64;

/** `truncates` are the events on every row; `packed` are in the order in which they came. */
type Table = {
  shape: TableShape;
  readonly rows: Map<RowKey, Passed | PassedRow>;
  packed: PackedEvents[];
  readonly truncates: PassedRow;
  readonly contested: Set<RowKey>;
};

export class RowMemory {
  readonly #tables = new Map<string, Table>();
  readonly #cold: ColdRows;
  /** Rounds of forgetting. */
  #round = 0;
  /** Events that are objects, about, and those that were forgotten since they were counted. */
  #objects = 0;
  #forgotten = 0;

  constructor(chunkEvents: number) {
    this.#cold = new ColdRows(chunkEvents);
  }

  add(shape: TableShape, key: RowKey, passed: Passed): void {
    const table = this.#table(shape);
    const { source } = passed;
    if (key === EVERY_ROW) {
      this.#contestAll(table, source);
      table.truncates.sweep(this.#round);
      table.truncates.add(passed);
      return;
    }
    this.#unpack(table, key);
    const known = this.#row(table, key);
    const truncates = this.#truncates(table);
    if (truncates.holdsUnseen(source)) table.contested.add(key);
    // Behind a TRUNCATE of its own transaction a write finds nothing, and knows why.
    if (known === undefined || truncates.endsWith(passed.source)) passed.found = undefined;
    if (known !== undefined && holdsUnseen(known, source)) table.contested.add(key);
    this.#put(table, key, passed);
    if (passed.found !== undefined) table.contested.add(key);
  }

  /** Whether an event on that row may be packed: it meets none that it had not seen, nor one that it may not have found. */
  packs({ id }: TableShape, key: RowKey, source: Origination): boolean {
    const table = this.#tables.get(id);
    if (table === undefined) return true;
    const isNew = this.#cold.placeOf(id, key) === NOT_COLD && this.#row(table, key) === undefined;
    return isNew && !this.#truncates(table).holdsUnseen(source);
  }

  addPacked(added: PackedEvents): void {
    const table = this.#table(added.shape);
    for (const packed of table.packed) {
      if (!isUnseen(packed.source, added.source)) continue;
      for (const key of added.keys()) {
        if (!packed.has(key)) continue;
        this.#unpack(table, key);
        const passed = added.unpack(key);
        if (passed !== null) this.#put(table, key, passed);
        table.contested.add(key);
      }
    }
    // Rows that were unpacked since this one was gathered.
    for (const key of table.rows.keys()) {
      const row = added.has(key) ? this.#row(table, key) : undefined;
      if (row === undefined) continue;
      if (holdsUnseen(row, added.source)) table.contested.add(key);
      const passed = added.unpack(key);
      if (passed !== null) this.#put(table, key, passed);
    }
    table.packed.push(added);
  }

  /** Writes down these events, which are young no longer, as far as their rows allow it. */
  cool(entries: readonly PassedEntry[]): void {
    for (const { shape, key, passed } of entries) {
      passed.event = null;
      const table = this.#tables.get(shape.id);
      const row = table?.rows.get(key);
      if (table === undefined || row === undefined) continue;
      if (row instanceof PassedRow) this.#coolIn(table, key, row, passed);
      else if (row === passed && this.#cold.takes(passed)) {
        this.#objects -= 1;
        this.#keepCold(table, key, this.#cold.write([passed], NOT_COLD));
      }
    }
  }

  forget(batch: PassedBatch): void {
    batch.isForgotten = true;
    this.#round += 1;
    this.#forgotten += batch.size;
    if (this.#cold.forget(batch)) this.#rewriteCold();
    for (const { shape } of batch.packed) {
      const table = this.#tables.get(shape.id);
      if (table !== undefined) table.packed = table.packed.filter(({ holder }) => holder !== batch);
    }
    if (this.#forgotten >= this.#objects) this.#sweep();
  }

  /** Whether the event with this version on this row, or on its whole table, is known. */
  knows(tableId: string, key: RowKey, version: Version): boolean {
    const table = this.#tables.get(tableId);
    if (table === undefined) return false;
    const isVersion = ({ hlc, origin }: Version): boolean => hlc === version.hlc && origin === version.origin;
    const isIt = ({ source }: { readonly source: Version }): boolean => isVersion(source);
    if (table.packed.some((packed) => isIt(packed) && packed.has(key))) return true;
    const row = this.#row(table, key);
    if (row instanceof PassedRow && this.#cold.some(row.coldAt, isVersion)) return true;
    const events = [...(row === undefined ? [] : eventsOf(row)), ...eventsOf(this.#truncates(table))];
    return events.some((each) => !each.holder.isForgotten && isIt(each));
  }

  /** Whether nothing is here that an event on the row could be concurrent with. */
  hasNone(tableId: string, key: RowKey): boolean {
    const table = this.#tables.get(tableId);
    if (table === undefined) return true;
    if (table.rows.has(key) || table.packed.length > 0 || table.truncates.size > 0) return false;
    return this.#cold.placeOf(tableId, key) === NOT_COLD;
  }

  /** Whether an event may be concurrent with one that is here. */
  mayConflict(tableId: string, key: RowKey, event: Origination): boolean {
    const table = this.#tables.get(tableId);
    if (table === undefined) return false;
    const row = this.#row(table, key);
    if (row !== undefined && holdsUnseen(row, event)) return true;
    for (const packed of table.packed) if (isUnseen(packed.source, event) && packed.has(key)) return true;
    return this.#truncates(table).holdsUnseen(event);
  }

  /** A row's events with those on every row, as they are to be judged with what comes to it; null where there are none. */
  streams(tableId: string, key: RowKey): ReadonlyMap<string, Passed[]> | null {
    const table = this.#tables.get(tableId);
    if (table === undefined) return null;
    this.#unpack(table, key);
    const row = this.#row(table, key);
    if (row instanceof PassedRow && row.coldAt !== NOT_COLD) {
      const events = this.#cold.read(row.coldAt);
      this.#objects += events.length;
      row.thaw(events);
    }
    return this.#withTruncates(table, streamsOf(row));
  }

  /** The same for who only looks: what is cold stays so, and what is noted on it is to be told (`noted`). */
  look(tableId: string, key: RowKey): ReadonlyMap<string, Passed[]> | null {
    const table = this.#tables.get(tableId);
    if (table === undefined) return null;
    this.#unpack(table, key);
    const place = this.#cold.placeOf(tableId, key);
    if (place !== NOT_COLD) return this.#withTruncates(table, linesOf(this.#cold.read(place)));
    const row = this.#row(table, key);
    const isPartlyCold = row instanceof PassedRow && row.coldAt !== NOT_COLD;
    const streams = isPartlyCold ? row.streamsBehind(this.#cold.read(row.coldAt)) : streamsOf(row);
    return this.#withTruncates(table, streams);
  }

  /** Something was noted on an event of a row that was looked at. */
  noted(passed: Passed): void {
    this.#cold.note(passed);
  }

  /** The rows of a table with events of their own that an event on all rows may be concurrent with. */
  conflicting(tableId: string, by: Origination): RowKey[] {
    const table = this.#tables.get(tableId);
    if (table === undefined) return [];
    const isUnseenTruncate = this.#truncates(table).holdsUnseen(by);
    const keys = new Set(this.#cold.unseen(tableId, by));
    for (const key of table.rows.keys()) {
      const row = this.#row(table, key);
      if (row !== undefined && (isUnseenTruncate || holdsUnseen(row, by))) keys.add(key);
    }
    for (const packed of table.packed) if (isUnseen(packed.source, by)) for (const key of packed.keys()) keys.add(key);
    return [...keys];
  }

  contested(): { readonly shape: TableShape; readonly key: RowKey }[] {
    return [...this.#tables.values()].flatMap(({ shape, contested }) => [...contested].map((key) => ({ shape, key })));
  }

  /** Whether a row may have an event that is not settled and is stamped so; asks nothing of rows that are not cold. */
  mayHave(tableId: string, key: RowKey, from: Hlc, to: Hlc): boolean {
    const place = this.#cold.placeOf(tableId, key);
    return place === NOT_COLD || this.#cold.hasOpen(place, from, to);
  }

  #table(shape: TableShape): Table {
    let table = this.#tables.get(shape.id);
    if (table === undefined) {
      const truncates = new PassedRow();
      table = { shape, rows: new Map(), packed: [], truncates, contested: new Set() };
      this.#tables.set(shape.id, table);
    }
    table.shape = shape;
    return table;
  }

  /** What is kept of a row; what is cold stays so. */
  #row(table: Table, key: RowKey): Passed | PassedRow | undefined {
    const row = table.rows.get(key) ?? this.#coldRow(table, key);
    if (row === undefined) return undefined;
    if (row instanceof PassedRow) row.sweep(this.#round);
    const isLeft = row instanceof PassedRow ? row.size > 0 || row.coldAt !== NOT_COLD : !row.holder.isForgotten;
    if (isLeft) return row;
    table.rows.delete(key);
    table.contested.delete(key);
    return undefined;
  }

  /** A row of which nothing is young, as a row to which something may come. */
  #coldRow(table: Table, key: RowKey): PassedRow | undefined {
    const place = this.#cold.take(table.shape.id, key);
    if (place === NOT_COLD) return undefined;
    const row = new PassedRow();
    const ends = this.#cold.ends(place);
    if (ends.length > 0) row.hasCold(place, ends);
    table.rows.set(key, row);
    return row;
  }

  #coolIn(table: Table, key: RowKey, row: PassedRow, passed: Passed): void {
    const mayTake = (each: Passed): boolean => this.#cold.takes(each);
    if (row.isThawed) {
      const events = row.newest === passed && row.size <= THAWED_MAX ? eventsOf(row) : [];
      if (events.length === 0 || !events.every(mayTake)) return;
      this.#objects -= events.length;
      this.#keepCold(table, key, this.#cold.write(events, NOT_COLD));
      return;
    }
    const taken = row.takeUpTo(passed, mayTake);
    this.#objects -= taken.length;
    row.coldAt = this.#cold.write(taken, row.coldAt);
    if (row.size === 0 && row.coldAt !== NOT_COLD) this.#keepCold(table, key, row.coldAt);
  }

  /** Nothing of the row is young. */
  #keepCold({ shape, rows }: Table, key: RowKey, place: number): void {
    this.#cold.keep(shape.id, key, place);
    rows.delete(key);
  }

  #withTruncates(table: Table, streams: ReadonlyMap<string, Passed[]> | null): ReadonlyMap<string, Passed[]> | null {
    const truncates = this.#truncates(table);
    if (truncates.size === 0) return streams;
    if (streams === null) return truncates.streams;
    const merged = new Map<string, Passed[]>(streams);
    for (const [line, events] of truncates.streams) merged.set(line, merge([...(streams.get(line) ?? []), ...events]));
    return merged;
  }

  #truncates({ truncates }: Table): PassedRow {
    truncates.sweep(this.#round);
    return truncates;
  }

  /** Behind the events that the row has. */
  #put({ rows }: Table, key: RowKey, passed: Passed): void {
    this.#objects += 1;
    const known = rows.get(key);
    if (known === undefined) {
      rows.set(key, passed);
      return;
    }
    const row = known instanceof PassedRow ? known : new PassedRow();
    if (row !== known) {
      row.add(known as Passed);
      rows.set(key, row);
    }
    row.add(passed);
  }

  /** What is packed of a row becomes as what was never packed. */
  #unpack(table: Table, key: RowKey): void {
    for (const packed of table.packed) {
      const passed = packed.unpack(key);
      if (passed !== null) this.#put(table, key, passed);
    }
  }

  /** A TRUNCATE is an event on every row, and contests those of which it had not seen all. */
  #contestAll(table: Table, source: Origination): void {
    for (const packed of table.packed) {
      if (isUnseen(packed.source, source)) for (const other of packed.keys()) this.#unpack(table, other);
    }
    for (const other of table.rows.keys()) {
      const row = this.#row(table, other);
      if (row !== undefined && holdsUnseen(row, source)) table.contested.add(other);
    }
    for (const other of this.#cold.unseen(table.shape.id, source)) table.contested.add(other);
  }

  #rewriteCold(): void {
    const moved = this.#cold.rewrite((id, key) => this.#tables.get(id)?.contested.delete(key));
    for (const { rows } of this.#tables.values()) {
      for (const row of rows.values()) {
        for (const passed of eventsOf(row)) passed.coldAt = NOT_COLD;
        if (!(row instanceof PassedRow)) continue;
        const place = moved(row.coldAt);
        row.hasCold(place, this.#cold.ends(place));
      }
    }
  }

  #sweep(): void {
    this.#forgotten = 0;
    this.#objects = 0;
    for (const [id, table] of this.#tables) {
      for (const key of table.rows.keys()) {
        const row = this.#row(table, key);
        if (row instanceof PassedRow && row.size === 0) this.#keepCold(table, key, row.coldAt);
        else if (row !== undefined) this.#objects += row instanceof PassedRow ? row.size : 1;
      }
      const { rows, packed } = table;
      const isEmpty = rows.size === 0 && packed.length === 0 && this.#truncates(table).size === 0;
      if (isEmpty && !this.#cold.hasAny(id)) this.#tables.delete(id);
    }
    this.#cold.trim();
  }
}

function streamsOf(row: Passed | PassedRow | undefined): ReadonlyMap<string, Passed[]> | null {
  if (row === undefined) return null;
  return row instanceof PassedRow ? row.streams : linesOf([row]);
}

function eventsOf(row: Passed | PassedRow): Passed[] {
  return row instanceof PassedRow ? [...row.streams.values()].flat() : [row];
}

function holdsUnseen(row: Passed | PassedRow, by: Origination): boolean {
  return row instanceof PassedRow ? row.holdsUnseen(by) : isUnseen(row.source, by);
}

/** In the order of the stream, the last of each transaction. */
function merge(events: Passed[]): Passed[] {
  const order = (a: Passed, b: Passed): number => {
    const [left, right] = [a.source.position, b.source.position];
    return left === right ? a.index - b.index : left < right ? -1 : 1;
  };
  events.sort(order);
  return events.filter((event, place) => events[place + 1]?.source.position !== event.source.position);
}
