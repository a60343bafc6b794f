/**
 * Where a transaction stands in its origin's stream: (epoch, commit LSN), written `epoch:lsn` so that text compares as
 * positions do. Deduplication, predecessors and `seen` go by positions, never by stamps: a stream is in WAL order,
 * and commit timestamps are not quite.
 *
 * An epoch is one history of one region's WAL, named by the HLC of its creation, so epochs order without local state.
 */
import { invariant } from '../platform/assert.ts';

export type Position = string & { readonly __position: unique symbol };
/** Epoch name: 19 decimal digits. */
export type Epoch = string;
/** Per origin, the highest position that is known to have been applied: a version vector. */
export type Seen = { readonly [origin: string]: Position };

const EPOCH_DIGITS = 19;
const LSN_HEX_DIGITS = 16;
const POSITION_PATTERN = /^\d{19}:[0-9a-f]{16}$/;

export function makePosition(epoch: Epoch, lsn: bigint): Position {
  return `${epoch}:${lsn.toString(16).padStart(LSN_HEX_DIGITS, '0')}` as Position;
}

export function parsePosition(text: string): Position {
  invariant(POSITION_PATTERN.test(text), `not a stream position: ${text}`);
  return text as Position;
}

export function positionEpoch(position: Position): Epoch {
  return position.slice(0, EPOCH_DIGITS);
}

/** Whether both are of one epoch; makes no texts. */
export function areOfOneEpoch(a: Position, b: Position): boolean {
  for (let place = EPOCH_DIGITS - 1; place >= 0; place -= 1) {
    if (a.charCodeAt(place) !== b.charCodeAt(place)) return false;
  }
  return true;
}

export function positionLsn(position: Position): bigint {
  return BigInt(`0x${position.slice(EPOCH_DIGITS + 1)}`);
}

/** PostgreSQL's notation of a WAL position, such as `16/B374D848`. */
export function lsnToText(lsn: bigint): string {
  return `${(lsn >> 32n).toString(16).toUpperCase()}/${(lsn & 0xffffffffn).toString(16).toUpperCase()}`;
}

export function lsnFromText(text: string): bigint {
  const match = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/.exec(text);
  invariant(match?.[1] !== undefined && match[2] !== undefined, `not a WAL position: ${text}`);
  return (BigInt(`0x${match[1]}`) << 32n) | BigInt(`0x${match[2]}`);
}

/** Whether a reader with these marks has the position of that origin. */
export function covers(seen: Seen, origin: string, position: Position): boolean {
  const mark = seen[origin];
  return mark !== undefined && mark >= position;
}

/** Whether both have the same of every origin. */
export function haveSeenTheSame(a: Seen, b: Seen): boolean {
  if (a === b) return true;
  let more = 0;
  for (const origin in a) {
    if (a[origin] !== b[origin]) return false;
    more += 1;
  }
  for (const _ in b) more -= 1;
  return more === 0;
}

/** Whether `a` has everything that `b` has. */
export function coversAll(a: Seen, b: Seen): boolean {
  for (const origin of Object.keys(b)) {
    const position = b[origin];
    if (position !== undefined && !covers(a, origin, position)) return false;
  }
  return true;
}
