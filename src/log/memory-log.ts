// The log of a simulation: streams in memory, nothing durable, no clock and no timer of its own.
//
// Every step takes effect in the call itself and promises resolve in order, so one schedule of calls
// always gives one outcome. Like Kafka it lets several writers append to one stream: what a zombie
// appends is the reader's to ignore. A crash in mid-append is arranged with `crashAppend`; lost and
// repeated deliveries need nothing here, since a reader may ask again from any older offset.

import type { LogRecord } from '../change/stream-record.ts';
import { invariant } from '../platform/assert.ts';
import { fail } from '../platform/errors.ts';
import type { EventLog, ReadLimit, StoredRecord, StreamReader, StreamWriter } from './event-log.ts';
import { takeWithin } from './read-limit.ts';

/** Resolves after the time or when the signal aborts, whichever comes first. */
type Sleep = (delayMs: number, signal: AbortSignal) => Promise<void>;

type Waiter = { readonly from: number; readonly wake: () => void };

class MemoryStream {
  readonly name: string;
  records: StoredRecord[] = [];
  /** `runs[i]` is the highest run among the records before `records[i]`, trimmed ones included. */
  runs: number[] = [];
  nextOffset = 0;
  highestRun = -1;
  /** How many records the next append stores before it crashes; null for none. */
  crashAfter: number | null = null;
  readonly acknowledged = new Map<string, number>();
  waiters: Waiter[] = [];

  constructor(name: string) {
    this.name = name;
  }

  /** The place of the first record with offset ≥ `offset`; records are dense. */
  indexOf(offset: number): number {
    const first = this.nextOffset - this.records.length;
    return Math.min(Math.max(offset - first, 0), this.records.length);
  }

  store(records: readonly LogRecord[]): void {
    for (const record of records) {
      this.runs.push(this.highestRun);
      this.records.push({ ...record, offset: this.nextOffset });
      this.highestRun = Math.max(this.highestRun, record.run);
      this.nextOffset += 1;
    }
    const waiting = this.waiters;
    this.waiters = waiting.filter(({ from }) => from >= this.nextOffset);
    for (const { from, wake } of waiting) if (from < this.nextOffset) wake();
  }

  trim(offset: number): void {
    const kept = Math.min(this.indexOf(offset), this.records.length - 1);
    if (kept <= 0) return;
    this.records = this.records.slice(kept);
    this.runs = this.runs.slice(kept);
  }
}

class MemoryWriter implements StreamWriter {
  readonly #stream: MemoryStream;
  #failure: Error | undefined;

  constructor(stream: MemoryStream) {
    this.#stream = stream;
  }

  async append(records: readonly LogRecord[]): Promise<number> {
    invariant(records.length > 0, 'an append has at least one record');
    if (this.#failure !== undefined) throw this.#failure;
    const keep = this.#stream.crashAfter;
    this.#stream.crashAfter = null;
    this.#stream.store(keep === null ? records : records.slice(0, keep));
    if (keep === null) return this.#stream.nextOffset - 1;
    this.#failure = fail('SYN-L002', `the append to stream ${this.#stream.name} crashed after ${keep} records`);
    throw this.#failure;
  }

  async trim(offset: number): Promise<void> {
    this.#stream.trim(offset);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#failure ??= fail('SYN-L002', `the writer of stream ${this.#stream.name} is closed`);
  }
}

class MemoryReader implements StreamReader {
  readonly #stream: MemoryStream;
  readonly #sleep: Sleep | undefined;

  constructor(stream: MemoryStream, sleep: Sleep | undefined) {
    this.#stream = stream;
    this.#sleep = sleep;
  }

  get stream(): string {
    return this.#stream.name;
  }

  async read(from: number, limit: ReadLimit): Promise<StoredRecord[]> {
    const { records } = this.#stream;
    const start = this.#stream.indexOf(from);
    const taken = takeWithin(limit, (index) => records[start + index]);
    return limit.headers_only === true ? taken.map((record) => ({ ...record, value: '' })) : taken;
  }

  async readBefore(before: number, limit: ReadLimit): Promise<StoredRecord[]> {
    const { records } = this.#stream;
    const end = this.#stream.indexOf(before);
    return takeWithin(limit, (index) => records[end - 1 - index]).reverse();
  }

  async runBefore(before: number): Promise<number> {
    return this.#stream.runs[this.#stream.indexOf(before)] ?? this.#stream.highestRun;
  }

  async waitFor(from: number, timeoutMs: number, signal?: AbortSignal): Promise<boolean> {
    const stream = this.#stream;
    const isThere = (): boolean => stream.nextOffset > from;
    if (isThere() || timeoutMs <= 0 || signal?.aborted === true) return isThere();
    const over = new AbortController();
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiter = { from, wake: resolve };
    stream.waiters.push(waiter);
    signal?.addEventListener('abort', () => resolve(), { signal: over.signal });
    void this.#sleep?.(timeoutMs, over.signal).then(resolve);
    await promise;
    over.abort();
    stream.waiters = stream.waiters.filter((each) => each !== waiter);
    return isThere();
  }

  async bounds(): Promise<{ first: number; last: number } | null> {
    const { records, nextOffset } = this.#stream;
    return records.length === 0 ? null : { first: nextOffset - records.length, last: nextOffset - 1 };
  }

  async sizeBytes(): Promise<number> {
    return this.#stream.records.reduce((sum, { value }) => sum + value.length, 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

export class MemoryLog implements EventLog {
  readonly #streams = new Map<string, MemoryStream>();
  readonly #sleep: Sleep | undefined;

  /** Without `sleep` a wait ends by an append or by its signal alone, whatever its timeout above zero. */
  constructor(options: { sleep?: Sleep } = {}) {
    this.#sleep = options.sleep;
  }

  /** The next append to the stream stores its first `keep` records and then fails, as a crash in its middle does. */
  crashAppend(stream: string, keep: number): void {
    this.#stream(stream).crashAfter = keep;
  }

  async writer(stream: string): Promise<StreamWriter> {
    return new MemoryWriter(this.#stream(stream));
  }

  async reader(stream: string): Promise<StreamReader> {
    return new MemoryReader(this.#stream(stream), this.#sleep);
  }

  async acknowledge(stream: string, consumer: string, offset: number): Promise<void> {
    this.#stream(stream).acknowledged.set(consumer, offset);
  }

  async acknowledged(stream: string): Promise<ReadonlyMap<string, number>> {
    return new Map(this.#stream(stream).acknowledged);
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  #stream(name: string): MemoryStream {
    const known = this.#streams.get(name);
    if (known !== undefined) return known;
    const created = new MemoryStream(name);
    this.#streams.set(name, created);
    return created;
  }
}
