// Writes one stream's database. Synchronous, since SQLite is: it runs in the writer's thread, where
// waiting for a disk delays nothing but the stream.
//
// An append is one transaction with synchronous = FULL: the WAL is flushed before the records become
// visible to any reader, so nobody ever acts on a record that a power cut could take back. SQLite sees
// to that for as long as somebody has the database open. Where all of them die at once, whoever comes
// next finds in the WAL also a commit whose flush never came to its end. So a writer begins with a
// checkpoint, which flushes the WAL, and a reader flushes it before it gives anything away.
//
// Checkpoints are ours to time. A passive one, after every few megabytes, moves what no reader needs
// in the WAL and waits for nobody. SQLite starts the WAL anew only at a moment when no reader is in
// the middle of a read, which busy readers may never leave; so once the WAL has outgrown its bound,
// one truncating checkpoint asks for that moment and waits a few milliseconds for it. Only a reader
// that was stopped in mid-read makes it fail, and then it is tried again after the next megabytes.

import * as fs from 'node:fs';
import { dirname, join } from 'node:path';
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { Position } from '../../change/position.ts';
import { fail } from '../../platform/errors.ts';
import { syncFile } from './durable-files.ts';
import { Reserve } from './reserve.ts';
import {
  createDatabase,
  ifPossible,
  isTaken,
  openDatabase,
  pragma,
  type StreamPaths,
  sizeOf,
  storeError,
} from './stream-file.ts';
import { lockedBy, takeLock } from './writer-lock.ts';

/** Records by column, which crosses to another thread three times faster than objects do. */
export type RecordColumns = {
  readonly kinds: Uint16Array;
  readonly runs: Float64Array;
  readonly positions: readonly (Position | null)[];
  readonly indexes: Float64Array;
  readonly lasts: Uint8Array;
  readonly values: readonly string[];
};

const MEGABYTE = 1024 * 1024;
/** Appended bytes between two passive checkpoints. */
const CHECKPOINT_BYTES = 4 * MEGABYTE;
/** The size from which the WAL is to be truncated. */
const WAL_BYTES_MAX = 64 * MEGABYTE;
/** How long a truncating checkpoint waits for readers; appends wait with it. */
const TRUNCATE_WAIT_MS = 20;
/** How long any other statement waits for another process, such as one that recovers the WAL after a crash. */
const BUSY_MS = 5_000;

/** What a row costs beyond its value: header, offset, position and the page's share. */
const ROW_OVERHEAD_BYTES = 96;
/** How much one step of trimming deletes. */
const TRIM_ROWS_STEP = 2_000;
const TRIM_BYTES_STEP = 4 * MEGABYTE;
/** Free pages beyond a quarter of the used ones and this much are given back to the file system. */
const FREE_BYTES_KEPT = 4 * MEGABYTE;
const VACUUM_PAGES_STEP = 512;

export class StreamFileWriter {
  readonly #paths: StreamPaths;
  readonly #bytesMax: number;
  readonly #reserve: Reserve;
  readonly #lock: DatabaseSync;
  readonly #database: DatabaseSync;
  readonly #insert: StatementSync;
  readonly #wakeFile: number;
  readonly #inode: number;
  #nextOffset: number;
  #highestRun: number;
  #uncheckpointedBytes = 0;
  /** The stream is large, and its reserve may not be whole. */
  #isReserveDue = false;

  constructor(paths: StreamPaths, bytesMax: number) {
    this.#paths = paths;
    this.#bytesMax = bytesMax;
    this.#reserve = new Reserve(paths.reserve);
    this.#lock = takeLock(paths);
    let database: DatabaseSync | undefined;
    try {
      if (!fs.existsSync(paths.database)) createAtomically(paths);
      database = openDatabase(paths.database, { readOnly: false, busyMs: BUSY_MS });
      this.#database = database;
      this.#database.exec('PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0');
      this.#checkpoint('TRUNCATE');
      this.#inode = fs.statSync(paths.database).ino;
      this.#insert = this.#database.prepare('INSERT INTO record VALUES (?, ?, ?, ?, ?, ?, ?, ?)');
      const newest = this.#database
        .prepare('SELECT "offset", max(run, run_before) AS run FROM record ORDER BY "offset" DESC LIMIT 1')
        .get();
      this.#nextOffset = newest === undefined ? 0 : Number(newest.offset) + 1;
      this.#highestRun = newest === undefined ? -1 : Number(newest.run);
      this.#wakeFile = fs.openSync(paths.wake, 'w');
    } catch (error) {
      database?.close();
      this.#lock.close();
      throw storeError(error, paths.database);
    }
  }

  /** Makes the records durable, all or none, and returns the last one's offset. */
  append(columns: RecordColumns): number {
    const bytes = bytesOf(columns);
    return this.#coded(() => {
      this.#checkBound(bytes);
      this.#transaction(() => this.#insertAll(columns));
      this.#checkInPlace();
      this.#wakeReaders();
      this.#checkpointAfter(bytes);
      return this.#nextOffset - 1;
    });
  }

  /** One step of trimming below `offset`; false when nothing is left to do. */
  trimStep(offset: number): boolean {
    return this.#coded(() => {
      const end = this.#endOfStep(offset);
      const isMore = this.#reserve.use(() => (end === undefined ? this.#giveBack() : this.#delete(end)));
      if (isMore) this.#checkpointAfter(TRIM_BYTES_STEP);
      return isMore;
    });
  }

  /** Whatever fails on the way, the lock is set free: this process would keep itself from writing the stream ever again. */
  close(): void {
    try {
      this.#coded(() => this.#database.close());
    } finally {
      ifPossible(this.#paths.wake, () => fs.closeSync(this.#wakeFile));
      ifPossible(this.#paths.pid, () => fs.unlinkSync(this.#paths.pid));
      this.#lock.close();
    }
  }

  /** Runs what reads and writes the stream; an error that leaves the thread without a code has lost its meaning. */
  #coded<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      if (isTaken(error)) throw lockedBy(this.#paths, error);
      throw storeError(error, this.#paths.database);
    }
  }

  #insertAll(columns: RecordColumns): void {
    const { kinds, runs, positions, indexes, lasts, values } = columns;
    let offset = this.#nextOffset;
    let highestRun = this.#highestRun;
    for (const [at, value] of values.entries()) {
      const run = runs[at] ?? 0;
      const position = positions[at] ?? null;
      this.#insert.run(offset, highestRun, kinds[at] ?? 0, run, position, indexes[at] ?? 0, lasts[at] ?? 0, value);
      offset += 1;
      if (run > highestRun) highestRun = run;
    }
    this.#database.exec('COMMIT');
    this.#nextOffset = offset;
    this.#highestRun = highestRun;
  }

  /** Runs what ends with a COMMIT of its own; rolls back if that is not reached. */
  #transaction(work: () => void): void {
    this.#database.exec('BEGIN IMMEDIATE');
    try {
      work();
    } finally {
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
    }
  }

  /** A file that was removed or replaced under us takes appends as before, and nobody would ever see them. */
  #checkInPlace(): void {
    const inode = fs.statSync(this.#paths.database, { throwIfNoEntry: false })?.ino;
    if (inode === this.#inode) return;
    throw fail('SYN-L002', `${this.#paths.database} was removed or replaced while in use`, {
      context: { path: this.#paths.database },
    });
  }

  #checkBound(bytes: number): void {
    if (this.#occupiedBytes() + bytes <= this.#bytesMax) return;
    this.#checkpoint('TRUNCATE');
    const occupied = this.#occupiedBytes();
    if (occupied + bytes <= this.#bytesMax) return;
    const path = this.#paths.database;
    const detail = `${path} occupies ${occupied} bytes, and ${bytes} more would pass its bound of ${this.#bytesMax}`;
    throw fail('SYN-L007', detail, { context: { path, occupied, bytes } });
  }

  /** Pages in use, whether filled or not, and the WAL; free pages are there to be filled. */
  #occupiedBytes(): number {
    const used = this.#pages('page_count') - this.#pages('freelist_count');
    return used * this.#pages('page_size') + sizeOf(this.#paths.wal);
  }

  #pages(name: 'page_count' | 'freelist_count' | 'page_size'): number {
    return Number(pragma(this.#database, name)[name]);
  }

  #checkpointAfter(bytes: number): void {
    if (this.#isReserveDue) ifPossible(this.#paths.reserve, () => this.#growReserve(bytes));
    this.#uncheckpointedBytes += bytes;
    if (this.#uncheckpointedBytes < CHECKPOINT_BYTES) return;
    this.#uncheckpointedBytes = 0;
    this.#checkpoint(sizeOf(this.#paths.wal) > WAL_BYTES_MAX ? 'TRUNCATE' : 'PASSIVE');
    this.#isReserveDue = true;
  }

  /** A disk that has no room for it now is asked again after the next checkpoint. */
  #growReserve(bytes: number): void {
    this.#isReserveDue = false;
    this.#isReserveDue = this.#reserve.grow(bytes);
  }

  /** What was appended is durable in the WAL already: a fault here loses nothing, and if it stays an append meets it. */
  #checkpoint(mode: 'PASSIVE' | 'TRUNCATE'): void {
    this.#database.exec(`PRAGMA busy_timeout = ${TRUNCATE_WAIT_MS}`);
    try {
      ifPossible(this.#paths.database, () => pragma(this.#database, `wal_checkpoint(${mode})`));
    } finally {
      this.#database.exec(`PRAGMA busy_timeout = ${BUSY_MS}`);
    }
  }

  /** Without it readers find out by polling: that it fails is no reason to fail an append that is durable. */
  #wakeReaders(): void {
    ifPossible(this.#paths.wake, () => fs.writeSync(this.#wakeFile, '!', 0));
  }

  /** The offset up to which the next step deletes: bounded, and never the newest record. */
  #endOfStep(offset: number): number | undefined {
    const below = Math.min(offset, this.#nextOffset - 1);
    const oldest = this.#database
      .prepare('SELECT "offset", octet_length(value) AS bytes FROM record WHERE "offset" < ? ORDER BY "offset" LIMIT ?')
      .iterate(below, TRIM_ROWS_STEP);
    let end: number | undefined;
    let bytes = 0;
    for (const row of oldest) {
      end = Number(row.offset) + 1;
      bytes += Number(row.bytes);
      if (bytes >= TRIM_BYTES_STEP) break;
    }
    return end;
  }

  #delete(below: number): boolean {
    this.#database.prepare('DELETE FROM record WHERE "offset" < ?').run(below);
    return true;
  }

  /** Returns free pages to the file system; false if there are too few of them to bother. */
  #giveBack(): boolean {
    const free = this.#pages('freelist_count');
    const used = this.#pages('page_count') - free;
    const excess = Math.floor(free - used / 4 - FREE_BYTES_KEPT / this.#pages('page_size'));
    if (excess <= 0) return false;
    this.#database.exec(`PRAGMA incremental_vacuum(${Math.min(excess, VACUUM_PAGES_STEP)})`);
    return true;
  }
}

function bytesOf({ values }: RecordColumns): number {
  let bytes = 0;
  for (const value of values) bytes += Buffer.byteLength(value) + ROW_OVERHEAD_BYTES;
  return bytes;
}

/**
 * What an earlier database of that name has left goes first, for good: SQLite would replay its WAL into the new one, and
 * acknowledgements of what is gone would let records be trimmed that nobody has read.
 */
function createAtomically(paths: StreamPaths): void {
  const fresh = `${paths.database}.new`;
  const leftovers = [fresh, `${fresh}-wal`, `${fresh}-shm`, paths.wal, `${paths.database}-shm`];
  for (const leftover of leftovers) removeFile(leftover);
  if (fs.existsSync(paths.acks)) {
    for (const ack of fs.readdirSync(paths.acks)) removeFile(join(paths.acks, ack));
    syncFile(paths.acks);
  }
  createDatabase(fresh);
  syncFile(paths.folder);
  fs.renameSync(fresh, paths.database);
  syncFile(paths.folder);
  // Whoever acknowledges may have made the folder, and did not flush that.
  syncFile(dirname(paths.folder));
}

/** Where it fails, its error has a code; that of `rmSync` has none on a file system that is read-only. */
function removeFile(path: string): void {
  try {
    fs.unlinkSync(path);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
  }
}
