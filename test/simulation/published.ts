/** What a system has published, read back from its streams, by region and by row. */
import { type ChangeEvent, type Image, isoToMicros } from '../../src/change/change-event.ts';
import { type Hlc, hlcFromMicros } from '../../src/change/hlc.ts';
import { type Position, positionEpoch, type Seen } from '../../src/change/position.ts';
import type { EventLog } from '../../src/log/event-log.ts';
import { TransactionReader } from '../../src/log/transaction-reader.ts';
import type { BaselineRow } from './baseline-rows.ts';
import { modelShape, rowName } from './model-store.ts';

/** A transaction of a stream; a heartbeat has no events. */
export type PublishedTransaction = {
  readonly origin: string;
  readonly position: Position;
  readonly predecessor: Position | null;
  readonly hlc: Hlc;
  readonly seen: Seen;
  readonly xid: number;
  /** Its commit timestamp, Unix µs. */
  readonly commitMicros: bigint;
  /** A heartbeat's, as the floor is; 0 for any other. */
  readonly promise: Hlc;
  readonly floor: Hlc;
  readonly events: readonly ChangeEvent[];
};

/** By region, in the order of its stream. */
export type Published = ReadonlyMap<string, readonly PublishedTransaction[]>;

/** What one event says about one row; an event that changes the key speaks about two. */
export type RowEvent = {
  readonly origin: string;
  readonly position: Position;
  readonly hlc: Hlc;
  readonly seen: Seen;
  /** Place within the transaction. */
  readonly index: number;
  readonly before: Image | null;
  /** The merge version that it names. */
  readonly merge?: string | undefined;
  /** null where the event removes the row. */
  readonly after: Image | null;
  readonly isTruncate: boolean;
  readonly stated: Hlc;
  /** As in `src/resolve/losses.ts`. */
  readonly left?: Image | undefined;
  readonly found?: Image | null;
  /** The key of the row that it is about. */
  readonly pk: Image;
  readonly event_id: string;
};

export async function readPublished(log: EventLog, regions: readonly string[]): Promise<Published> {
  const published = new Map<string, PublishedTransaction[]>();
  for (const origin of regions) {
    const transactions: PublishedTransaction[] = [];
    published.set(origin, transactions);
    await using stream = await log.reader(origin);
    const reader = new TransactionReader(stream, 0);
    for await (const item of reader.items()) {
      if (item.kind === 'heartbeat') {
        const commitMicros = isoToMicros(item.heartbeat.committed_at);
        transactions.push({ ...item.heartbeat, commitMicros, origin, events: [] });
      } else if (item.kind === 'transaction') {
        const { stated_micros: stated, committed_at } = item;
        transactions.push({
          ...item,
          commitMicros: stated === undefined ? isoToMicros(committed_at) : BigInt(stated),
          origin,
          promise: 0n,
          floor: 0n,
        });
      }
    }
  }
  return published;
}

/**
 * The events about each row, by `rowName`; a TRUNCATE is about every row that any event speaks about, or
 * that was there before. */
export function eventsByRow(
  published: Published,
  table: string,
  baseline: readonly BaselineRow[],
): Map<string, RowEvent[]> {
  const shape = modelShape('public', table);
  const rows = new Map<string, RowEvent[]>();
  for (const { image } of baseline.filter((row) => row.table === table)) {
    rows.set(rowName(shape, JSON.stringify([image.id])), []);
  }
  const truncates: RowEvent[] = [];
  for (const transactions of published.values()) {
    const statedBy = new Map<string, Hlc>();
    for (const { origin, position, hlc, seen, floor, events } of transactions) {
      const epoch = positionEpoch(position);
      const stated = statedBy.get(epoch) ?? 0n;
      if (floor > stated) statedBy.set(epoch, floor);
      const head = { origin, position, hlc, seen, stated };
      for (const event of events) {
        if (event.table_name !== table || event.claim !== undefined) continue;
        const { before_image: before, after_image: after, operation, event_id } = event;
        const { index } = event.transaction;
        const isPushed = hlc !== hlcFromMicros(isoToMicros(event.committed_at));
        const { merge } = event;
        const about = (key: string | null | undefined, after: Image | null, found: Image | null): void => {
          const row = rowName(shape, JSON.stringify([key]));
          const known = rows.get(row) ?? [];
          rows.set(row, known);
          const left = isPushed && after !== null ? after : undefined;
          known.push({
            ...head,
            index,
            merge,
            before,
            after,
            left,
            found,
            isTruncate: false,
            pk: { id: key ?? null },
            event_id,
          });
        };
        if (operation === 'TRUNCATE') {
          truncates.push({ ...head, index, merge, before, after, isTruncate: true, pk: {}, event_id });
          continue;
        }
        if (operation === 'UPDATE' && before !== null && before.id !== event.row_pk.id) about(before.id, null, before);
        about(event.row_pk.id, after, before?.id === event.row_pk.id ? before : null);
      }
    }
  }
  for (const known of rows.values()) known.push(...truncates);
  return rows;
}
