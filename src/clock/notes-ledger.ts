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
 */
import type { Hlc } from '../change/hlc.ts';
import type { Position, Seen } from '../change/position.ts';
import { invariant } from '../platform/assert.ts';
import type { NoteRow } from './note-store.ts';

export type Noted = { readonly seen: Seen; readonly max_hlc: Hlc };
export type BatchToken = { lsn: bigint | null };

const NOTHING: Noted = { seen: {}, max_hlc: 0n };

export class NotesLedger {
  #notes: { readonly lsn: bigint; readonly noted: Noted }[] = [];
  readonly #inFlight = new Set<BatchToken>();
  #waiters: (() => void)[] = [];

  /** Takes what the database holds as the whole truth: at start, and after a connection was lost in mid-commit. */
  reset(rows: readonly NoteRow[]): void {
    this.#notes = [];
    this.#inFlight.clear();
    for (const row of rows) this.#add(row.lsn, row);
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

  batchCommitted(token: BatchToken, lsn: bigint, noted: Noted): void {
    if (!this.#inFlight.delete(token)) return;
    this.#add(lsn, noted);
    this.#wake();
  }

  /** The batch is known to have rolled back. */
  batchAborted(token: BatchToken): void {
    this.#inFlight.delete(token);
    this.#wake();
  }

  /** What batches noted below `lsn` left; waits while one in flight might be among them. */
  async below(lsn: bigint): Promise<Noted> {
    while (this.#mayBeBelow(lsn)) {
      await new Promise<void>((resolve) => this.#waiters.push(resolve));
    }
    let low = 0;
    let high = this.#notes.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const note = this.#notes[middle];
      invariant(note !== undefined, 'a note inside the bounds');
      if (note.lsn < lsn) low = middle + 1;
      else high = middle;
    }
    return this.#notes[low - 1]?.noted ?? NOTHING;
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

  #add(lsn: bigint, noted: Noted): void {
    const previous = this.#notes.at(-1);
    invariant(previous === undefined || previous.lsn <= lsn, 'one lane notes its batches in WAL order');
    this.#notes.push({ lsn, noted: previous === undefined ? noted : join(previous.noted, noted) });
  }

  #wake(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const wake of waiters) wake();
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
