// Appends to one stream through the writer's thread, with group commit: what is appended while a
// commit is under way goes into the next one together, so the flush of the disk is shared by all who
// wait for it. One commit is under way at a time, which keeps the order.

import type { LogRecord } from '../../change/stream-record.ts';
import { invariant } from '../../platform/assert.ts';
import { fail } from '../../platform/errors.ts';
import type { StreamWriter } from '../event-log.ts';
import { kindNumber } from './stream-file.ts';
import type { RecordColumns } from './stream-file-writer.ts';
import type { WriterThread } from './writer-thread.ts';

/** What one commit takes: bounds the wait of the appends behind it. One that is larger goes alone. */
const GROUP_RECORDS_MAX = 4_000;
const GROUP_BYTES_MAX = 4 * 1024 * 1024;

type Pending = {
  readonly records: readonly LogRecord[];
  readonly resolve: (offset: number) => void;
  readonly reject: (error: unknown) => void;
};

export class EmbeddedWriter implements StreamWriter {
  readonly #stream: string;
  readonly #thread: WriterThread;
  readonly #onClosed: () => void;
  #waiting: Pending[] = [];
  #committing: Promise<void> | undefined;
  #failure: unknown;
  #closing: Promise<void> | undefined;

  constructor(stream: string, thread: WriterThread, onClosed: () => void) {
    this.#stream = stream;
    this.#thread = thread;
    this.#onClosed = onClosed;
  }

  append(records: readonly LogRecord[]): Promise<number> {
    invariant(records.length > 0, 'an append has at least one record');
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    this.#waiting.push({ records, resolve, reject });
    this.#committing ??= this.#commitAll();
    return promise;
  }

  async trim(offset: number): Promise<void> {
    let isMore = true;
    while (isMore && this.#closing === undefined) {
      isMore = (await this.#thread.call(this.#stream, { kind: 'trim', offset })) > 0;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= this.#close();
    await this.#closing;
  }

  async #close(): Promise<void> {
    await this.#committing;
    const isTold = this.#failure !== undefined;
    this.#failure ??= fail('SYN-L002', `the writer of stream ${this.#stream} is closed`);
    try {
      await this.#thread.call(this.#stream, { kind: 'close' });
    } catch (error) {
      // Whoever appended knows of the failed append, or of the thread's end, that this one follows from. A second error
      // would only hide the first.
      if (!isTold && !this.#thread.hasEnded) throw error;
    } finally {
      this.#onClosed();
    }
  }

  async #commitAll(): Promise<void> {
    while (this.#waiting.length > 0) {
      const group = this.#takeGroup();
      try {
        const last = await this.#thread.call(this.#stream, { kind: 'append', columns: columnsOf(group) });
        resolveGroup(group, last);
      } catch (error) {
        // What waits behind a failed append must not be stored behind the gap that it leaves.
        this.#failure = error;
        for (const { reject } of [...group, ...this.#waiting]) reject(error);
        this.#waiting = [];
      }
    }
    this.#committing = undefined;
  }

  #takeGroup(): Pending[] {
    let records = 0;
    let bytes = 0;
    let count = 0;
    for (const pending of this.#waiting) {
      records += pending.records.length;
      for (const { value } of pending.records) bytes += value.length;
      if (count > 0 && (records > GROUP_RECORDS_MAX || bytes > GROUP_BYTES_MAX)) break;
      count += 1;
    }
    return this.#waiting.splice(0, count);
  }
}

function columnsOf(group: readonly Pending[]): RecordColumns {
  const records = group.flatMap((pending) => pending.records);
  return {
    kinds: Uint16Array.from(records, ({ kind }) => kindNumber(kind)),
    runs: Float64Array.from(records, ({ run }) => run),
    positions: records.map(({ position }) => position),
    indexes: Float64Array.from(records, ({ index }) => index),
    lasts: Uint8Array.from(records, ({ last }) => (last ? 1 : 0)),
    values: records.map(({ value }) => value),
  };
}

/** The group's records are stored next to each other, so each append's last offset follows from the last of all. */
function resolveGroup(group: readonly Pending[], last: number): void {
  let offset = last;
  for (const { records, resolve } of group.toReversed()) {
    resolve(offset);
    offset -= records.length;
  }
}
