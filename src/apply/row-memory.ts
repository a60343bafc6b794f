/**
 * Unsettled events by table and row, per line (an epoch of a stream) in its order: the last of each transaction.
 *
 * Most rows have one event, which stands for itself; only a row with more gets lists. Events are forgotten in about the
 * order in which they came, and a hot row has very many, so they are only marked, and a row's lists are swept once half
 * of them is.
 *
 * A row is contested once an event came to it that had not seen all of the others, or one behind a write with a pushed
 * stamp, which may be hidden from it: only such rows can have conflicts.
 */
import { covers, type Position } from '../change/position.ts';
import { lineOf, type Origination } from '../resolve/losses.ts';
import { EVERY_ROW, type RowKey, type TableShape } from './apply-port.ts';
import type { Passed } from './passed-event.ts';

export class Row {
  readonly lines = new Map<string, Passed[]>();
  #kept = 0;
  #forgotten = 0;

  /** How many are kept. */
  get size(): number {
    return this.#kept;
  }

  add(passed: Passed): void {
    const line = lineOf(passed.source);
    const stream = this.lines.get(line);
    if (stream === undefined) {
      passed.found = undefined;
      this.lines.set(line, [passed]);
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
    return this.lines.get(lineOf(source))?.at(-1)?.source.position === source.position;
  }

  /** Whether an event of another line is here that is not among what was seen. */
  holdsUnseen(by: Origination): boolean {
    const own = lineOf(by);
    for (const [line, stream] of this.lines) {
      const last = stream.at(-1)?.source;
      if (line !== own && last !== undefined && !covers(by.seen, last.origin, last.position)) return true;
    }
    return false;
  }

  /** The lists as they are to be judged. */
  get streams(): ReadonlyMap<string, Passed[]> {
    if (this.#forgotten > 0) this.#sweep();
    return this.lines;
  }

  #sweep(): void {
    for (const [line, stream] of this.lines) {
      const kept = stream.filter(({ isForgotten }) => !isForgotten);
      if (kept.length === 0) this.lines.delete(line);
      else this.lines.set(line, kept);
    }
    this.#forgotten = 0;
  }
}

/** `truncates` are the events on every row. */
type Table = {
  shape: TableShape;
  readonly rows: Map<RowKey, Passed | Row>;
  readonly truncates: Row;
  readonly contested: Set<RowKey>;
};

export class RowMemory {
  readonly #tables = new Map<string, Table>();

  add(shape: TableShape, key: RowKey, passed: Passed): void {
    const table = this.#table(shape);
    const { source } = passed;
    if (key === EVERY_ROW) {
      for (const [other, row] of table.rows) if (holdsUnseen(row, source)) table.contested.add(other);
      table.truncates.add(passed);
      return;
    }
    const known = table.rows.get(key);
    if (table.truncates.holdsUnseen(source)) table.contested.add(key);
    // Behind a TRUNCATE of its own transaction a write finds nothing, and knows why.
    if (known === undefined || table.truncates.endsWith(passed.source)) passed.found = undefined;
    if (known === undefined) {
      table.rows.set(key, passed);
      return;
    }
    if (holdsUnseen(known, source)) table.contested.add(key);
    const row = known instanceof Row ? known : new Row();
    if (row !== known) {
      row.add(known as Passed);
      table.rows.set(key, row);
    }
    row.add(passed);
    if (passed.found !== undefined) table.contested.add(key);
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
    if (table.rows.size === 0 && table.truncates.size === 0) this.#tables.delete(tableId);
  }

  /** Whether an event may be concurrent with one that is here. */
  mayConflict(tableId: string, key: RowKey, event: Origination): boolean {
    const table = this.#tables.get(tableId);
    const row = table?.rows.get(key);
    if (row !== undefined && holdsUnseen(row, event)) return true;
    return table?.truncates.holdsUnseen(event) ?? false;
  }

  /** A row's events with those on every row, as they are to be judged; null where there are none. */
  streams(tableId: string, key: RowKey): ReadonlyMap<string, Passed[]> | null {
    const table = this.#tables.get(tableId);
    if (table === undefined) return null;
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

  /** The rows of a table that have events of their own. */
  keys(tableId: string): RowKey[] {
    return [...(this.#tables.get(tableId)?.rows.keys() ?? [])];
  }

  contested(): { readonly shape: TableShape; readonly key: RowKey }[] {
    return [...this.#tables.values()].flatMap(({ shape, contested }) => [...contested].map((key) => ({ shape, key })));
  }

  #table(shape: TableShape): Table {
    let table = this.#tables.get(shape.id);
    if (table === undefined) {
      table = { shape, rows: new Map(), truncates: new Row(), contested: new Set() };
      this.#tables.set(shape.id, table);
    }
    table.shape = shape;
    return table;
  }
}

function holdsUnseen(row: Passed | Row, by: Origination): boolean {
  if (row instanceof Row) return row.holdsUnseen(by);
  const { source } = row;
  return !covers(by.seen, source.origin, source.position) && lineOf(source) !== lineOf(by);
}

/** In the order of the stream, the last of each transaction. */
function merge(events: Passed[]): Passed[] {
  events.sort((a, b) => comparePositions(a.source.position, b.source.position) || a.index - b.index);
  return events.filter((event, place) => events[place + 1]?.source.position !== event.source.position);
}

function comparePositions(a: Position, b: Position): number {
  return a === b ? 0 : a < b ? -1 : 1;
}
