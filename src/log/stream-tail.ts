// What a capture that starts must know of its own stream: the highest run, the last position that was
// published whole, and the stamps near the stream's end (a local write must be stamped above an
// earlier one of the same row, see the stamper).
//
// It reads backwards from the end. A record counts unless an older record has a higher run, which the
// log knows for any place. A last record implies that the whole transaction is there, since appends
// keep their order and a crash leaves a prefix. An unfinished transaction may have millions of
// records; they are skipped by index, not read: whoever is at index i has at least i to skip.
//
// At least as many records are looked at as a run remembers, since the end may be a repetition of an
// append in doubt, behind which the last position stands.
//
// How far back the stamps go: capture publishes nothing that lies more than WINDOW below the stream's
// highest stamp so far. So once a stamp is more than two windows below the highest one at the end,
// everything before it lies more than one window below, and cannot matter any more. Where a clock was
// stepped back, or a giant transaction ends the stream, more rows lie within the window than are to be
// listed: then a stamp is given that counts for any row, and that no row before can exceed. Stamping
// above more than is needed is always safe.

import type { ChangeEvent, Image } from '../change/change-event.ts';
import { HLC_ZERO, type Hlc, hlcFromText } from '../change/hlc.ts';
import type { Position } from '../change/position.ts';
import type { ReadLimit, StoredRecord, StreamReader } from './event-log.ts';
import { REMEMBERED_MAX } from './record-order.ts';
import { decodeChange, decodeHeartbeat, newerRecord } from './stream-item.ts';

const READ_STEP: ReadLimit = { records_max: 500, bytes_max: 1024 * 1024 };
/** How many changed rows are listed: bounds memory and the time that a start takes. */
const ROWS_MAX = 50_000;

export type TailEnd = {
  readonly position: Position;
  /** Of the transaction's last record, whose index this is. */
  readonly event_id: string;
  readonly index: number;
  readonly hlc: Hlc;
  readonly offset: number;
};

export type StampedRow = {
  readonly schema_name: string;
  readonly table_name: string;
  readonly row_pk: Image;
  /** The key before the change, where the change moved it. */
  readonly row_pk_before: Image | null;
  readonly hlc: Hlc;
};

export type TailStamps = {
  /** The highest stamp of the stream, or at most a window above it; zero for an empty stream. */
  readonly highest: Hlc;
  /** Rows changed with a stamp within the window below `highest`, the latest changes first; one row may occur often. */
  readonly rows: readonly StampedRow[];
  /** The stamp that counts for any row: of a TRUNCATE, or not below those of the rows that are not listed. */
  readonly any_row: Hlc;
};

export type StreamTail = {
  /** The highest run of the stream; -1 for an empty one. */
  readonly run: number;
  /** The last whole transaction or heartbeat; null where there is none. */
  readonly last: TailEnd | null;
  readonly stamps: TailStamps;
};

/** `window` is the width of the window of stamps, in HLC units. */
export async function readTail(reader: StreamReader, window: Hlc): Promise<StreamTail> {
  const end = ((await reader.bounds())?.last ?? -1) + 1;
  const scan = new TailScan(reader.stream, window);
  for (let before = end; !scan.isDone; ) {
    const records = await reader.readBefore(before, READ_STEP);
    const oldest = records[0];
    if (oldest === undefined) break;
    scan.takeBackwards(records, await reader.runBefore(oldest.offset));
    before = Math.min(oldest.offset, scan.skipTo);
  }
  return scan.result(await reader.runBefore(end));
}

class TailScan {
  readonly #stream: string;
  readonly #window: Hlc;
  readonly #rows: StampedRow[] = [];
  #last: TailEnd | null = null;
  #highest: Hlc = HLC_ZERO;
  #lowest: Hlc | null = null;
  #anyRow: Hlc = HLC_ZERO;
  #taken = 0;
  /** The whole transaction that the records before belong to. */
  #whole: { readonly run: number; readonly position: Position } | null = null;
  /** Nothing from this offset on is of interest any more. */
  skipTo = Number.POSITIVE_INFINITY;

  constructor(stream: string, window: Hlc) {
    this.#stream = stream;
    this.#window = window;
  }

  get isDone(): boolean {
    if (this.#lowest === null || this.#taken < REMEMBERED_MAX) return false;
    return this.#isFull || this.#lowest + 2n * this.#window < this.#highest;
  }

  get #isFull(): boolean {
    return this.#rows.length >= ROWS_MAX;
  }

  takeBackwards(records: readonly StoredRecord[], runBefore: number): void {
    let run = runBefore;
    const valid = records.filter((record) => {
      run = Math.max(run, record.run);
      return record.run === run;
    });
    for (const record of valid.reverse()) {
      this.#taken += 1;
      if (record.kind === 'newer') throw newerRecord(this.#stream, record);
      if (record.offset >= this.skipTo || record.kind === 'run' || record.kind === 'baseline') continue;
      if (record.kind === 'heartbeat') this.#takeHeartbeat(record);
      else this.#takeChange(record);
    }
  }

  result(run: number): StreamTail {
    // What was not looked at had, at the lowest stamp seen, a highest one that is at most a window above that.
    if (this.#isFull && this.#lowest !== null) {
      this.#highest = maxHlc(this.#highest, this.#lowest + this.#window);
      this.#anyRow = this.#highest;
    }
    const lowest = this.#highest - this.#window;
    const rows = this.#rows.filter(({ hlc }) => hlc >= lowest);
    return { run, last: this.#last, stamps: { highest: this.#highest, rows, any_row: this.#anyRow } };
  }

  #takeHeartbeat(record: StoredRecord): void {
    const { heartbeat } = decodeHeartbeat(this.#stream, record);
    this.#end(record, heartbeat.position, heartbeat.event_id, heartbeat.hlc);
  }

  #takeChange(record: StoredRecord): void {
    const { run, position, offset, index, last } = record;
    const isPart = this.#whole?.run === run && this.#whole.position === position;
    if (!last && !isPart) {
      this.skipTo = offset - index;
      return;
    }
    const event = decodeChange(this.#stream, record);
    const hlc = hlcFromText(event.hlc_timestamp);
    if (last && position !== null) {
      this.#whole = { run, position };
      this.#end(record, position, event.event_id, hlc);
    }
    this.#stamp(event, hlc);
  }

  /** The end of a whole transaction. The highest position is the last one: lower ones behind it are repetitions. */
  #end({ offset, index }: StoredRecord, position: Position, event_id: string, hlc: Hlc): void {
    if (this.#last === null || position > this.#last.position) this.#last = { position, event_id, index, hlc, offset };
    this.#highest = maxHlc(this.#highest, hlc);
    if (this.#lowest === null || hlc < this.#lowest) this.#lowest = hlc;
  }

  #stamp(event: ChangeEvent, hlc: Hlc): void {
    const { schema_name, table_name, row_pk } = event;
    if (event.operation === 'TRUNCATE') this.#anyRow = maxHlc(this.#anyRow, hlc);
    else this.#rows.push({ schema_name, table_name, row_pk, row_pk_before: movedKey(event), hlc });
  }
}

const maxHlc = (a: Hlc, b: Hlc): Hlc => (a > b ? a : b);

function movedKey({ row_pk, before_image }: ChangeEvent): Image | null {
  if (before_image === null) return null;
  const names = Object.keys(row_pk);
  if (names.every((name) => before_image[name] === row_pk[name])) return null;
  return Object.fromEntries(names.map((name) => [name, before_image[name] ?? null]));
}
