// Reads one stream of the embedded log, while another process writes it.
//
// Every query is read to its end, or to its bound, within one call: no snapshot outlives a slice of
// about a millisecond, so readers never keep the writer from starting its WAL anew. Between two
// slices the event loop gets its turn, also when a caller reads a long backlog at full speed.
//
// Each look into the file is a transaction of SQLite, which drops what it has cached once the writer was there. Whoever comes again
// and again is not to cost one each time: where the end was found, nothing is looked at before a hint of the writer, or the
// time by which one that was lost is made up for.
//
// A stream that does not exist yet is empty; the file is looked for again until it is there.

import { statSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises';
import type { Position } from '../../change/position.ts';
import { fail } from '../../platform/errors.ts';
import { newerStored, type ReadLimit, type StoredRecord, type StreamReader } from '../event-log.ts';
import { syncFile } from './durable-files.ts';
import { isBusy, kindOf, openDatabase, type StreamPaths, sizeOf, storeError } from './stream-file.ts';
import { WakeFile } from './wake-file.ts';

/** One slice: what is read without giving the event loop its turn. */
const SLICE_RECORDS_MAX = 500;
const SLICE_BYTES_MAX = 512 * 1024;
/** Without its value a record costs a fraction. */
const SLICE_HEADERS_MAX = 2_000;
/** While another process recovers the WAL after a crash, a read is refused for a moment. */
const BUSY_RETRY_MS = 5;
const BUSY_LIMIT_MS = 10_000;

const HEADERS = '"offset", kind, run, "position", "index", last';
const COLUMNS = `${HEADERS}, value`;
type Row = [number, number, number, Position | null, number, number, string];

type OpenFile = {
  readonly inode: number;
  readonly database: DatabaseSync;
  readonly forward: StatementSync;
  readonly forwardHeaders: StatementSync;
  readonly backward: StatementSync;
  readonly first: StatementSync;
  readonly last: StatementSync;
  readonly runAt: StatementSync;
};

/** Nothing was there from this offset on, after so many hints; good until then. */
type End = { readonly offset: number; readonly hints: number; readonly untilMs: number };

type Slices = { readonly records: StoredRecord[]; readonly isEnd: boolean };

export class EmbeddedReader implements StreamReader {
  readonly stream: string;
  readonly #paths: StreamPaths;
  readonly #onClosed: () => void;
  readonly #wake: WakeFile;
  #end: End | null = null;
  #file: OpenFile | undefined;
  #isClosed = false;

  constructor(stream: string, paths: StreamPaths, onClosed: () => void) {
    this.stream = stream;
    this.#paths = paths;
    this.#onClosed = onClosed;
    this.#wake = new WakeFile(paths.wake);
  }

  async read(from: number, limit: ReadLimit): Promise<StoredRecord[]> {
    if (limit.brought_only !== true) return (await this.#readOn(from, limit)).records;
    const { hints } = this.#wake;
    const known = this.#end?.offset === from && this.#end.hints === hints ? this.#end : null;
    if (known !== null && this.#isGood(known)) return [];
    const { records, isEnd } = await this.#readOn(from, limit);
    if (known !== null && records.length > 0) this.#wake.missed();
    // Whoever is told that nothing is new may not wait, where this is looked at too.
    if (isEnd) this.#checkInPlace();
    const offset = (records.at(-1)?.offset ?? from - 1) + 1;
    this.#end = isEnd ? { offset, hints, untilMs: performance.now() + this.#wake.pollMs } : null;
    return records;
  }

  async readBefore(before: number, limit: ReadLimit): Promise<StoredRecord[]> {
    const { records } = await this.#readSlices(limit, (file, taken) => [file.backward, taken.at(-1)?.offset ?? before]);
    return records.reverse();
  }

  async runBefore(before: number): Promise<number> {
    return this.#attempt((file) => Number(file.runAt.get(before)?.run ?? -1), -1);
  }

  async waitFor(from: number, timeoutMs: number, signal?: AbortSignal): Promise<boolean> {
    const end = performance.now() + timeoutMs;
    if (timeoutMs <= 0 && this.#end?.offset === from && this.#isGood(this.#end)) return false;
    for (let hintsBefore: number | undefined; ; ) {
      if (this.#isClosed) return false;
      this.#checkInPlace();
      const { hints } = this.#wake;
      if ((await this.#lastOffset()) >= from) {
        if (hintsBefore === hints) this.#wake.missed();
        this.#end = null;
        return true;
      }
      const leftMs = end - performance.now();
      if (leftMs <= 0 || signal?.aborted === true) return false;
      await this.#wake.changed(hints, leftMs, signal);
      hintsBefore = hints;
    }
  }

  async bounds(): Promise<{ first: number; last: number } | null> {
    return this.#attempt((file) => {
      const first = file.first.get()?.offset ?? null;
      const last = file.last.get()?.offset ?? null;
      return first === null || last === null ? null : { first: Number(first), last: Number(last) };
    }, null);
  }

  async sizeBytes(): Promise<number> {
    let bytes = 0;
    for (const path of [this.#paths.database, this.#paths.wal]) {
      bytes += (await stat(path).catch(() => undefined))?.size ?? 0;
    }
    return bytes;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    this.#wake.close();
    this.#file?.database.close();
    this.#file = undefined;
    this.#onClosed();
  }

  /** A file that was removed or replaced under us would stay as it is for ever, and nobody would notice. */
  #checkInPlace(): void {
    if (this.#file === undefined) return;
    const { database } = this.#paths;
    if (statSync(database, { throwIfNoEntry: false })?.ino === this.#file.inode) return;
    throw fail('SYN-L002', `${database} was removed or replaced while in use`, { context: { path: database } });
  }

  #isGood({ hints, untilMs }: End): boolean {
    return !this.#isClosed && hints === this.#wake.hints && performance.now() < untilMs;
  }

  #readOn(from: number, limit: ReadLimit): Promise<Slices> {
    return this.#readSlices(limit, (file, taken) => {
      const newest = taken.at(-1);
      const statement = limit.headers_only === true ? file.forwardHeaders : file.forward;
      return [statement, newest === undefined ? from : newest.offset + 1];
    });
  }

  #lastOffset(): Promise<number> {
    return this.#attempt((file) => Number(file.last.get()?.offset ?? -1), -1);
  }

  async #readSlices(
    limit: ReadLimit,
    query: (file: OpenFile, taken: readonly StoredRecord[]) => [StatementSync, number],
  ): Promise<Slices> {
    const records: StoredRecord[] = [];
    let bytes = 0;
    for (;;) {
      await nextTurn();
      const sliceMax = limit.headers_only === true ? SLICE_HEADERS_MAX : SLICE_RECORDS_MAX;
      const recordsMax = Math.min(sliceMax, limit.records_max - records.length);
      const slice = await this.#attempt((file) => readSlice(...query(file, records), recordsMax), EMPTY_SLICE);
      for (const record of slice.records) {
        bytes += record.value.length;
        if (records.length > 0 && bytes > limit.bytes_max) return { records, isEnd: false };
        records.push(record);
      }
      if (slice.isEnd) return { records, isEnd: true };
      if (records.length >= limit.records_max) return { records, isEnd: false };
    }
  }

  /** Runs a synchronous query, as soon as the file is there and nobody is in its way. */
  async #attempt<T>(query: (file: OpenFile) => T, ifAbsent: T): Promise<T> {
    const end = performance.now() + BUSY_LIMIT_MS;
    for (;;) {
      if (this.#isClosed) throw fail('SYN-L002', `the reader of stream ${this.stream} is closed`);
      try {
        this.#file ??= openFile(this.#paths);
        return this.#file === undefined ? ifAbsent : query(this.#file);
      } catch (error) {
        if (!isBusy(error) || performance.now() >= end) throw storeError(error, this.#paths.database);
      }
      await delay(BUSY_RETRY_MS);
    }
  }
}

function openFile({ database: path, wal }: StreamPaths): OpenFile | undefined {
  const inode = statSync(path, { throwIfNoEntry: false })?.ino;
  if (inode === undefined) return undefined;
  const database = openDatabase(path, { readOnly: true, busyMs: 0 });
  try {
    const queries = prepareQueries(database);
    // Whoever appends flushes it, but may have died on the way: what SQLite found there would be seen all the same.
    if (sizeOf(wal) > 0) syncFile(wal);
    return { inode, database, ...queries };
  } catch (error) {
    database.close();
    throw error;
  }
}

function prepareQueries(database: DatabaseSync): Omit<OpenFile, 'inode' | 'database'> {
  const rows = (sql: string): StatementSync => {
    const statement = database.prepare(sql);
    statement.setReturnArrays(true);
    return statement;
  };
  return {
    forward: rows(`SELECT ${COLUMNS} FROM record WHERE "offset" >= ? ORDER BY "offset" LIMIT ?`),
    forwardHeaders: rows(`SELECT ${HEADERS}, '' FROM record WHERE "offset" >= ? ORDER BY "offset" LIMIT ?`),
    backward: rows(`SELECT ${COLUMNS} FROM record WHERE "offset" < ? ORDER BY "offset" DESC LIMIT ?`),
    first: database.prepare('SELECT min("offset") AS "offset" FROM record'),
    last: database.prepare('SELECT max("offset") AS "offset" FROM record'),
    runAt: database.prepare(
      `SELECT coalesce(
         (SELECT run_before FROM record WHERE "offset" >= ? ORDER BY "offset" LIMIT 1),
         (SELECT max(run, run_before) FROM record ORDER BY "offset" DESC LIMIT 1)) AS run`,
    ),
  };
}

const EMPTY_SLICE: Slices = { records: [], isEnd: true };

function readSlice(statement: StatementSync, bound: number, recordsMax: number): Slices {
  const records: StoredRecord[] = [];
  let bytes = 0;
  // Leaving the loop resets the statement, and with it ends the snapshot.
  for (const row of statement.iterate(bound, recordsMax) as Iterable<unknown> as Iterable<Row>) {
    const [offset, number, run, position, index, last, value] = row;
    const stored = kindOf(number);
    if (stored.kind === 'newer') records.push(newerStored(offset, run, stored.what));
    else records.push({ offset, kind: stored.kind, run, position, index, last: last === 1, value });
    bytes += value.length;
    if (bytes >= SLICE_BYTES_MAX) return { records, isEnd: false };
  }
  return { records, isEnd: records.length < recordsMax };
}
