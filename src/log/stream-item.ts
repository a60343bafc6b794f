// What a stream is made of once its records are assembled: whole transactions, heartbeats and the
// beginnings of runs.

import type { ChangeEvent } from '../change/change-event.ts';
import { type Hlc, hlcFromText } from '../change/hlc.ts';
import type { Position, Seen } from '../change/position.ts';
import {
  type Heartbeat,
  parseChange,
  parseHeartbeat,
  parseRun,
  type RunRecord,
  STREAM_FORMAT,
} from '../change/stream-record.ts';
import { fail } from '../platform/errors.ts';
import type { StoredRecord } from './event-log.ts';

/** What all events of a transaction agree on. */
export type TransactionHead = {
  readonly position: Position;
  readonly predecessor: Position | null;
  readonly hlc: Hlc;
  readonly seen: Seen;
  /** The transaction id at the origin. */
  readonly xid: number;
  readonly committed_at: string;
  /** Unix µs of its commit timestamp at the origin, where another tool gave it. */
  readonly stated_micros?: string;
  readonly first_offset: number;
};

export type TransactionItem = TransactionHead & {
  readonly kind: 'transaction';
  readonly events: readonly ChangeEvent[];
  readonly last_offset: number;
};

/** A transaction that is too large for read-ahead: known to be whole, and read again piece by piece. */
export type GiantItem = TransactionHead & {
  readonly kind: 'giant';
  readonly events_count: number;
  readonly last_offset: number;
  /** The events in order. Each call reads them anew. */
  chunks(): AsyncIterable<readonly ChangeEvent[]>;
};

export type HeartbeatItem = { readonly kind: 'heartbeat'; readonly heartbeat: Heartbeat; readonly offset: number };
export type RunItem = { readonly kind: 'run'; readonly run: RunRecord; readonly offset: number };
export type StreamItem = TransactionItem | GiantItem | HeartbeatItem | RunItem;

export function decodeHead(stream: string, first: StoredRecord, event: ChangeEvent): TransactionHead {
  const { transaction } = event;
  const head = {
    position: first.position as Position,
    predecessor: transaction.predecessor,
    hlc: decoded(stream, first, () => hlcFromText(event.hlc_timestamp)),
    seen: transaction.seen,
    xid: transaction.id,
    committed_at: event.committed_at,
    first_offset: first.offset,
  };
  return transaction.stated_micros === undefined ? head : { ...head, stated_micros: transaction.stated_micros };
}

export function decodeChange(stream: string, record: StoredRecord): ChangeEvent {
  const event = decoded(stream, record, () => parseChange(record.value));
  if (typeof event?.transaction === 'object' && event.transaction.index === record.index) return event;
  throw undecodable(stream, record, undefined);
}

export function decodeHeartbeat(stream: string, record: StoredRecord): HeartbeatItem {
  return {
    kind: 'heartbeat',
    heartbeat: decoded(stream, record, () => parseHeartbeat(record.value)),
    offset: record.offset,
  };
}

export function decodeRun(stream: string, record: StoredRecord): RunItem {
  return { kind: 'run', run: decoded(stream, record, () => parseRun(record.value)), offset: record.offset };
}

/** The reader stops there and passes over nothing; what stands before it was given out. */
export function newerRecord(stream: string, { offset, run, value }: StoredRecord): Error {
  const detail = `stream ${stream}, offset ${offset}: a record of ${value}; this version reads format ${STREAM_FORMAT}`;
  return fail('SYN-L012', detail, { context: { stream, offset, run } });
}

function decoded<T>(stream: string, record: StoredRecord, decode: () => T): T {
  try {
    return decode();
  } catch (error) {
    throw undecodable(stream, record, error);
  }
}

function undecodable(stream: string, { kind, offset, run, position, index }: StoredRecord, cause: unknown): Error {
  const detail = `stream ${stream}, offset ${offset}: the ${kind} at ${position} is not what its header says`;
  return fail('SYN-L006', detail, { cause, context: { stream, offset, run, position, index } });
}
