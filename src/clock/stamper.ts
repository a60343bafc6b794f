/**
 * Stamps local transactions in WAL order.
 *
 * A transaction's stamp is its commit timestamp, so the version of a local row follows from its xmin alone. It is
 * pushed above that only where a plain commit timestamp would contradict causality:
 *
 * (a) it is not above the running maximum of stamps noted below the commit: the region's clock is behind what it has
 *     applied, and a write that saw a row must be later than it;
 * (b) an earlier transaction of this stream changed the same row with a stamp not below: commit timestamps are taken
 *     before the WAL is written, so neighbours in the WAL may be out of order or share a microsecond;
 * (c) it lies more than `WINDOW` below the stream's highest stamp: the clock stepped back. This bounds how far back rule
 *     (b) must remember, and is what lets a stream promise that nothing later is stamped at or below highest − WINDOW;
 * (d) it carries another tool's replication origin: its commit timestamp is whatever that tool said, so it counts for
 *     nothing, and the stamp is the next one above the stream's highest.
 *
 * Stamping from a floor kept in memory would be the obvious alternative and is wrong: an agent that was away captures
 * old transactions after it applied newer ones, and the old ones must keep their old stamps.
 */
import { type Hlc, hlcCounter, hlcFromMicros, hlcNext } from '../change/hlc.ts';

/** 100 ms of stamps. */
export const WINDOW: Hlc = hlcFromMicros(100_000n);

/** Rows below which no sweep is worth its cost; a map whose head is deleted over and over is slow to iterate. */
const FORGET_MIN = 1_024;

export type StampedRows =
  | { readonly kind: 'rows'; readonly keys: readonly string[]; readonly tables: readonly string[] }
  /** Too many rows to name: compared with, and remembered for, whole tables. */
  | { readonly kind: 'tables'; readonly tables: readonly string[] };

export class Stamper {
  #highest: Hlc = 0n;
  /** Highest stamp per row, in order of their last change. */
  readonly #rows = new Map<string, Hlc>();
  /** Highest stamp per table of changes to all of its rows (TRUNCATE, giant transactions). */
  readonly #wholeTables = new Map<string, Hlc>();
  #forgetAt = FORGET_MIN;

  /** Nothing later in the stream is stamped at or below it. */
  get promise(): Hlc {
    return this.#highest > WINDOW ? this.#highest - WINDOW : 0n;
  }

  /**
   * The stamp of the next transaction of the stream. `noted` is the running maximum of stamps applied below its commit;
   * `wholeTables` names the tables all of whose rows it may change; `commitMicros` is null where the commit timestamp is
   * not this server's.
   */
  stamp(commitMicros: bigint | null, noted: Hlc, rows: StampedRows, wholeTables: readonly string[]): Hlc {
    let floor = noted > this.promise ? noted : this.promise;
    const raise = (stamp: Hlc | undefined): void => {
      if (stamp !== undefined && stamp > floor) floor = stamp;
    };
    if (commitMicros === null || wholeTables.length > 0 || rows.kind === 'tables') raise(this.#highest);
    else for (const key of rows.keys) raise(this.#rows.get(key));
    for (const table of rows.tables) raise(this.#wholeTables.get(table));
    const stamp = commitMicros === null ? pushed(floor) : laterOf(hlcFromMicros(commitMicros), floor);
    this.remember(stamp, rows, wholeTables);
    return stamp;
  }

  /** Takes a stamp that the stream already holds: how the window is rebuilt from the stream's tail at start. */
  remember(stamp: Hlc, rows: StampedRows, wholeTables: readonly string[]): void {
    if (stamp > this.#highest) this.#highest = stamp;
    const touched = rows.kind === 'tables' ? [...wholeTables, ...rows.tables] : wholeTables;
    for (const table of touched) this.#wholeTables.set(table, stamp);
    if (rows.kind === 'rows') {
      for (const key of rows.keys) {
        this.#rows.delete(key);
        this.#rows.set(key, stamp);
      }
    }
    this.#forget();
  }

  /** What lies below the promise raises nothing any more, so it may stay until a sweep over all pays. */
  #forget(): void {
    if (this.#rows.size + this.#wholeTables.size < this.#forgetAt) return;
    const promise = this.promise;
    for (const [key, stamp] of this.#rows) {
      if (stamp > promise) break;
      this.#rows.delete(key);
    }
    for (const [table, stamp] of this.#wholeTables) if (stamp <= promise) this.#wholeTables.delete(table);
    this.#forgetAt = FORGET_MIN + 2 * (this.#rows.size + this.#wholeTables.size);
  }
}

function laterOf(own: Hlc, floor: Hlc): Hlc {
  return own > floor ? own : hlcNext(floor);
}

/** A stamp above the floor that no commit timestamp can have, so that the echo knows it for a pushed one. */
function pushed(floor: Hlc): Hlc {
  const next = hlcNext(floor);
  return hlcCounter(next) === 0n ? hlcNext(next) : next;
}
