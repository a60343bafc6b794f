/**
 * What a stream holds, in order: row changes, heartbeats, the marks of new runs, and what the region held before.
 *
 * A log stores `LogRecord`s and looks only at their headers (`kind`, `run`, `position`, `index`, `last`); the value is
 * JSON. So transactions are assembled, and records of a dead run ignored, without parsing a value.
 */
import type { BaselineRecord, ChangeEvent, HeartbeatRecord, RecordHeaders, RunRecord } from './event-schema.ts';
import { type Hlc, hlcFromText, hlcToText } from './hlc.ts';
import type { Position } from './position.ts';

export type { BaselineRecord, RunRecord } from './event-schema.ts';

export type RecordKind = RecordHeaders['kind'];

/**
 * The format in which this version writes records; it reads this one and all below. Each record has the number with its
 * headers, so that no reader depends on having seen another one. docs/upgrades.md tells what a new number is needed for, and
 * what may be added without.
 */
export const STREAM_FORMAT = 1;

/**
 * `newer` is what a log gives out for a record that it stores and this version cannot read: one of a higher format, or of a
 * kind that is unknown here. Its value says which, in words; of its headers only `run` means anything.
 */
export type StoredKind = RecordKind | 'newer';

export type LogRecord = {
  readonly kind: RecordKind;
  /** The run of the capture that wrote it; grows with each start. */
  readonly run: number;
  /** The transaction's position; null for `run` and `baseline` records. */
  readonly position: Position | null;
  readonly index: number;
  readonly last: boolean;
  /** JSON. */
  readonly value: string;
};

/** A transaction without row changes that a region writes through its own WAL once a second. */
export type Heartbeat = Omit<HeartbeatRecord, 'hlc' | 'promise' | 'floor' | 'delays_ms' | 'merges' | 'claims'> & {
  readonly hlc: Hlc;
  readonly promise: Hlc;
  readonly floor: Hlc;
  readonly delays_ms: Delays;
  readonly merges: boolean;
  readonly claims: boolean;
};

/** By region, the least time that its heartbeats lately took to be read here, by the difference of two clocks. */
export type Delays = { readonly [region: string]: number };

export function changeRecord(run: number, position: Position, event: ChangeEvent): LogRecord {
  const { index, last } = event.transaction;
  return { kind: 'change', run, position, index, last, value: JSON.stringify(event) };
}

export function heartbeatRecord(run: number, heartbeat: Heartbeat): LogRecord {
  const told: HeartbeatRecord = {
    ...heartbeat,
    hlc: hlcToText(heartbeat.hlc),
    promise: hlcToText(heartbeat.promise),
    floor: hlcToText(heartbeat.floor),
  };
  const value = JSON.stringify(told);
  return { kind: 'heartbeat', run, position: heartbeat.position, index: 0, last: true, value };
}

export function runRecord(record: RunRecord): LogRecord {
  return { kind: 'run', run: record.run, position: null, index: 0, last: true, value: JSON.stringify(record) };
}

export function baselineRecord(run: number, record: BaselineRecord): LogRecord {
  return { kind: 'baseline', run, position: null, index: 0, last: true, value: JSON.stringify(record) };
}

export function parseChange(value: string): ChangeEvent {
  return JSON.parse(value) as ChangeEvent;
}

export function parseHeartbeat(value: string): Heartbeat {
  const raw = JSON.parse(value) as HeartbeatRecord;
  // Not every version of Syncline wrote all of it.
  return {
    ...raw,
    delays_ms: raw.delays_ms ?? {},
    merges: raw.merges ?? false,
    claims: raw.claims ?? false,
    hlc: hlcFromText(raw.hlc),
    promise: hlcFromText(raw.promise),
    floor: hlcFromText(raw.floor),
  };
}

export function parseRun(value: string): RunRecord {
  return JSON.parse(value) as RunRecord;
}

export function parseBaseline(value: string): BaselineRecord {
  return JSON.parse(value) as BaselineRecord;
}
