/** What a system has published, read back from its streams, by region and by row. */
import { type ChangeEvent, type Image, isoToMicros } from '../../src/change/change-event.ts';
import type { Hlc } from '../../src/change/hlc.ts';
import { covers, type Position, positionEpoch, type Seen } from '../../src/change/position.ts';
import type { EventLog } from '../../src/log/event-log.ts';
import { TransactionReader } from '../../src/log/transaction-reader.ts';
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
  /** A heartbeat's; 0 for any other. */
  readonly promise: Hlc;
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
  /** null where the event removes the row. */
  readonly after: Image | null;
  readonly isTruncate: boolean;
  /** How many events its transaction has. */
  readonly transactionRows: number;
};

export async function readPublished(log: EventLog, regions: readonly string[]): Promise<Published> {
  const published = new Map<string, PublishedTransaction[]>();
  for (const origin of regions) {
    const transactions: PublishedTransaction[] = [];
    published.set(origin, transactions);
    await using stream = await log.reader(origin);
    const reader = new TransactionReader(stream, 0);
    while (await reader.fill(0)) {
      const item = reader.shift();
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
        });
      }
    }
  }
  return published;
}

/** The events about each row, by `rowName`; a TRUNCATE is about every row that any event speaks about. */
export function eventsByRow(published: Published, table: string): Map<string, RowEvent[]> {
  const shape = modelShape('public', table);
  const rows = new Map<string, RowEvent[]>();
  const truncates: RowEvent[] = [];
  for (const transactions of published.values()) {
    for (const { origin, position, hlc, seen, events } of transactions) {
      const head = { origin, position, hlc, seen, transactionRows: events.length };
      for (const event of events) {
        if (event.table_name !== table) continue;
        const { before_image: before, after_image: after, operation } = event;
        const { index } = event.transaction;
        const about = (key: string | null | undefined, left: Image | null): void => {
          const row = rowName(shape, JSON.stringify([key]));
          const known = rows.get(row) ?? [];
          rows.set(row, known);
          known.push({ ...head, index, before, after: left, isTruncate: false });
        };
        if (operation === 'TRUNCATE') {
          truncates.push({ ...head, index, before, after, isTruncate: true });
          continue;
        }
        if (operation === 'UPDATE' && before !== null && before.id !== event.row_pk.id) about(before.id, null);
        about(event.row_pk.id, after);
      }
    }
  }
  for (const known of rows.values()) known.push(...truncates);
  return rows;
}

export function areConcurrent(a: RowEvent, b: RowEvent): boolean {
  return a !== b && !follows(a, b) && !follows(b, a);
}

/** Whether `a` came after `b` and knew it. */
export function follows(a: RowEvent, b: RowEvent): boolean {
  const isOneLine = a.origin === b.origin && positionEpoch(a.position) === positionEpoch(b.position);
  if (!isOneLine) return covers(a.seen, b.origin, b.position);
  return a.position > b.position || (a.position === b.position && a.index > b.index);
}
