/**
 * Unsettled events by table and row, per line (an epoch of a stream) in its order: the last of each transaction.
 *
 * Most rows have one event, which stands for itself; only a row with more gets lists. Events are forgotten in about the
 * order in which they came, and a hot row has very many, so they are only marked, and a row's lists are swept once half
 * of them is.
 *
 * A row is contested once an event came to it that had not seen all of the others, or one behind a write with a pushed
 * stamp, which may be hidden from it: only such rows can have conflicts.
 *
 * Of giant transactions the rows are packed (`packed-events.ts`) until something else comes to them that could conflict, or
 * is to be judged with them. What is packed and what is not never share a row.
 */
import { covers, type Position } from '../change/position.ts';
import type { Version } from '../change/version.ts';
import { areOfOneLine, lineOf, type Origination } from '../resolve/losses.ts';
import { EVERY_ROW, type RowKey, type TableShape } from './apply-port.ts';
import type { PackedEvents } from './packed-events.ts';
import type { Passed } from './passed-event.ts';

export class Row {
  /** The first line by itself, since most rows have no other. */
  #line = '';
  #stream: Passed[] = [];
  #others: Map<string, Passed[]> | null = null;
  #kept = 0;
  #forgotten = 0;

  /** How many are kept. */
  get size(): number {
    return this.#kept;
  }

  add(passed: Passed): void {
    const line = lineOf(passed.source);
    const stream = this.#streamOf(line);
    if (stream === undefined) {
      passed.found = undefined;
      this.#begin(line, passed);
    } else if (stream.at(-1)?.source.position === passed.source.position) {
      // An earlier change of the same transaction; whoever forgets its batch does not find it here.
      const former = stream.pop();
      if (former !== undefined && !former.isForgotten) this.#kept -= 1;
      if (former !== undefined) former.isForgotten = true;
      passed.found = former?.found;
      stream.push(passed);
    } else {
      // What a write found is asked only behind one with a pushed stamp; images take room.
      if (stream.at(-1)?.left === undefined) passed.found = undefined;
      stream.push(passed);
    }
    this.#kept += 1;
  }

  forget(passed: Passed): void {
    if (passed.isForgotten) return;
    passed.isForgotten = true;
    this.#kept -= 1;
    this.#forgotten += 1;
    if (this.#forgotten > this.#kept) this.#sweep();
  }

  /** Whether the newest event here is of that transaction. */
  endsWith(source: Origination): boolean {
    return this.#streamOf(lineOf(source))?.at(-1)?.source.position === source.position;
  }

  /** Whether an event of another line is here that is not among what was seen. */
  holdsUnseen(by: Origination): boolean {
    if (endsUnseen(this.#stream, by)) return true;
    if (this.#others !== null) for (const stream of this.#others.values()) if (endsUnseen(stream, by)) return true;
    return false;
  }

  /** The lists as they are to be judged. */
  get streams(): ReadonlyMap<string, Passed[]> {
    if (this.#forgotten > 0) this.#sweep();
    const streams = new Map<string, Passed[]>();
    if (this.#stream.length > 0) streams.set(this.#line, this.#stream);
    if (this.#others !== null) for (const [line, stream] of this.#others) streams.set(line, stream);
    return streams;
  }

  #streamOf(line: string): Passed[] | undefined {
    if (line !== this.#line) return this.#others?.get(line);
    return this.#stream.length === 0 ? undefined : this.#stream;
  }

  #begin(line: string, passed: Passed): void {
    if (this.#stream.length === 0) {
      this.#line = line;
      this.#stream = [passed];
      return;
    }
    this.#others ??= new Map();
    this.#others.set(line, [passed]);
  }

  #sweep(): void {
    this.#stream = this.#stream.filter(isKept);
    for (const [line, stream] of this.#others ?? []) {
      const kept = stream.filter(isKept);
      if (kept.length === 0) this.#others?.delete(line);
      else this.#others?.set(line, kept);
    }
    this.#forgotten = 0;
  }
}

function isKept({ isForgotten }: Passed): boolean {
  return !isForgotten;
}

function endsUnseen(stream: readonly Passed[], by: Origination): boolean {
  const last = stream.at(-1);
  return last !== undefined && isUnseen(last.source, by);
}

/** `truncates` are the events on every row; `packed` are in the order in which they came. */
type Table = {
  shape: TableShape;
  readonly rows: Map<RowKey, Passed | Row>;
  packed: PackedEvents[];
  readonly truncates: Row;
  readonly contested: Set<RowKey>;
};

export class RowMemory {
  readonly #tables = new Map<string, Table>();

  add(shape: TableShape, key: RowKey, passed: Passed): void {
    const table = this.#table(shape);
    const { source } = passed;
    if (key === EVERY_ROW) {
      for (const packed of table.packed) {
        if (isUnseen(packed.source, source)) for (const other of packed.keys()) unpack(table, other);
      }
      for (const [other, row] of table.rows) if (holdsUnseen(row, source)) table.contested.add(other);
      table.truncates.add(passed);
      return;
    }
    unpack(table, key);
    const known = table.rows.get(key);
    if (table.truncates.holdsUnseen(source)) table.contested.add(key);
    // Behind a TRUNCATE of its own transaction a write finds nothing, and knows why.
    if (known === undefined || table.truncates.endsWith(passed.source)) passed.found = undefined;
    if (known === undefined) {
      table.rows.set(key, passed);
      return;
    }
    if (holdsUnseen(known, source)) table.contested.add(key);
    put(table, key, passed);
    if (passed.found !== undefined) table.contested.add(key);
  }

  /** Whether an event on that row may be packed: it meets none that it had not seen, nor one that it may not have found. */
  packs({ id }: TableShape, key: RowKey, source: Origination): boolean {
    const table = this.#tables.get(id);
    return table === undefined || (!table.rows.has(key) && !table.truncates.holdsUnseen(source));
  }

  addPacked(added: PackedEvents): void {
    const table = this.#table(added.shape);
    for (const packed of table.packed) {
      if (!isUnseen(packed.source, added.source)) continue;
      for (const key of added.keys()) {
        if (!packed.has(key)) continue;
        unpack(table, key);
        const passed = added.unpack(key);
        if (passed !== null) put(table, key, passed);
        table.contested.add(key);
      }
    }
    // Rows that were unpacked since this one was gathered.
    for (const [key, row] of table.rows) {
      if (!added.has(key)) continue;
      if (holdsUnseen(row, added.source)) table.contested.add(key);
      const passed = added.unpack(key);
      if (passed !== null) put(table, key, passed);
    }
    table.packed.push(added);
  }

  forgetPacked(packed: PackedEvents): void {
    const { id } = packed.shape;
    const table = this.#tables.get(id);
    if (table === undefined) return;
    table.packed = table.packed.filter((each) => each !== packed);
    for (const { key, passed } of packed.unpacked) this.forget(id, key, passed);
    if (isEmpty(table)) this.#tables.delete(id);
  }

  /** Whether the event with this version on this row, or on its whole table, is known. */
  knows(tableId: string, key: RowKey, version: Version): boolean {
    const table = this.#tables.get(tableId);
    if (table === undefined) return false;
    const isIt = ({ source }: { readonly source: Version }): boolean =>
      source.hlc === version.hlc && source.origin === version.origin;
    if (table.packed.some((packed) => isIt(packed) && packed.has(key))) return true;
    const row = table.rows.get(key);
    const streams = row instanceof Row ? [...row.streams.values()] : row === undefined ? [] : [[row]];
    return [...streams, ...table.truncates.streams.values()].some((stream) => stream.some(isIt));
  }

  forget(tableId: string, key: RowKey, passed: Passed): void {
    const table = this.#tables.get(tableId);
    if (table === undefined) return;
    if (key === EVERY_ROW) {
      table.truncates.forget(passed);
    } else {
      const row = table.rows.get(key);
      if (row instanceof Row) row.forget(passed);
      if (row === passed || (row instanceof Row && row.size === 0)) {
        table.rows.delete(key);
        table.contested.delete(key);
      }
    }
    if (isEmpty(table)) this.#tables.delete(tableId);
  }

  /** Whether nothing is here that an event on the row could be concurrent with. */
  hasNone(tableId: string, key: RowKey): boolean {
    const table = this.#tables.get(tableId);
    if (table === undefined) return true;
    return !table.rows.has(key) && table.packed.length === 0 && table.truncates.size === 0;
  }

  /** Whether an event may be concurrent with one that is here. */
  mayConflict(tableId: string, key: RowKey, event: Origination): boolean {
    const table = this.#tables.get(tableId);
    if (table === undefined) return false;
    const row = table.rows.get(key);
    if (row !== undefined && holdsUnseen(row, event)) return true;
    for (const packed of table.packed) if (isUnseen(packed.source, event) && packed.has(key)) return true;
    return table.truncates.holdsUnseen(event);
  }

  /** A row's events with those on every row, as they are to be judged; null where there are none. */
  streams(tableId: string, key: RowKey): ReadonlyMap<string, Passed[]> | null {
    const table = this.#tables.get(tableId);
    if (table === undefined) return null;
    unpack(table, key);
    const row = table.rows.get(key);
    const streams =
      row === undefined ? null : row instanceof Row ? row.streams : new Map([[lineOf(row.source), [row]]]);
    if (table.truncates.size === 0) return streams;
    if (streams === null) return table.truncates.streams;
    const merged = new Map<string, Passed[]>(streams);
    for (const [line, truncates] of table.truncates.streams) {
      merged.set(line, merge([...(streams.get(line) ?? []), ...truncates]));
    }
    return merged;
  }

  /** The rows of a table that have events of their own, of giants only where that one had not seen them. */
  keys(tableId: string, by: Origination): RowKey[] {
    const table = this.#tables.get(tableId);
    if (table === undefined) return [];
    const packed = table.packed.filter(({ source }) => isUnseen(source, by));
    return [...new Set([...table.rows.keys(), ...packed.flatMap((each) => [...each.keys()])])];
  }

  contested(): { readonly shape: TableShape; readonly key: RowKey }[] {
    return [...this.#tables.values()].flatMap(({ shape, contested }) => [...contested].map((key) => ({ shape, key })));
  }

  #table(shape: TableShape): Table {
    let table = this.#tables.get(shape.id);
    if (table === undefined) {
      table = { shape, rows: new Map(), packed: [], truncates: new Row(), contested: new Set() };
      this.#tables.set(shape.id, table);
    }
    table.shape = shape;
    return table;
  }
}

function isEmpty({ rows, packed, truncates }: Table): boolean {
  return rows.size === 0 && packed.length === 0 && truncates.size === 0;
}

/** What is packed of a row becomes as what was never packed. */
function unpack(table: Table, key: RowKey): void {
  for (const packed of table.packed) {
    const passed = packed.unpack(key);
    if (passed !== null) put(table, key, passed);
  }
}

/** Behind the events that the row has. */
function put({ rows }: Table, key: RowKey, passed: Passed): void {
  const known = rows.get(key);
  if (known === undefined) {
    rows.set(key, passed);
    return;
  }
  const row = known instanceof Row ? known : new Row();
  if (row !== known) {
    row.add(known as Passed);
    rows.set(key, row);
  }
  row.add(passed);
}

function holdsUnseen(row: Passed | Row, by: Origination): boolean {
  return row instanceof Row ? row.holdsUnseen(by) : isUnseen(row.source, by);
}

function isUnseen(source: Origination, by: Origination): boolean {
  return !areOfOneLine(source, by) && !covers(by.seen, source.origin, source.position);
}

/** In the order of the stream, the last of each transaction. */
function merge(events: Passed[]): Passed[] {
  events.sort((a, b) => comparePositions(a.source.position, b.source.position) || a.index - b.index);
  return events.filter((event, place) => events[place + 1]?.source.position !== event.source.position);
}

function comparePositions(a: Position, b: Position): number {
  return a === b ? 0 : a < b ? -1 : 1;
}
