/** Reads single events from a stream again, by where their transaction begins. */
import type { ChangeEvent } from '../change/change-event.ts';
import type { Position } from '../change/position.ts';
import { parseChange } from '../change/stream-record.ts';
import type { StreamReader } from '../log/event-log.ts';

export type EventPlace = {
  readonly origin: string;
  /** Offset of the transaction's first record. */
  readonly first_offset: number;
  readonly position: Position;
  readonly index: number;
};

/** null where the log does not hold the event any more. */
export type EventAt = (place: EventPlace) => Promise<ChangeEvent | null>;

const STEP = { records_max: 50, bytes_max: 512 * 1024 };

/** An event's record stands at least as many records behind the first one as it has events before it. */
export async function readEvent(reader: StreamReader, place: EventPlace): Promise<ChangeEvent | null> {
  let from = place.first_offset + place.index;
  for (;;) {
    const records = await reader.read(from, STEP);
    for (const { kind, position, index, value } of records) {
      if (kind !== 'change' || position === null) continue;
      if (position === place.position && index === place.index) return parseChange(value);
    }
    const last = records.at(-1);
    if (last === undefined) return null;
    from = last.offset + 1;
  }
}
