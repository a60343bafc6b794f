// Who may write a stream: one process, for as long as it lives. The lock is one of SQLite on a file of its own, since Node has
// no file locks; that file is never opened in any other way.

import { readFileSync, writeFileSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { fail, type SynclineError } from '../../platform/errors.ts';
import { makeFolder } from './durable-files.ts';
import { ifPossible, isBusy, type StreamPaths, storeError } from './stream-file.ts';

const UNKNOWN_PID = '(unknown)';

/** Closing it sets the stream free. */
export function takeLock(paths: StreamPaths): DatabaseSync {
  let lock: DatabaseSync | undefined;
  try {
    makeFolder(paths.folder);
    lock = new DatabaseSync(paths.lock);
    // Nothing is ever written to it, nor beside it: it can be taken on a disk that is full.
    lock.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
    ifPossible(paths.pid, () => writeFileSync(paths.pid, `${process.pid}\n`));
    return lock;
  } catch (error) {
    lock?.close();
    throw isBusy(error) ? lockedBy(paths, error) : storeError(error, paths.lock);
  }
}

/** Somebody else writes the stream. */
export function lockedBy(paths: StreamPaths, cause: unknown): SynclineError {
  const pid = holderOf(paths);
  return fail('SYN-L008', `process ${pid} writes ${paths.folder}`, { cause, context: { pid } });
}

function holderOf(paths: StreamPaths): string {
  try {
    return readFileSync(paths.pid, 'utf8').trim() || UNKNOWN_PID;
  } catch {
    return UNKNOWN_PID;
  }
}
