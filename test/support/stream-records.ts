// Records of a stream for tests, made from a few numbers.

import type { ChangeEvent, Operation } from '../../src/change/change-event.ts';
import { type Hlc, hlcToText } from '../../src/change/hlc.ts';
import { makePosition, type Position } from '../../src/change/position.ts';
import {
  baselineRecord,
  changeRecord,
  heartbeatRecord,
  type LogRecord,
  runRecord,
} from '../../src/change/stream-record.ts';

export const EPOCH = '1000000000000000000';
export const LONG_GIANT_ROWS = 2_000;
const COMMITTED_AT = '2026-01-01T00:00:00.000000Z';

export const positionOf = (lsn: number): Position => makePosition(EPOCH, BigInt(lsn));

export type EventShape = {
  readonly hlc?: Hlc;
  readonly key?: string;
  readonly keyBefore?: string;
  readonly operation?: Operation;
  readonly note?: string;
};

/** One record of the transaction at `lsn`, whose events have the indexes 0 to `lastIndex`. */
export function change(run: number, lsn: number, index = 0, lastIndex = 0, shape: EventShape = {}): LogRecord {
  const key = shape.key ?? `${lsn}.${index}`;
  const event: ChangeEvent = {
    event_id: `event ${lsn}.${index}`,
    region_id: 'eu',
    schema_name: 'public',
    table_name: 'item',
    row_pk: { id: key },
    operation: shape.operation ?? 'UPDATE',
    before_image: shape.keyBefore === undefined ? null : { id: shape.keyBefore, note: null },
    after_image: { id: key, note: shape.note ?? null },
    committed_at: COMMITTED_AT,
    hlc_timestamp: hlcToText(shape.hlc ?? BigInt(lsn)),
    region_tags: ['eu'],
    transaction: {
      id: lsn,
      epoch: EPOCH,
      commit_lsn: `0/${lsn.toString(16).toUpperCase()}`,
      index,
      last: index === lastIndex,
      predecessor: lsn > 1 ? positionOf(lsn - 1) : null,
      seen: {},
    },
  };
  return changeRecord(run, positionOf(lsn), event);
}

/** All records of the transaction at `lsn`. */
export function transaction(run: number, lsn: number, events = 1, shape: EventShape = {}): LogRecord[] {
  return Array.from({ length: events }, (_, index) => change(run, lsn, index, events - 1, shape));
}

/**
 * All records of a transaction at `lsn` that takes whoever reads it more steps than he makes in one go: some 40 MB, of rows
 * that share their text.
 */
export function longGiant(run: number, lsn: number): LogRecord[] {
  return transaction(run, lsn, LONG_GIANT_ROWS, { note: 'x'.repeat(20_000) });
}

export function heartbeat(run: number, lsn: number, hlc: Hlc = BigInt(lsn)): LogRecord {
  return heartbeatRecord(run, {
    event_id: `heartbeat ${lsn}`,
    region_id: 'eu',
    position: positionOf(lsn),
    predecessor: lsn > 1 ? positionOf(lsn - 1) : null,
    hlc,
    xid: 1,
    committed_at: COMMITTED_AT,
    seen: {},
    delays_ms: {},
    merges: true,
    claims: true,
    promise: 0n,
    floor: 0n,
    members: ['eu'],
  });
}

export function runStart(run: number): LogRecord {
  return runRecord({ region_id: 'eu', run, epoch: EPOCH, opened_at: COMMITTED_AT, forked_at: null });
}

export function baseline(run: number): LogRecord {
  return baselineRecord(run, { region_id: 'eu', epoch: EPOCH, trusted: false, tables: [], untold: null });
}
