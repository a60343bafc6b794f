/** What the lane is given: whole transactions and heartbeats of one stream, in order. */
import type { ChangeEvent } from '../change/change-event.ts';
import { eventId } from '../change/event-id.ts';
import type { Hlc } from '../change/hlc.ts';
import { isMergeTable } from '../change/merge-registry.ts';
import type { Position } from '../change/position.ts';
import type { Heartbeat } from '../change/stream-record.ts';
import type { StreamItem } from '../log/stream-item.ts';
import { invariant } from '../platform/assert.ts';
import type { SourceTransaction } from './net-change.ts';

export type LaneItem =
  | {
      readonly kind: 'transaction';
      readonly position: Position;
      readonly predecessor: Position | null;
      readonly log_offset: number;
      readonly event_id: string;
      readonly source: SourceTransaction;
    }
  | {
      readonly kind: 'giant';
      readonly position: Position;
      readonly predecessor: Position | null;
      readonly log_offset: number;
      readonly event_id: string;
      readonly source: SourceTransaction;
      chunks(): AsyncIterable<readonly ChangeEvent[]>;
    }
  | {
      readonly kind: 'heartbeat';
      readonly position: Position;
      readonly predecessor: Position | null;
      readonly log_offset: number;
      readonly event_id: string;
      readonly heartbeat: Heartbeat;
    };

/** The stamp of the transaction or heartbeat. */
export function hlcOf(item: LaneItem): Hlc {
  return item.kind === 'heartbeat' ? item.heartbeat.hlc : item.source.hlc;
}

/** Whether it changes the registry of merge rules, or may do so. */
export function touchesRegistry(item: LaneItem): boolean {
  if (item.kind === 'heartbeat') return false;
  if (item.kind === 'giant') return true;
  for (const { schema_name, table_name } of item.source.events) if (isMergeTable(schema_name, table_name)) return true;
  return false;
}

/** What the lane is told of an item of a stream. */
export function toLaneItem(origin: string, item: Exclude<StreamItem, { kind: 'run' }>): LaneItem {
  if (item.kind === 'heartbeat') {
    const { heartbeat } = item;
    return {
      kind: 'heartbeat',
      position: heartbeat.position,
      predecessor: heartbeat.predecessor,
      log_offset: item.offset + 1,
      event_id: heartbeat.event_id,
      heartbeat,
    };
  }
  const { kind, position, predecessor } = item;
  const log_offset = item.last_offset + 1;
  if (kind === 'giant') {
    const event_id = eventId(item.hlc, origin, position, item.events_count - 1);
    const source = { ...item, events: [] };
    return { kind, position, predecessor, log_offset, event_id, source, chunks: () => item.chunks() };
  }
  const last = item.events.at(-1);
  invariant(last !== undefined, 'a transaction has at least one event');
  return { kind, position, predecessor, log_offset, event_id: last.event_id, source: item };
}
