// One stream of the embedded log on disk: a folder with one SQLite database, and what belongs to it.
//
//   records.sqlite   the records, one row each, in WAL mode; one process writes, any number reads
//   writer.lock      locked by the writer for as long as it lives; the kernel frees it if it dies
//   writer.pid       who holds that lock, for a message
//   reserve          room on the disk for trimming, once the stream is large (reserve.ts)
//   wake             written after each commit, so that readers that wait are told (wake-file.ts)
//   acks/            one file per consumer (ack-files.ts)
//
// A file per stream, and nothing that two writers share: a process that was stopped or killed at any
// point keeps nobody from writing another stream. Readers open the database read-only, which also
// keeps them from checkpointing it when they close, so none of them ever holds a lock that a writer
// needs. The database is created under another name and renamed, so a reader finds none or a whole one.

import { statSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type RecordKind, STREAM_FORMAT } from '../../change/stream-record.ts';
import { fail, type SynclineError } from '../../platform/errors.ts';

/** "Sync" in ASCII: what `file` and SQLite's tools show as the application of the database. */
const APPLICATION_ID = 0x53796e63;
const FORMAT_VERSION = 1;

/** Twice SQLite's default: some ten records share a page. Yet larger ones make small commits write more. */
const PAGE_BYTES = 8192;

/** The place in this list is the number of a kind, in every format: new ones are added behind. */
const KINDS: readonly RecordKind[] = ['change', 'heartbeat', 'run', 'baseline'];
/** A format begins with the number at which the one before it can have no kinds any more. */
const KINDS_MAX = 256;

/** How kind and format of a record are stored: one number, so that neither of them takes room. */
export const kindNumber = (kind: RecordKind, format = STREAM_FORMAT): number =>
  (format - 1) * KINDS_MAX + KINDS.indexOf(kind);

/** What is stored under a number; for what this version cannot read, in words. */
export function kindOf(
  number: number,
): { readonly kind: RecordKind } | { readonly kind: 'newer'; readonly what: string } {
  const format = Math.floor(number / KINDS_MAX) + 1;
  const kind = KINDS[number % KINDS_MAX];
  if (format > STREAM_FORMAT) return { kind: 'newer', what: `format ${format}` };
  return kind === undefined ? { kind: 'newer', what: `an unknown kind, number ${number % KINDS_MAX}` } : { kind };
}

export type StreamPaths = {
  readonly folder: string;
  readonly database: string;
  readonly wal: string;
  readonly lock: string;
  readonly pid: string;
  readonly reserve: string;
  readonly wake: string;
  readonly acks: string;
};

export function streamPaths(directory: string, stream: string): StreamPaths {
  const folder = join(directory, fileNameOf(stream));
  const database = join(folder, 'records.sqlite');
  return {
    folder,
    database,
    wal: `${database}-wal`,
    lock: join(folder, 'writer.lock'),
    pid: join(folder, 'writer.pid'),
    reserve: join(folder, 'reserve'),
    wake: join(folder, 'wake'),
    acks: join(folder, 'acks'),
  };
}

/**
 * A name that every file system takes and keeps apart from others, also where case does not count: whatever is not a
 * small letter, a digit, `-` or `_` becomes its UTF-8 bytes as `%xx`.
 */
export function fileNameOf(name: string): string {
  return name.replaceAll(/[^a-z0-9_-]/gu, (character) =>
    [...Buffer.from(character)].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join(''),
  );
}

export function nameOfFile(fileName: string): string {
  const parts = fileName.split(/%([0-9a-f]{2})/);
  return Buffer.concat(
    parts.map((part, index) => (index % 2 === 0 ? Buffer.from(part) : Buffer.from(part, 'hex'))),
  ).toString();
}

/**
 * Makes an empty database under a name of its own; the caller renames it. What it consists of has left the WAL, which keeps
 * the old name. Closing alone is not enough: it is silent where the disk has no room for that.
 */
export function createDatabase(path: string): void {
  const database = new DatabaseSync(path);
  try {
    database.exec(`PRAGMA page_size = ${PAGE_BYTES}; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL`);
    database.exec(
      `PRAGMA synchronous = FULL;
       CREATE TABLE record (
         "offset" INTEGER PRIMARY KEY,
         run_before INTEGER NOT NULL, -- the highest run among all records before this one
         kind INTEGER NOT NULL,
         run INTEGER NOT NULL,
         "position" TEXT,
         "index" INTEGER NOT NULL,
         last INTEGER NOT NULL,
         value TEXT NOT NULL
       ) STRICT;
       PRAGMA application_id = ${APPLICATION_ID};
       PRAGMA user_version = ${FORMAT_VERSION}`,
    );
    pragma(database, 'wal_checkpoint(TRUNCATE)');
  } finally {
    database.close();
  }
  if (sizeOf(`${path}-wal`) > 0) throw fail('SYN-L002', `${path} cannot be written as a whole`, { context: { path } });
}

/** 0 for a file that is not there. */
export function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

/** Opens what `createDatabase` made; anything else is refused, unread and unchanged. */
export function openDatabase(path: string, options: { readOnly: boolean; busyMs: number }): DatabaseSync {
  // SQLite takes an empty file for an empty database; ours never is.
  if (statSync(path).size === 0) throw fail('SYN-L009', `${path} is empty`, { context: { path } });
  const database = new DatabaseSync(path, { readOnly: options.readOnly, timeout: options.busyMs });
  try {
    const { application_id: application } = pragma(database, 'application_id');
    const { user_version: version } = pragma(database, 'user_version');
    if (application !== APPLICATION_ID) {
      throw fail('SYN-L009', `${path} is a database of another program`, { context: { path } });
    }
    if (version !== FORMAT_VERSION) {
      const detail = `${path} has format ${String(version)}, and this version knows format ${FORMAT_VERSION}`;
      throw fail('SYN-L010', detail, { context: { path } });
    }
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

export function pragma(database: DatabaseSync, statement: string): Record<string, unknown> {
  return database.prepare(`PRAGMA ${statement}`).get() ?? {};
}

const SQLITE_BUSY = 5;
const SQLITE_LOCKED = 6;
const SQLITE_CORRUPT = 11;
const SQLITE_FULL = 13;
const SQLITE_TOOBIG = 18;
const SQLITE_CONSTRAINT = 19;
const SQLITE_NOTADB = 26;
/** No permission, read-only, I/O error, disk full, cannot open: the world outside of the file. */
const SQLITE_WORLD: ReadonlySet<number> = new Set([3, 8, 10, SQLITE_FULL, 14]);

/** Whether another connection is in the way for a moment. */
export function isBusy(error: unknown): boolean {
  const code = sqliteCode(error);
  return code === SQLITE_BUSY || code === SQLITE_LOCKED;
}

export const hasNoRoom = (error: unknown): boolean => sqliteCode(error) === SQLITE_FULL;

/** Whether an offset that was to be written has a record: somebody writes the stream who did not ask for the lock. */
export const isTaken = (error: unknown): boolean => sqliteCode(error) === SQLITE_CONSTRAINT;

/** For what may also fail: the next one makes up for it, or nobody needs it. */
export function ifPossible(path: string, work: () => void): void {
  try {
    work();
  } catch (error) {
    if (storeError(error, path) === error) throw error;
  }
}

/** What a failure of SQLite or of the file system means to an operator; anything else stays as it is. */
export function storeError(error: unknown, path: string): unknown {
  const code = sqliteCode(error);
  const message = error instanceof Error ? error.message : String(error);
  const options = { cause: error, context: { path, sqlite_code: code } };
  if (code === SQLITE_CORRUPT || code === SQLITE_NOTADB) return fail('SYN-L009', `${path}: ${message}`, options);
  if (code === SQLITE_TOOBIG) return fail('SYN-K007', `the log cannot take a record of this size: ${message}`, options);
  if (code !== undefined && (SQLITE_WORLD.has(code) || isBusy(error))) return unusable(path, message, options);
  if (error instanceof Error && 'syscall' in error) return unusable(path, message, { cause: error, context: { path } });
  return error;
}

const unusable = (path: string, message: string, options: Parameters<typeof fail>[2]): SynclineError =>
  fail('SYN-L002', `${path}: ${message}`, options);

/** SQLite's primary result code, where the error is one of SQLite's. */
function sqliteCode(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('errcode' in error) || typeof error.errcode !== 'number') return undefined;
  return error.errcode & 0xff;
}
