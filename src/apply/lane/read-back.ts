/**
 * Reads a stream back up to a mark: what was applied before a lane began, and what conflicts are still to be judged with.
 *
 * An event that lost may have been applied by the lane before this one, its winner be yet to come. The database alone
 * cannot always tell then that the two were concurrent; the streams can. They are kept for that from the offset on that
 * the conflict log's horizon names.
 */
import type { StreamReader } from '../../log/event-log.ts';
import { TransactionReader } from '../../log/transaction-reader.ts';
import { SynclineError } from '../../platform/errors.ts';
import type { Mark } from '../apply-port.ts';
import { type LaneItem, toLaneItem } from '../lane-item.ts';

/** Events in one part. */
const PART_EVENTS_MAX = 2_000;

/**
 * Whole items in order, the last one of all at the mark. `onLack` is called where the log does not reach back that far, before
 * what it does hold is given: its region may trim it at any time, also between two parts.
 */
export async function* readBack(
  reader: StreamReader,
  mark: Mark,
  from: number,
  onLack: () => void,
): AsyncGenerator<readonly LaneItem[]> {
  let next = from;
  while (next < mark.log_offset) {
    const kept = await firstKept(reader, mark, next);
    if (kept !== null) onLack();
    next = kept ?? next;
    try {
      for await (const part of partsOf(reader, mark, next)) {
        yield part;
        next = part.at(-1)?.log_offset ?? next;
      }
      return;
    } catch (error) {
      const wasTrimmed = error instanceof SynclineError && error.code === 'SYN-L004';
      if (!wasTrimmed || (await firstKept(reader, mark, next)) === null) throw error;
    }
  }
}

async function* partsOf(reader: StreamReader, mark: Mark, from: number): AsyncGenerator<readonly LaneItem[]> {
  if (from >= mark.log_offset) return;
  let part: LaneItem[] = [];
  let events = 0;
  for await (const item of new TransactionReader(reader, from).items()) {
    if (item.kind === 'run') continue;
    const laneItem = toLaneItem(mark.origin, item);
    if (laneItem.position > mark.position) break;
    part.push(laneItem);
    events += item.kind === 'transaction' ? item.events.length : 1;
    if (events >= PART_EVENTS_MAX) {
      yield part;
      part = [];
      events = 0;
    }
    if (laneItem.position === mark.position) break;
  }
  if (part.length > 0) yield part;
}

/** Where the log begins, if it does not reach back that far any more: with a whole item; null where it does. */
async function firstKept(reader: StreamReader, mark: Mark, from: number): Promise<number | null> {
  const bounds = await reader.bounds();
  if (bounds === null || bounds.first <= from || from >= mark.log_offset) return null;
  for (let offset = bounds.first; offset < mark.log_offset; ) {
    const records = await reader.read(offset, { records_max: 100, bytes_max: 1024 * 1024 });
    const whole = records.find((record) => record.kind !== 'run' && record.index === 0);
    if (whole !== undefined) return Math.min(whole.offset, mark.log_offset);
    const last = records.at(-1);
    if (last === undefined) break;
    offset = last.offset + 1;
  }
  return mark.log_offset;
}
