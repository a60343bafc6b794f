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
  /** Unix µs of the commit timestamp that another tool gave it, be it what it may; absent where `committed_at` is it. */
  readonly stated_micros?: string;
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
  /** The version of the merge rule that its fold step uses; absent for last writer wins. */
  readonly merge?: string;
  /** A version that is named beside it, and has no effect. */
  readonly merge_shadow?: string;
  readonly transaction: TransactionInfo;
};

/** Whether the images agree in all columns that both have. */
export function haveSameValues(a: Image, b: Image): boolean {
  return Object.keys(a).every((column) => b[column] === undefined || a[column] === b[column]);
}

/** Where the event's transaction stands in its origin's stream. */
export function eventPosition({ transaction }: ChangeEvent): Position {
  return makePosition(transaction.epoch, lsnFromText(transaction.commit_lsn));
}

/** The Unix µs of a time as `microsToIso` writes it. */
export function isoToMicros(iso: string): bigint {
  const second = iso.slice(0, 19);
  if (second !== lastSecond.iso) lastSecond = { iso: second, micros: BigInt(Date.parse(`${second}Z`)) * 1000n };
  return lastSecond.micros + BigInt(iso.slice(20, 26));
}

/** Neighbours in a stream are of one second mostly, and parsing a date costs more than all the rest. */
let lastSecond = { iso: '', micros: 0n };

/** ISO 8601 with microseconds, which `Date` alone would lose. */
export function microsToIso(micros: bigint): string {
  const rest = ((micros % 1000n) + 1000n) % 1000n;
  const iso = new Date(Number((micros - rest) / 1000n)).toISOString();
  return `${iso.slice(0, -1)}${rest.toString().padStart(3, '0')}Z`;
}

/** What the WAL tells of a transaction under a replication origin that was given no time: PostgreSQL's own zero. */
const UNSTATED_MICROS = 946_684_800_000_000n;

/**
 * The commit timestamp that the database keeps for a transaction, Unix µs; null for one that the WAL does not tell: under
 * an origin without a time, the row has the server's time, and the commit record has none.
 */
export function keptMicros(committed_at: string, stated_micros: string | undefined): bigint | null {
  if (stated_micros === undefined) return isoToMicros(committed_at);
  const stated = BigInt(stated_micros);
  return stated === UNSTATED_MICROS ? null : stated;
}

/** The first and the last time that `microsToIso` tells in four digits of a year. */
const MICROS_MIN = -62_135_596_800_000_000n;
const MICROS_MAX = 253_402_300_799_999_999n;

/** A time that another tool gave, which may be before or beyond all years of ours, or infinite. */
export function boundedMicros(micros: bigint): bigint {
  if (micros < MICROS_MIN) return MICROS_MIN;
  return micros > MICROS_MAX ? MICROS_MAX : micros;
}
