/**
 * What a stream holds, in order: row changes, heartbeats, the marks of new runs, and what the region held before.
 *
 * A log stores `LogRecord`s and looks only at their headers (`kind`, `run`, `position`, `index`, `last`); the value is
 * JSON. So transactions are assembled, and records of a dead run ignored, without parsing a value.
 */
import type { TableBaseline } from './baseline.ts';
import type { ChangeEvent } from './change-event.ts';
import { type Hlc, hlcFromText, hlcToText } from './hlc.ts';
import type { Position, Seen } from './position.ts';

export type RecordKind = 'change' | 'heartbeat' | 'run' | 'baseline';

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
export type Heartbeat = {
  readonly event_id: string;
  readonly region_id: string;
  readonly position: Position;
  readonly predecessor: Position | null;
  readonly hlc: Hlc;
  /** The transaction id at the origin. */
  readonly xid: number;
  readonly committed_at: string;
  readonly seen: Seen;
  /** Nothing later in this stream is stamped at or below it. */
  readonly promise: Hlc;
  /** All events stamped at or below it, of every member, are applied in this region. */
  readonly floor: Hlc;
  /** The membership that this region knows, itself included. */
  readonly members: readonly string[];
  readonly delays_ms: Delays;
  /** Whether the agent that wrote it takes in the registry of merge rules; what an older one was sent of it, it passed over. */
  readonly merges: boolean;
};

/** By region, the least time that its heartbeats lately took to be read here, by the difference of two clocks. */
export type Delays = { readonly [region: string]: number };

/** The first record of a run: whatever an older run still writes behind it is void. */
export type RunRecord = {
  readonly region_id: string;
  readonly run: number;
  readonly epoch: string;
  readonly opened_at: string;
  /**
   * Where the epoch's history parts from that of the epochs before it: the writer had everything up to there, and nothing
   * for certain behind it. Null for the first epoch, and where it had nothing.
   */
  readonly forked_at: Position | null;
};

/**
 * What the region held where its stream begins. It may stand anywhere in the stream, amid a transaction too, and each run
 * that knows it says it again: so it is found by whoever reads the stream late.
 */
export type BaselineRecord = {
  readonly region_id: string;
  readonly epoch: string;
  /** The region takes what others held for equal, by its configuration. */
  readonly trusted: boolean;
  /** Null where it was not read. */
  readonly tables: readonly TableBaseline[] | null;
  /** Why nobody can tell any more what it was; null otherwise. */
  readonly untold: string | null;
};

export function changeRecord(run: number, position: Position, event: ChangeEvent): LogRecord {
  const { index, last } = event.transaction;
  return { kind: 'change', run, position, index, last, value: JSON.stringify(event) };
}

export function heartbeatRecord(run: number, heartbeat: Heartbeat): LogRecord {
  const value = JSON.stringify({
    ...heartbeat,
    hlc: hlcToText(heartbeat.hlc),
    promise: hlcToText(heartbeat.promise),
    floor: hlcToText(heartbeat.floor),
  });
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
  const raw = JSON.parse(value) as { [K in keyof Heartbeat]: Heartbeat[K] extends Hlc ? string : Heartbeat[K] };
  // Not every version of Syncline wrote all of it.
  return {
    ...raw,
    delays_ms: raw.delays_ms ?? {},
    merges: raw.merges ?? false,
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
