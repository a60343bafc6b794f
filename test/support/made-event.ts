/** An event on the row 1 of `ONE_TABLE`, for tests that say what matters of it to them. */
import type { ChangeEvent } from '../../src/change/change-event.ts';
import { type Hlc, hlcToText } from '../../src/change/hlc.ts';

export function madeEvent(region: string, hlc: Hlc, changes: Partial<ChangeEvent> = {}): ChangeEvent {
  return {
    event_id: `${region} ${hlc}`,
    region_id: region,
    schema_name: 'public',
    table_name: 't',
    row_pk: { id: '1' },
    operation: 'UPDATE',
    before_image: { id: '1', v: 'before' },
    after_image: { id: '1', v: 'after' },
    committed_at: '2026-01-01T00:00:00.000000Z',
    hlc_timestamp: hlcToText(hlc),
    region_tags: [region],
    transaction: { id: 1, epoch: '', commit_lsn: '', index: 0, last: true, predecessor: null, seen: {} },
    ...changes,
  };
}
