/** Where notes of applied batches are kept: written by apply, and read here as far as the ledger does not hold them. */
import type { Hlc } from '../change/hlc.ts';
import type { Seen } from '../change/position.ts';

/** What a batch left: `seen` and `max_hlc` tell of all batches up to it. */
export type NoteRow = {
  readonly lsn: bigint;
  readonly seen: Seen;
  readonly max_hlc: Hlc;
};

export type NotesRead = {
  readonly rows: readonly NoteRow[];
  /** Where the WAL ended once they were read: the commits of all of them lie below. */
  readonly end: bigint;
};

export interface NoteStore {
  /** The newest note, if there is one, as `rows`. */
  newest(): Promise<NotesRead>;
  /** The newest note below `lsn`, and behind it up to `limit` others, in WAL order. */
  around(lsn: bigint, limit: number): Promise<NotesRead>;
}
