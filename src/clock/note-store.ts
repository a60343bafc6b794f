/** Where notes of applied batches are kept: written by apply, read here at start. */
import type { Hlc } from '../change/hlc.ts';
import type { Seen } from '../change/position.ts';

export type NoteRow = {
  readonly xid: number;
  readonly lsn: bigint;
  readonly origin: string;
  readonly seen: Seen;
  readonly max_hlc: Hlc;
};

export interface NoteStore {
  /** Notes above `lsn` in WAL order, preceded by the newest one at or below it. */
  notesAbove(lsn: bigint): Promise<NoteRow[]>;
}
