// Tells readers in other processes that a stream has grown: the writer writes one byte to the wake
// file after each commit, and readers watch the file. Watching costs nothing while nothing happens
// and answers within a millisecond. It is a hint only, since watches can be unavailable (limits of the
// kernel, a file that is not there yet) or stay silent (some file systems of containers). So whoever
// waits also looks again by itself: seldom while hints arrive, often where they do not. Correctness
// never depends on a hint.

import { type FSWatcher, watch } from 'node:fs';
import { Waiters } from '../../platform/waiters.ts';

/** How long a reader may overlook a commit where there are no hints. */
const POLL_MS = 50;
/** The same where hints arrive, and one might be lost: a second's worth of idle readers costs next to nothing. */
const POLL_WATCHED_MS = 1_000;
/** Commits in a row that were found without a hint, after which the watch counts as silent. */
const MISSED_MAX = 3;

export class WakeFile {
  readonly #path: string;
  #watcher: FSWatcher | undefined;
  #hints = 0;
  #missed = 0;
  #isClosed = false;
  readonly #waiters = new Waiters();

  constructor(path: string) {
    this.#path = path;
  }

  /** Grows with each hint. Read it before looking at the stream, and give it to `changed`. */
  get hints(): number {
    this.#watch();
    return this.#hints;
  }

  /** How long a commit may be overlooked just now, should no hint tell of it. */
  get pollMs(): number {
    return this.#watcher !== undefined && this.#missed < MISSED_MAX ? POLL_WATCHED_MS : POLL_MS;
  }

  /** Says that the stream has grown and no hint told so. */
  missed(): void {
    this.#missed += 1;
  }

  /** Resolves at a hint after `since`, when the poll is due, at the timeout or when the signal aborts. */
  async changed(since: number, timeoutMs: number, signal: AbortSignal | undefined): Promise<void> {
    if (this.#hints !== since) return;
    await this.#waiters.wait({ limitMs: Math.min(timeoutMs, this.pollMs), signal });
  }

  close(): void {
    this.#isClosed = true;
    this.#unwatch();
    this.#hint();
  }

  #watch(): void {
    if (this.#watcher !== undefined || this.#isClosed) return;
    try {
      this.#watcher = watch(this.#path, { persistent: false }, (change) => {
        // The file that is watched is not the one with that name any more, or is none.
        if (change === 'rename') this.#unwatch();
        this.#hint();
      });
      this.#watcher.on('error', () => this.#unwatch());
    } catch {
      this.#watcher = undefined;
    }
  }

  #unwatch(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
  }

  #hint(): void {
    this.#hints += 1;
    this.#missed = 0;
    this.#waiters.wakeAll();
  }
}
