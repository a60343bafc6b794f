/**
 * Reads a stream back from a mark: what was applied before a lane began, and what conflicts are still to be judged with.
 *
 * An event that lost may have been applied by the lane before this one, its winner be yet to come. The database alone
 * cannot always tell then that the two were concurrent; the streams can. They are read back as far as a bound of records
 * goes, or as the log still holds them.
 */
import type { Position } from '../change/position.ts';
import type { StreamReader } from '../log/event-log.ts';
import { TransactionReader } from '../log/transaction-reader.ts';
import { SynclineError } from '../platform/errors.ts';
import type { Mark } from './apply-port.ts';
import { type LaneItem, toLaneItem } from './lane-item.ts';

const BYTES_MAX = 16 * 1024 * 1024;

export type ReadBack = {
  /** In order; the last is the one at the mark. */
  readonly items: readonly LaneItem[];
  /** The position before the first of them; null at the stream's start. */
  readonly after: Position | null;
};

export async function readBack(reader: StreamReader, mark: Mark, recordsMax: number): Promise<ReadBack> {
  const nothing: ReadBack = { items: [], after: mark.position };
  try {
    const records = await reader.readBefore(mark.log_offset, { records_max: recordsMax, bytes_max: BYTES_MAX });
    const from = records.find((record) => record.index === 0)?.offset;
    if (from === undefined) return nothing;
    const transactions = new TransactionReader(reader, from);
    const items: LaneItem[] = [];
    while (await transactions.fill(0)) {
      const item = transactions.shift();
      if (item.kind === 'run') continue;
      const laneItem = toLaneItem(mark.origin, item);
      if (laneItem.position > mark.position) break;
      items.push(laneItem);
    }
    const [first] = items;
    return first === undefined ? nothing : { items, after: first.predecessor };
  } catch (error) {
    // What is wrong with the stream is told by whoever reads on from the mark, if it is wrong there too.
    if (error instanceof SynclineError && error.class === 'protocol') return nothing;
    throw error;
  }
}
