/** A log that was truncated or replaced shows in the event at a mark: it is another one, or none. */
import type { ChangeEvent } from '../change/change-event.ts';
import { fail, type SynclineError } from '../platform/errors.ts';
import type { StreamReader } from './event-log.ts';
import { newerRecord } from './stream-item.ts';

/** The last that was applied of a stream, and the place behind it. */
export type CheckedMark = { readonly origin: string; readonly event_id: string; readonly log_offset: number };

/** Makes sure that the log still holds at the mark what was applied, if it was not trimmed. */
export async function checkMark(mark: CheckedMark, reader: StreamReader): Promise<void> {
  const { origin, event_id } = mark;
  const expected = expectedAt(mark);
  if (!(await isKept(mark, reader))) return;
  const [record] = await reader.read(expected, { records_max: 1, bytes_max: 1 });
  if (record?.offset !== expected) {
    // It may have been trimmed meanwhile.
    if (await isKept(mark, reader)) throw replaced(mark, `holds nothing at offset ${expected}, where ${event_id} was`);
    return;
  }
  if (record.kind === 'newer') throw newerRecord(origin, record);
  const found = JSON.parse(record.value) as Pick<ChangeEvent, 'event_id'>;
  if (found.event_id !== event_id) {
    throw replaced(mark, `holds ${found.event_id} at offset ${expected}, not ${event_id}`);
  }
}

/** Where the last event that was applied stands. */
const expectedAt = ({ log_offset }: CheckedMark): number => log_offset - 1;

async function isKept(mark: CheckedMark, reader: StreamReader): Promise<boolean> {
  const { origin, event_id, log_offset } = mark;
  const expected = expectedAt(mark);
  const bounds = await reader.bounds();
  if (bounds === null || bounds.last < expected) {
    throw replaced(mark, `ends before offset ${expected}, which was applied`);
  }
  if (bounds.first > log_offset) {
    throw fail('SYN-L004', `the stream of ${origin} begins at offset ${bounds.first}; ${log_offset} is next`, {
      context: { origin, offset: expected, event_id },
    });
  }
  return bounds.first <= expected;
}

function replaced(mark: CheckedMark, how: string): SynclineError {
  const { origin, event_id } = mark;
  return fail('SYN-L003', `the stream of ${origin} ${how}`, {
    context: { origin, offset: expectedAt(mark), event_id },
  });
}
