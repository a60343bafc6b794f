// Reads a stream as items: whole transactions, heartbeats, runs (stream-item.ts). Which records count
// is decided by RecordOrder; a transaction becomes an item once its last record is there.
//
// Read-ahead is bounded by rows and bytes. A transaction that exceeds the bounds of one by itself turns
// into a giant: its parsed events are dropped, its end is looked for by headers alone, and whoever takes
// the item reads its events again in pieces. So memory is bounded whatever a transaction's size, and
// still no part of one is given out before all of it is known to be there.
//
// `from` is 0, or one past the last offset of an item that was taken. The run that was valid there is
// asked of the log: a zombie's records behind that place must not pass for valid ones.

import type { ChangeEvent } from '../change/change-event.ts';
import { invariant } from '../platform/assert.ts';
import { fail } from '../platform/errors.ts';
import { Fifo } from '../platform/fifo.ts';
import type { ReadLimit, StoredRecord, StreamReader } from './event-log.ts';
import { REMEMBERED_MAX, RecordOrder } from './record-order.ts';
import {
  decodeChange,
  decodeHead,
  decodeHeartbeat,
  decodeRun,
  newerRecord,
  type StreamItem,
  type TransactionHead,
  type TransactionItem,
} from './stream-item.ts';

/** Bounds of what is read ahead. One read more than that may be held. */
export type ReadAheadLimits = Pick<ReadLimit, 'bytes_max' | 'brought_only'> & { readonly rows_max: number };

export const READ_AHEAD: ReadAheadLimits = { rows_max: 20_000, bytes_max: 16 * 1024 * 1024 };

/** For who looks at many streams in turn, again and again: none of them is waited for. */
export const READ_AHEAD_IN_TURN: ReadAheadLimits = { ...READ_AHEAD, brought_only: true };

/** A transaction beyond is a giant: parsed, it takes several times its size in JSON. */
const GIANT_ROWS = 5_000;
const GIANT_BYTES = 2 * 1024 * 1024;

/** One read: what is parsed without giving the event loop its turn. */
const READ_STEP: ReadLimit = { records_max: 500, bytes_max: 512 * 1024 };
/** The same within a giant, of which only headers are looked at until its end. */
const HEADERS_STEP: ReadLimit = { records_max: 8_000, bytes_max: 512 * 1024, headers_only: true };
/** A piece of a giant. */
const PIECE: ReadLimit = { records_max: 1_000, bytes_max: 512 * 1024 };
/** Reads in one call of `fill` that may end without an item, as within a giant; then the caller gets its turn. */
const STEPS_MAX = 64;
/** What is looked at before the first record, to know a repeated one. */
const LOOK_BACK: ReadLimit = { records_max: REMEMBERED_MAX, bytes_max: 8 * 1024 * 1024 };

type Queued = { readonly item: StreamItem; readonly rows: number; readonly bytes: number };

/** The transaction under way. `events` is null once it is a giant. */
type Unfinished = { readonly head: TransactionHead; events: ChangeEvent[] | null; rows: number; bytes: number };

export class TransactionReader {
  readonly #reader: StreamReader;
  readonly #limits: ReadAheadLimits;
  readonly #step: ReadLimit;
  readonly #piece: ReadLimit;
  #order: RecordOrder | undefined;
  #nextOffset: number;
  readonly #queue = new Fifo<Queued>();
  #unfinished: Unfinished | null = null;
  #queuedRows = 0;
  #queuedBytes = 0;
  #failure: unknown;
  /** Whether what comes next is likely to be more of the giant under way. */
  #isInGiant = true;
  /** Whether the last `fill` gave its caller the turn while the stream went on. */
  #isCutShort = false;

  constructor(reader: StreamReader, from: number, limits: ReadAheadLimits = READ_AHEAD) {
    this.#reader = reader;
    this.#nextOffset = from;
    this.#limits = limits;
    this.#step = within(READ_STEP, limits);
    this.#piece = within(PIECE, limits);
  }

  /** Rows held: of items that are ready, and of the transaction under way. */
  get bufferedRows(): number {
    return this.#queuedRows + (this.#unfinished?.events?.length ?? 0);
  }

  /** The size in JSON of what is held; as objects it takes a small multiple of that. */
  get bufferedBytes(): number {
    return this.#queuedBytes + (this.#unfinished?.events === null ? 0 : (this.#unfinished?.bytes ?? 0));
  }

  /**
   * Reads on as far as the bounds allow, one step if items are ready already; waits only if none is, and at most once.
   * True when `peek()` has an item; false tells nothing of the end, which `items` finds. Throws what is wrong with the stream
   * only after all items before it are taken.
   */
  async fill(timeoutMs: number, signal?: AbortSignal): Promise<boolean> {
    this.#order ??= await this.#startOrder();
    let mayWait = true;
    this.#isCutShort = false;
    for (let step = 0; this.#failure === undefined; step += 1) {
      if (step === STEPS_MAX) {
        this.#isCutShort = true;
        break;
      }
      const hasRead = this.#hasRoom() && (await this.#readStep(this.#order));
      if (this.peek() !== undefined || signal?.aborted === true) break;
      if (hasRead) continue;
      if (!mayWait || !(await this.#reader.waitFor(this.#nextOffset, timeoutMs, signal))) break;
      mayWait = false;
    }
    if (this.peek() !== undefined) return true;
    if (this.#failure !== undefined) throw this.#failure;
    return false;
  }

  /** What is still to be taken, up to where the stream ends by then. Throws as `fill` does. */
  async *items(): AsyncGenerator<StreamItem> {
    while ((await this.fill(0)) || this.#isCutShort) while (this.peek() !== undefined) yield this.shift();
  }

  /** The item `n` places behind the next one. */
  peek(n = 0): StreamItem | undefined {
    return this.#queue.at(n)?.item;
  }

  shift(): StreamItem {
    const queued = this.#queue.shift();
    invariant(queued !== undefined, 'there is an item to take');
    this.#queuedRows -= queued.rows;
    this.#queuedBytes -= queued.bytes;
    return queued.item;
  }

  async #startOrder(): Promise<RecordOrder> {
    const from = this.#nextOffset;
    const run = await this.#reader.runBefore(from);
    const before = run < 0 ? [] : await this.#reader.readBefore(from, LOOK_BACK);
    return new RecordOrder(this.#reader.stream, run, before);
  }

  #hasRoom(): boolean {
    const { rows_max, bytes_max } = this.#limits;
    return this.peek() === undefined || (this.bufferedRows < rows_max && this.bufferedBytes < bytes_max);
  }

  /** One bounded read; false if there was nothing to read. */
  async #readStep(order: RecordOrder): Promise<boolean> {
    const { brought_only = false } = this.#limits;
    const giant = this.#unfinished?.events === null && this.#isInGiant ? this.#unfinished : null;
    const step = giant === null ? this.#step : HEADERS_STEP;
    const records = await this.#reader.read(this.#nextOffset, { ...step, brought_only });
    this.#isInGiant = true;
    try {
      if ((records[0]?.offset ?? this.#nextOffset) !== this.#nextOffset) await this.#checkTrimmed();
      for (const record of records) {
        if (giant !== null && !isOfGiant(record, giant, order)) {
          // It has a value, which is to be read.
          this.#isInGiant = false;
          break;
        }
        this.#take(order, record);
        this.#nextOffset = record.offset + 1;
      }
    } catch (error) {
      this.#failure = error;
    }
    return records.length > 0;
  }

  /** Offsets may have holes by nature; one at the front of the stream was trimmed. */
  async #checkTrimmed(): Promise<void> {
    const first = (await this.#reader.bounds())?.first ?? 0;
    if (first <= this.#nextOffset) return;
    const { stream } = this.#reader;
    const detail = `stream ${stream} begins at offset ${first}, and offset ${this.#nextOffset} is the next to read`;
    throw fail('SYN-L004', detail, { context: { stream, first, offset: this.#nextOffset } });
  }

  #take(order: RecordOrder, record: StoredRecord): void {
    const { stream } = this.#reader;
    switch (order.admit(record)) {
      case 'void':
      case 'repeated':
      case 'baseline':
        break;
      case 'newer':
        throw newerRecord(stream, record);
      case 'run':
        this.#unfinished = null;
        this.#enqueue(decodeRun(stream, record), 1, record.value.length);
        break;
      case 'heartbeat':
        this.#unfinished = null;
        this.#enqueue(decodeHeartbeat(stream, record), 1, record.value.length);
        break;
      case 'first':
        this.#begin(record);
        break;
      case 'next':
        this.#continue(record);
        break;
    }
  }

  #begin(record: StoredRecord): void {
    const event = decodeChange(this.#reader.stream, record);
    const head = decodeHead(this.#reader.stream, record, event);
    const bytes = record.value.length;
    this.#unfinished = { head, events: [event], rows: 1, bytes };
    if (record.last) this.#finish(this.#unfinished, record);
  }

  #continue(record: StoredRecord): void {
    const unfinished = this.#unfinished;
    invariant(unfinished !== null, 'what continues has begun');
    unfinished.rows += 1;
    unfinished.bytes += record.value.length;
    const { rows_max, bytes_max } = this.#limits;
    const isGiant = unfinished.rows > Math.min(rows_max, GIANT_ROWS);
    if (isGiant || unfinished.bytes > Math.min(bytes_max, GIANT_BYTES)) unfinished.events = null;
    unfinished.events?.push(decodeChange(this.#reader.stream, record));
    if (record.last) this.#finish(unfinished, record);
  }

  #finish({ head, events, rows, bytes }: Unfinished, { offset, run }: StoredRecord): void {
    this.#unfinished = null;
    if (events === null) {
      const chunks = (): AsyncIterable<readonly ChangeEvent[]> => this.#chunks(head, run, rows, offset);
      this.#enqueue({ ...head, kind: 'giant', events_count: rows, last_offset: offset, chunks }, 1, 0);
    } else {
      // The head is of this item alone by now; a copy of each costs more than the rest of the work.
      const item: TransactionItem = Object.assign(head, { kind: 'transaction' as const, events, last_offset: offset });
      this.#enqueue(item, rows, bytes);
    }
  }

  #enqueue(item: StreamItem, rows: number, bytes: number): void {
    this.#queue.push({ item, rows, bytes });
    this.#queuedRows += rows;
    this.#queuedBytes += bytes;
  }

  async *#chunks(head: TransactionHead, run: number, rows: number, last: number): AsyncGenerator<ChangeEvent[]> {
    const { stream } = this.#reader;
    let from = head.first_offset;
    for (let index = 0; index < rows; ) {
      const records = await this.#reader.read(from, this.#piece);
      const newest = records.at(-1);
      if (newest === undefined || (records[0]?.offset ?? 0) > last) {
        const detail = `stream ${stream} was trimmed within ${head.position}, which is being read again`;
        throw fail('SYN-L004', detail, { context: { stream, offset: from, position: head.position, index } });
      }
      const events: ChangeEvent[] = [];
      for (const record of records) {
        if (record.run !== run || record.position !== head.position || record.index !== index) continue;
        events.push(decodeChange(stream, record));
        index += 1;
      }
      from = newest.offset + 1;
      if (events.length > 0) yield events;
    }
  }
}

function within(limit: ReadLimit, { rows_max, bytes_max }: ReadAheadLimits): ReadLimit {
  return { records_max: Math.min(limit.records_max, rows_max), bytes_max: Math.min(limit.bytes_max, bytes_max) };
}

/** Whether the record says all by its headers, being of the giant under way or void. */
function isOfGiant({ kind, run, position }: StoredRecord, { head }: Unfinished, order: RecordOrder): boolean {
  return kind === 'change' && position === head.position && run <= order.run;
}
