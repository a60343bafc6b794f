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
 *
 * While capture stands still the database gathers notes without end. Only some neighbours of them are held here: those behind
 * the place that was asked for last, and the newest. The rest is read when a transaction comes to it, over the connection that
 * asks, because the lane's own is at work. That may be the note of a batch which the lane has still to report: it is newer than all
 * that is asked for by then, and known as the same one when it is reported.
 */
import type { Hlc } from '../change/hlc.ts';
import { lsnToText, type Seen } from '../change/position.ts';
import { invariant } from '../platform/assert.ts';
import { fail } from '../platform/errors.ts';
import type { NoteStore, NotesRead } from './note-store.ts';

/** Of a batch, and of all before it. */
export type Noted = { readonly seen: Seen; readonly max_hlc: Hlc };
export type BatchToken = { lsn: bigint | null };
/** The database whose transactions are stamped, as one session of capture is connected to it. */
export type NotesServer = Pick<NoteStore, 'around'> & {
  /** Resolves once the WAL is durable up to there. */
  readonly untilFlushed: (lsn: bigint) => Promise<void>;
};

/** `end` is at or above the end of the WAL record of its commit, and of those before it. */
type Note = { readonly lsn: bigint; readonly noted: Noted; readonly end: bigint };

const NOTHING: Noted = { seen: {}, max_hlc: 0n };

/** Some megabytes of them: minutes of an apply that is never at rest. */
const NOTES_MAX = 10_000;

export class NotesLedger {
  readonly #notesMax: number;
  /** A run of neighbours: none is missing between two of them. */
  #notes: Note[] = [];
  /** Who was asked for them; null where the lane reported all of them. */
  #readOf: NotesServer | null = null;
  /** Whether no note below the first of them is of any use. */
  #isFromStart = true;
  #newest: Note | null = null;
  #resets = 0;
  /** Up to where the WAL was found to be durable, and whose. */
  #flushedTo = 0n;
  #flushedOf: NotesServer | null = null;
  readonly #inFlight = new Set<BatchToken>();
  readonly #waiters = new Set<() => void>();

  /** Beside the newest, `notesMax` notes are held, or one more. */
  constructor(notesMax = NOTES_MAX) {
    this.#notesMax = notesMax;
  }

  /** Takes what the database holds as the whole truth, by the newest note there: at start, and after a connection was lost. */
  reset({ rows, end }: NotesRead): void {
    const newest = rows.at(-1);
    this.#newest = newest === undefined ? null : { lsn: newest.lsn, noted: newest, end };
    this.#notes = this.#newest === null ? [] : [this.#newest];
    this.#readOf = null;
    this.#isFromStart = this.#newest === null;
    this.#resets += 1;
    this.#flushedOf = null;
    this.#inFlight.clear();
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
   * them, and until all of them are durable too. Throws what `server` throws, SYN-K024 where that lacks notes, and the reason
   * of `over` once that aborts while it waits: where nobody knows how a batch ended, a lane that is stopped as well never reads it.
   */
  async below(lsn: bigint, server: NotesServer, over: AbortSignal): Promise<Noted> {
    for (;;) {
      while (this.#mayBeBelow(lsn)) await this.#change(over);
      if (!this.#holdsNewestBelow(lsn, server)) {
        await this.#read(lsn, server);
        continue;
      }
      const note = this.#newestBelow(lsn);
      if (note === undefined) return NOTHING;
      const { noted, end } = note;
      if (end <= lsn || (server === this.#flushedOf && end <= this.#flushedTo)) return noted;
      const resets = this.#resets;
      await server.untilFlushed(end);
      // The lane may have begun anew meanwhile; then this is asked again.
      if (resets !== this.#resets) continue;
      this.#flushedTo = end;
      this.#flushedOf = server;
    }
  }

  #holdsNewestBelow(lsn: bigint, server: NotesServer): boolean {
    if (lsn > this.newestLsn) return true;
    // A session before may have been connected to another server, which had other notes at the same places.
    if (this.#readOf !== null && this.#readOf !== server) return false;
    const [first] = this.#notes;
    const last = this.#notes.at(-1);
    if (first === undefined || last === undefined || lsn > last.lsn) return false;
    return this.#isFromStart || first.lsn < lsn;
  }

  /** Holds the neighbours of that place from now on, or nothing other than before where the lane has begun anew meanwhile. */
  async #read(lsn: bigint, server: NotesServer): Promise<void> {
    const resets = this.#resets;
    const { rows, end } = await server.around(lsn, this.#notesMax);
    if (resets !== this.#resets) return;
    this.#notes = rows.map((row) => ({ lsn: row.lsn, noted: row, end }));
    this.#isFromStart = (rows[0]?.lsn ?? lsn) >= lsn;
    this.#readOf = server;
    if (this.#holdsNewestBelow(lsn, server)) return;
    const detail = `apply has noted a batch at ${lsnToText(this.newestLsn)}, and this server knows none from ${lsnToText(lsn)} on`;
    throw fail('SYN-K024', detail, { context: { lsn: lsnToText(lsn) } });
  }

  #newestBelow(lsn: bigint): Note | undefined {
    if (this.#newest !== null && this.#newest.lsn < lsn) return this.#newest;
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
    if (keepFrom === 0) return;
    this.#notes.splice(0, keepFrom);
    this.#isFromStart = false;
  }

  /** The newest committed note's position; 0 when there is none. */
  get newestLsn(): bigint {
    return this.#newest?.lsn ?? 0n;
  }

  get newest(): Noted {
    return this.#newest?.noted ?? NOTHING;
  }

  #mayBeBelow(lsn: bigint): boolean {
    for (const token of this.#inFlight) if (token.lsn === null || token.lsn < lsn) return true;
    return false;
  }

  #add(lsn: bigint, noted: Noted, end: bigint): void {
    const previous = this.#newest;
    invariant(previous === null || previous.lsn <= lsn, 'one lane notes its batches in WAL order');
    const isNext = this.#notes.at(-1)?.lsn === previous?.lsn;
    this.#newest = { lsn, noted, end: previous !== null && previous.end > end ? previous.end : end };
    if (isNext && this.#notes.length <= this.#notesMax) this.#notes.push(this.#newest);
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
