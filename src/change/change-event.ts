/**
 * The public record of one row change, as published to the log. Field names are a public contract (event-schema.ts).
 *
 * Column values are PostgreSQL's own text output, or null; a column that is absent from an image was not sent (an
 * unchanged TOAST value of a table with `identity: key`, or a before-image that holds the key alone).
 */
import type { ChangeEvent } from './event-schema.ts';
import { lsnFromText, makePosition, type Position } from './position.ts';

export type { ChangeEvent, TransactionInfo } from './event-schema.ts';

export type Operation = ChangeEvent['operation'];

/** Column name → text value. */
export type Image = { readonly [column: string]: string | null };

/** Whether the images agree in all columns that both have. */
export function haveSameValues(a: Image, b: Image): boolean {
  return Object.keys(a).every((column) => b[column] === undefined || a[column] === b[column]);
}

/** The row as JSON, in which values of JSON types stand as they are, and all others as texts. */
export function imageToJson(image: Image, isJson: (column: string) => boolean): string {
  const values = Object.entries(image).map(([column, value]) => {
    return `${JSON.stringify(column)}: ${value !== null && isJson(column) ? value : JSON.stringify(value)}`;
  });
  return `{${values.join(', ')}}`;
}

/** Where the event's transaction stands in its origin's stream. */
export function eventPosition({ transaction }: ChangeEvent): Position {
  return makePosition(transaction.epoch, lsnFromText(transaction.commit_lsn));
}

/** The Unix µs of a time as `microsToIso` writes it. */
export function isoToMicros(iso: string): bigint {
  return secondOf(iso).micros + BigInt(iso.slice(20, 26));
}

/** The same in Unix ms, rounded down. */
export function isoToMillis(iso: string): number {
  return secondOf(iso).millis + Number(iso.slice(20, 23));
}

function secondOf(iso: string): { readonly micros: bigint; readonly millis: number } {
  if (lastSecond.iso === '' || !iso.startsWith(lastSecond.iso)) {
    const second = iso.slice(0, 19);
    const millis = Date.parse(`${second}Z`);
    lastSecond = { iso: second, micros: BigInt(millis) * 1000n, millis };
  }
  return lastSecond;
}

/** Neighbours in a stream are of one second mostly, and parsing a date costs more than all the rest. */
let lastSecond = { iso: '', micros: 0n, millis: 0 };

/** ISO 8601 with microseconds, which `Date` alone would lose. */
export function microsToIso(micros: bigint): string {
  const rest = ((micros % 1_000_000n) + 1_000_000n) % 1_000_000n;
  const second = micros - rest;
  if (second !== lastWritten.micros) {
    lastWritten = { micros: second, iso: new Date(Number(second / 1000n)).toISOString().slice(0, -'.000Z'.length) };
  }
  return `${lastWritten.iso}.${rest.toString().padStart(6, '0')}Z`;
}

/** As `lastSecond`, for the way there. */
let lastWritten = { micros: 0n, iso: '1970-01-01T00:00:00' };

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
