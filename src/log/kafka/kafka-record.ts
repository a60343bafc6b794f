/**
 * A record of a stream as Kafka stores it, readable by any tool: the key names the row, the value is the record's JSON, and
 * headers tell what a reader decides by, and what a person looks for.
 *
 * A value that is larger than the topic takes goes as several records, one part each, in order. They have the same key
 * and headers; `part` and `parts` count them, and `split` tells those of one value from those of any other.
 */
import { parsePosition } from '../../change/position.ts';
import { type LogRecord, type RecordKind, STREAM_FORMAT } from '../../change/stream-record.ts';
import { fail, type SynclineError } from '../../platform/errors.ts';
import { newerStored, type StoredRecord } from '../event-log.ts';
import { BATCH_HEAD_BYTES, type Header, RECORD_HEAD_BYTES_MAX, recordBody } from './kafka-batch.ts';
import type { BatchRecord } from './packed-batch.ts';

/** Where the value of a split record begins within its own Kafka record, at most: headers that are not counted exactly. */
const PART_HEAD_BYTES_MAX = 1_024;

/** One Kafka record of a data topic. */
export type StoredPart = {
  readonly record: Omit<StoredRecord, 'value'>;
  readonly value: Buffer;
  readonly part: number;
  readonly parts: number;
  readonly split: string;
};

/** The bodies of the Kafka records that carry one record: several where one would pass `batchBytesMax` by itself. */
export function encodeRecord(record: LogRecord, batchBytesMax: number, split: () => string): Buffer[] {
  const { key, labels } = describe(record);
  const headers: Header[] = [
    ['format', String(STREAM_FORMAT)],
    ['kind', record.kind],
    ['run', String(record.run)],
    ['position', record.position ?? ''],
    ['index', String(record.index)],
    ['last', record.last ? '1' : '0'],
    ...labels,
  ];
  const value = Buffer.from(record.value);
  const body = recordBody(key, value, headers);
  if (body.length + RECORD_HEAD_BYTES_MAX + BATCH_HEAD_BYTES <= batchBytesMax) return [body];
  const rest = body.length - value.length + PART_HEAD_BYTES_MAX;
  const partBytes = batchBytesMax - BATCH_HEAD_BYTES - RECORD_HEAD_BYTES_MAX - rest;
  if (partBytes < PART_HEAD_BYTES_MAX) {
    throw fail('SYN-L064', `a key of ${key.length} characters leaves no room in batches of ${batchBytesMax} bytes`);
  }
  const parts = Math.ceil(value.length / partBytes);
  const name = split();
  return Array.from({ length: parts }, (_, part) =>
    recordBody(key, value.subarray(part * partBytes, (part + 1) * partBytes), [
      ...headers,
      ['part', String(part)],
      ['parts', String(parts)],
      ['split', name],
    ]),
  );
}

type Described = { readonly key: string; readonly labels: readonly Header[] };

/** The fields of a record's value that become its key and headers. */
type Value = {
  readonly event_id?: string;
  readonly region_id?: string;
  readonly schema_name?: string;
  readonly table_name?: string;
  readonly row_pk?: object;
  readonly operation?: string;
  readonly hlc_timestamp?: string;
  readonly hlc?: string;
  readonly xid?: number;
  readonly transaction?: { readonly id: number };
};

function describe({ kind, value }: LogRecord): Described {
  const { region_id, event_id, schema_name, table_name, row_pk, operation, ...rest } = JSON.parse(value) as Value;
  const labels: Header[] = [];
  const hlc = rest.hlc_timestamp ?? rest.hlc;
  const xid = rest.transaction?.id ?? rest.xid;
  if (region_id !== undefined) labels.push(['region', region_id]);
  if (event_id !== undefined) labels.push(['event_id', event_id]);
  if (hlc !== undefined) labels.push(['hlc', hlc]);
  if (xid !== undefined) labels.push(['transaction', String(xid)]);
  if (operation !== undefined) labels.push(['operation', operation]);
  return { key: kind === 'change' ? `${schema_name}.${table_name} ${JSON.stringify(row_pk)}` : kind, labels };
}

const KINDS: ReadonlySet<string> = new Set<RecordKind>(['change', 'heartbeat', 'run', 'baseline']);

/** The headers by which a reader decides. */
const DECIDING = ['kind', 'last', 'position', 'split', 'run', 'format', 'index', 'part', 'parts'].map((name) =>
  Buffer.from(name),
);

/** Throws SYN-L006 where the record is none of a stream's. What a newer one has beside format, kind and run is left alone. */
export function decodePart(topic: string, stored: BatchRecord): StoredPart {
  const { offset, value } = stored;
  const [kind = '', last = '', position = '', split = '', ...counts] = stored.texts(DECIDING);
  const [run = Number.NaN, format = 1, index = Number.NaN, part = 0, parts = 1] = counts.map(numberOf);
  if (kind === '' || ![run, format].every(Number.isSafeInteger)) throw undecodable(topic, offset);
  if (format > STREAM_FORMAT) return newerPart(offset, run, `format ${format}`);
  if (!KINDS.has(kind)) return newerPart(offset, run, `the unknown kind ${JSON.stringify(kind)}`);
  const isWhole = last !== '' && value !== null;
  if (!isWhole || ![index, part, parts].every(Number.isSafeInteger)) throw undecodable(topic, offset);
  const record = {
    kind: kind as RecordKind,
    run,
    position: parsed(topic, offset, position),
    index,
    last: last === '1',
    offset,
  };
  return { record, value, part, parts, split };
}

/** Whole by itself: of what parts of it would look like, this version knows nothing. */
function newerPart(offset: number, run: number, what: string): StoredPart {
  const { value, ...record } = newerStored(offset, run, what);
  return { record, value: Buffer.from(value), part: 0, parts: 1, split: '' };
}

const numberOf = (text: string | undefined): number | undefined => (text === undefined ? undefined : Number(text));

function parsed(topic: string, offset: number, position: string): LogRecord['position'] {
  if (position === '') return null;
  try {
    return parsePosition(position);
  } catch (cause) {
    throw undecodable(topic, offset, cause);
  }
}

function undecodable(topic: string, offset: number, cause?: unknown): SynclineError {
  return fail('SYN-L006', `topic ${topic}, offset ${offset}: this is no record of a stream`, {
    cause,
    context: { topic, offset },
  });
}
