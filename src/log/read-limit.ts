// The bounds of a read, in one place: at least one record, then as many as the bounds allow.

import type { ReadLimit, StoredRecord } from './event-log.ts';

export function takeWithin(limit: ReadLimit, at: (place: number) => StoredRecord | undefined): StoredRecord[] {
  const taken: StoredRecord[] = [];
  let bytes = 0;
  for (let record = at(0); record !== undefined; record = at(taken.length)) {
    bytes += record.value.length;
    if (taken.length > 0 && (taken.length >= limit.records_max || bytes > limit.bytes_max)) break;
    taken.push(record);
  }
  return taken;
}

/** The last records, up to and with the one that exceeds the bound. */
export function lastBeyond(bytesMax: number, records: readonly StoredRecord[]): StoredRecord[] {
  let from = records.length;
  for (let bytes = 0; from > 0 && bytes <= bytesMax; from -= 1) bytes += records[from - 1]?.value.length ?? 0;
  return records.slice(from);
}

/** Whether another record would not be taken any more. */
export function isFull(limit: ReadLimit, records: readonly StoredRecord[]): boolean {
  if (records.length >= limit.records_max) return true;
  let bytes = 0;
  for (const { value } of records) {
    bytes += value.length;
    if (bytes > limit.bytes_max) return true;
  }
  return false;
}
