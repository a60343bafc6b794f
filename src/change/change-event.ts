/**
 * The public record of one row change, as published to the log. Field names are a public contract.
 *
 * Column values are PostgreSQL's own text output, or null; a column that is absent from an image was not sent (an
 * unchanged TOAST value of a table with `identity: key`, or a before-image that holds the key alone).
 */
import { lsnFromText, makePosition, type Position, type Seen } from './position.ts';

export type Operation = 'INSERT' | 'UPDATE' | 'DELETE' | 'TRUNCATE';

/** Column name → text value. */
export type Image = { readonly [column: string]: string | null };

export type TransactionInfo = {
  /** The transaction id at the origin (32 bits, as pgoutput gives it). */
  readonly id: number;
  readonly epoch: string;
  /** WAL position of the commit record, in PostgreSQL's notation. */
  readonly commit_lsn: string;
  /** The commit timestamp that another tool gave it, which says nothing of when it was; absent where `committed_at` is it. */
  readonly stated_at?: string;
  /** Place of the event in its transaction, from 0. */
  readonly index: number;
  /** Whether this is the transaction's last event. */
  readonly last: boolean;
  /** Position of the transaction published before this one; null at the stream's very start. */
  readonly predecessor: Position | null;
  /** What the origin had applied of the other regions below the commit. */
  readonly seen: Seen;
};

export type ChangeEvent = {
  /** UUIDv7, derived from (hlc, origin, position) alone: the same WAL gives the same id. */
  readonly event_id: string;
  /** The region where the change was first committed. */
  readonly region_id: string;
  readonly schema_name: string;
  readonly table_name: string;
  /** The key's columns after the change (before it, for DELETE); empty for TRUNCATE. */
  readonly row_pk: Image;
  readonly operation: Operation;
  readonly before_image: Image | null;
  readonly after_image: Image | null;
  /** Commit time at the origin, ISO 8601 with microseconds, UTC. */
  readonly committed_at: string;
  /** 19 digits; see `hlc.ts`. */
  readonly hlc_timestamp: string;
  /** The regions that the record has passed, the origin first. */
  readonly region_tags: readonly string[];
  /** Set where an operator decided on a parked row: no table of the origin has changed by it. */
  readonly operator?: true;
  readonly transaction: TransactionInfo;
};

/** Where the event's transaction stands in its origin's stream. */
export function eventPosition({ transaction }: ChangeEvent): Position {
  return makePosition(transaction.epoch, lsnFromText(transaction.commit_lsn));
}

/** The Unix µs of a time as `microsToIso` writes it. */
export function isoToMicros(iso: string): bigint {
  return BigInt(Date.parse(`${iso.slice(0, 23)}Z`)) * 1000n + BigInt(iso.slice(23, 26));
}

/** ISO 8601 with microseconds, which `Date` alone would lose. */
export function microsToIso(micros: bigint): string {
  const iso = new Date(Number(micros / 1000n)).toISOString();
  return `${iso.slice(0, -1)}${(micros % 1000n).toString().padStart(3, '0')}Z`;
}
