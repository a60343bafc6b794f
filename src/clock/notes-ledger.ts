/**
 * Notes of applied batches, and what a local transaction must have seen.
 *
 * At the end of each batch, holding its locks, apply notes the WAL position of that moment together with the marks that
 * the batch leaves. `seen(T)` of a local transaction T is what the batches noted below T's commit LSN left behind. For two
 * writers of one row this is exact, because of the row lock: a transaction that overwrites a batch's row commits above
 * its note, and one that wrote the row before the batch got the lock committed below it.
 *
 * A transaction may be decoded while a batch's COMMIT is in flight, its note not yet known here. Capture must not guess
 * then: `below` waits until every batch that could be noted below the LSN has ended. Where the connection broke in the
 * middle of a COMMIT nobody knows; such a batch stays in flight until the lane has read the database again (`reset`).
 *
 * A batch commits above its note, and its commit is not flushed at once. A transaction in between is durable before the batch
 * is, and what it says to have seen is for ever; so it is told once a crash cannot take back the batch any more.
 */
import type { Hlc } from '../change/hlc.ts';
import type { Position, Seen } from '../change/position.ts';
import { invariant } from '../platform/assert.ts';
import type { NoteRow } from './note-store.ts';

export type Noted = { readonly seen: Seen; readonly max_hlc: Hlc };
export type BatchToken = { lsn: bigint | null };
/** Resolves once the WAL is durable up to there. */
export type UntilFlushed = (lsn: bigint) => Promise<void>;

/** `end` is at or above the end of the WAL record of its commit, and of those before it. */
type Note = { readonly lsn: bigint; readonly noted: Noted; readonly end: bigint };

const NOTHING: Noted = { seen: {}, max_hlc: 0n };

export class NotesLedger {
  #notes: Note[] = [];
  /** Up to where the WAL was found to be durable. */
  #flushedTo = 0n;
  readonly #inFlight = new Set<BatchToken>();
  readonly #waiters = new Set<() => void>();

  /**
   * Takes what the database holds as the whole truth: at start, and after a connection was lost. `end` is where the WAL
   * ended once they were read.
   */
  reset(rows: readonly NoteRow[], end: bigint): void {
    this.#notes = [];
    this.#flushedTo = 0n;
    this.#inFlight.clear();
    for (const row of rows) this.#add(row.lsn, row, end);
    this.#wake();
  }

  /** Says that a batch is about to be noted. Must be called before the note's WAL position is read. */
  batchStarts(): BatchToken {
    const token: BatchToken = { lsn: null };
    this.#inFlight.add(token);
    return token;
  }

  /** The note's position is known, its commit still under way: transactions below it need not wait. */
  batchNoted(token: BatchToken, lsn: bigint): void {
    token.lsn = lsn;
    this.#wake();
  }

  /** `end` is at or above the end of its commit in the WAL; the note's own place where nobody can tell whether it is lost. */
  batchCommitted(token: BatchToken, lsn: bigint, noted: Noted, end: bigint): void {
    if (!this.#inFlight.delete(token)) return;
    this.#add(lsn, noted, end);
    this.#wake();
  }

  /** The batch is known to have rolled back. */
  batchAborted(token: BatchToken): void {
    this.#inFlight.delete(token);
    this.#wake();
  }

  /**
   * What batches noted below `lsn` left, the place of a transaction that is durable; waits while one in flight might be among
   * them, and until all of them are durable too. Throws what `untilFlushed` throws, and the reason of `over` once that aborts:
   * where nobody knows how a batch ended, a lane that is stopped as well never reads it.
   */
  async below(lsn: bigint, untilFlushed: UntilFlushed, over: AbortSignal): Promise<Noted> {
    for (;;) {
      while (this.#mayBeBelow(lsn)) await this.#change(over);
      const note = this.#newestBelow(lsn);
      if (note === undefined) return NOTHING;
      const { noted, end } = note;
      if (end <= lsn || end <= this.#flushedTo) return noted;
      await untilFlushed(end);
      // The lane may have begun anew meanwhile; then this is asked again.
      if (this.#notes.includes(note)) this.#flushedTo = end;
    }
  }

  #newestBelow(lsn: bigint): Note | undefined {
    let low = 0;
    let high = this.#notes.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const note = this.#notes[middle];
      invariant(note !== undefined, 'a note inside the bounds');
      if (note.lsn < lsn) low = middle + 1;
      else high = middle;
    }
    return this.#notes[low - 1];
  }

  /** Whether it is known of every batch how it ended. */
  get isQuiet(): boolean {
    return this.#inFlight.size === 0;
  }

  /** Resolves once it is; rejects with the reason of `over` if that aborts before. */
  async quiet(over: AbortSignal): Promise<void> {
    while (!this.isQuiet) await this.#change(over);
  }

  /** Forgets notes that no transaction above `lsn` can need: all but the newest below it. */
  prune(lsn: bigint): void {
    let keepFrom = 0;
    while (keepFrom + 1 < this.#notes.length && (this.#notes[keepFrom + 1]?.lsn ?? lsn) < lsn) keepFrom += 1;
    if (keepFrom > 0) this.#notes.splice(0, keepFrom);
  }

  /** The newest committed note's position; 0 when there is none. */
  get newestLsn(): bigint {
    return this.#notes.at(-1)?.lsn ?? 0n;
  }

  get newest(): Noted {
    return this.#notes.at(-1)?.noted ?? NOTHING;
  }

  #mayBeBelow(lsn: bigint): boolean {
    for (const token of this.#inFlight) if (token.lsn === null || token.lsn < lsn) return true;
    return false;
  }

  #add(lsn: bigint, noted: Noted, end: bigint): void {
    const previous = this.#notes.at(-1);
    invariant(previous === undefined || previous.lsn <= lsn, 'one lane notes its batches in WAL order');
    if (previous === undefined) this.#notes.push({ lsn, noted, end });
    else {
      const endOfAll = end > previous.end ? end : previous.end;
      this.#notes.push({ lsn, noted: join(previous.noted, noted), end: endOfAll });
    }
  }

  /** Resolves once a batch is noted or has ended. */
  async #change(over: AbortSignal): Promise<void> {
    over.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const end = (): void => reject(over.reason);
    over.addEventListener('abort', end);
    this.#waiters.add(resolve);
    try {
      await promise;
    } finally {
      over.removeEventListener('abort', end);
      this.#waiters.delete(resolve);
    }
  }

  #wake(): void {
    for (const wake of this.#waiters) wake();
  }
}

function join(a: Noted, b: Noted): Noted {
  const seen: { [origin: string]: Position } = { ...a.seen };
  for (const [origin, position] of Object.entries(b.seen)) {
    const known = seen[origin];
    if (known === undefined || position > known) seen[origin] = position;
  }
  return { seen, max_hlc: a.max_hlc > b.max_hlc ? a.max_hlc : b.max_hlc };
}
