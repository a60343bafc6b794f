// Decides, record by record and from headers alone, what of a stream counts.
//
//   an older run      Its writer was replaced and did not know: whatever it still wrote is void.
//   a newer record    Cannot be read by this version: nothing from there on can be told.
//   a higher run      A transaction that the run before it left unfinished is void; the new run sends
//                     it again from its start.
//   a repeated record An append in doubt was sent again by the same run: the first copy counts.
//   a baseline        Belongs to no transaction, and may stand amid one.
//   anything else     Must continue the stream: the next index of the transaction under way, or the
//                     first one of a transaction whose position is higher. If it does not, a record
//                     is missing or misplaced, and going on would apply part of a transaction.
//
// Whether a lower position is a repetition or a violation is told by the positions that were seen: a
// run remembers the latest of them. Dropping every lower position instead would be simpler and wrong:
// the transaction behind one that was stored in the wrong order would be lost without a trace.

import type { Position } from '../change/position.ts';
import { invariant } from '../platform/assert.ts';
import { fail, type SynclineError } from '../platform/errors.ts';
import type { StoredRecord } from './event-log.ts';

/** More than the records of any append that a writer sends again. */
export const REMEMBERED_MAX = 4_096;

/** `first` and `next` are records of a transaction; `first` begins one, and voids what is unfinished. */
export type Admission = 'void' | 'newer' | 'repeated' | 'run' | 'baseline' | 'heartbeat' | 'first' | 'next';

type Header = Omit<StoredRecord, 'value'>;

export class RecordOrder {
  readonly #stream: string;
  #run: number;
  /** Positions of the run's finished transactions and heartbeats, ascending: at least the latest REMEMBERED_MAX. */
  #positions: Position[] = [];
  /** The transaction under way, and the index that continues it. */
  #open: { readonly position: Position; next: number } | null = null;

  /** `run` is the highest run before the first record, and `before` are the records next to that place. */
  constructor(stream: string, run: number, before: readonly Pick<StoredRecord, 'run' | 'position' | 'last'>[]) {
    this.#stream = stream;
    this.#run = run;
    for (const record of before) {
      const latest = this.#positions.at(-1) ?? '';
      const { position } = record;
      if (record.run === run && position !== null && record.last && position > latest) this.#positions.push(position);
    }
  }

  /** The highest run so far. */
  get run(): number {
    return this.#run;
  }

  admit(record: Header): Admission {
    if (record.run < this.#run) return 'void';
    if (record.kind === 'newer') return 'newer';
    if (record.run > this.#run) {
      this.#run = record.run;
      this.#positions = [];
      this.#open = null;
      if (record.kind === 'run') return 'run';
    } else if (record.kind === 'run') {
      return 'repeated';
    }
    if (record.kind === 'baseline') return 'baseline';
    const { position } = record;
    invariant(position !== null, 'changes and heartbeats have a position');
    return this.#open === null ? this.#begin(record, position) : this.#continue(record, position, this.#open);
  }

  #begin(record: Header, position: Position): Admission {
    const latest = this.#positions.at(-1);
    if (latest !== undefined && position <= latest) {
      if (this.#remembers(position)) return 'repeated';
      throw this.#violation(record, `stands behind ${latest}`);
    }
    if (record.index !== 0) throw this.#violation(record, 'has no beginning');
    if (record.last) this.#finish(position);
    else this.#open = { position, next: 1 };
    return record.kind === 'heartbeat' ? 'heartbeat' : 'first';
  }

  #continue(record: Header, position: Position, open: { position: Position; next: number }): Admission {
    if (position === open.position) {
      if (record.index < open.next) return 'repeated';
      if (record.index > open.next) throw this.#violation(record, `follows index ${open.next - 1}`);
      open.next += 1;
      if (record.last) {
        this.#finish(position);
        this.#open = null;
      }
      return 'next';
    }
    if (position < open.position && this.#remembers(position)) return 'repeated';
    throw this.#violation(record, `interrupts ${open.position}, of which index ${open.next} is the next`);
  }

  #finish(position: Position): void {
    this.#positions.push(position);
    if (this.#positions.length >= 2 * REMEMBERED_MAX) this.#positions = this.#positions.slice(-REMEMBERED_MAX);
  }

  #remembers(position: Position): boolean {
    let low = 0;
    let high = this.#positions.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#positions[middle] ?? position) < position) low = middle + 1;
      else high = middle;
    }
    return this.#positions[low] === position;
  }

  #violation(record: Header, what: string): SynclineError {
    const { offset, run, position, index } = record;
    const detail = `stream ${this.#stream}, offset ${offset}: index ${index} of ${position} in run ${run} ${what}`;
    return fail('SYN-L011', detail, { context: { stream: this.#stream, offset, run, position, index } });
  }
}
