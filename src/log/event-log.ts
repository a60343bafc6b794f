/**
 * The log: where streams live. One small interface, several engines, one contract test-suite (`event-log-contract`).
 *
 * Contract. Offsets are integers that grow by order of appending; they need not be dense. `append` resolves once all
 * of its records are durable; a crash in mid-append leaves a prefix of them at most (readers ignore what a dead run
 * left unfinished). Appends of one writer keep their order. A reader sees records in offset order and never a gap
 * between two records that both exist. `trim` removes from the front only.
 *
 * A rejected `append` ends its writer: what came behind it would stand behind a gap. All later appends of that writer
 * fail with the same error; whoever wants to go on opens another one and looks at the stream's tail first.
 *
 * The newest record is never trimmed: it carries the offset and the run from which the stream goes on.
 *
 * A record that this version cannot read is given out in its place, as `newer`, and fails no read: what stands before it is
 * still to be applied, and whoever reaches it is to stop there.
 */
import type { LogRecord, StoredKind } from '../change/stream-record.ts';

export type StoredRecord = Omit<LogRecord, 'kind'> & { readonly kind: StoredKind; readonly offset: number };

/** What stands for a record that this version cannot read. */
export function newerStored(offset: number, run: number, what: string): StoredRecord {
  return { offset, kind: 'newer', run, position: null, index: 0, last: true, value: what };
}

export interface StreamWriter extends AsyncDisposable {
  /** Appends in order. Resolves with the last record's offset once everything is durable. */
  append(records: readonly LogRecord[]): Promise<number>;
  /** Drops records with an offset below `offset`, in bounded steps. */
  trim(offset: number): Promise<void>;
}

export type ReadLimit = {
  readonly records_max: number;
  /** A soft bound on the values' size; at least one record is returned where one exists. */
  readonly bytes_max: number;
  /**
   * For whoever comes again and again: what the reader knows to be there without asking anew. Of a log that reads ahead
   * from afar that is what it has brought so far. Empty says nothing of the stream's end then.
   */
  readonly brought_only?: boolean;
  /** For whoever looks for the end of a transaction: values may be left empty, where that spares reading them. */
  readonly headers_only?: boolean;
};

export interface StreamReader extends AsyncDisposable {
  /** The stream's name, for messages. */
  readonly stream: string;
  /** Records with offset ≥ `from`, in order, up to the limit; empty where there are none yet. */
  read(from: number, limit: ReadLimit): Promise<StoredRecord[]>;
  /** The records next below `before`, in order of offset, up to the limit: for looking back from the stream's end. */
  readBefore(before: number, limit: ReadLimit): Promise<StoredRecord[]>;
  /** The highest run among the records below `before`, trimmed ones included; -1 where there are none. */
  runBefore(before: number): Promise<number>;
  /** Resolves true once a record with offset ≥ `from` exists, false when `timeoutMs` is over or the signal aborts. */
  waitFor(from: number, timeoutMs: number, signal?: AbortSignal): Promise<boolean>;
  /** Offsets of the first and the last stored record; null for an empty stream. */
  bounds(): Promise<{ readonly first: number; readonly last: number } | null>;
  /** Bytes that the stream occupies where it is stored. */
  sizeBytes(): Promise<number>;
}

export interface EventLog extends AsyncDisposable {
  /** Opens the stream for appending; creates it where it does not exist. */
  writer(stream: string): Promise<StreamWriter>;
  /** Opens the stream for reading; a stream that does not exist yet reads as empty. */
  reader(stream: string): Promise<StreamReader>;
  /**
   * Says that `consumer` needs nothing at or below `offset` any more. For trimming only: where a consumer resumes is
   * kept in its own database, in the transaction that applied.
   */
  acknowledge(stream: string, consumer: string, offset: number): Promise<void>;
  /** What each consumer acknowledged; one that never did is absent. */
  acknowledged(stream: string): Promise<ReadonlyMap<string, number>>;
}
