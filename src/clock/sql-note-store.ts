/** Notes of applied batches as `syncline.applied_at` holds them, where apply's transactions wrote them. */
import { hlcFromText } from '../change/hlc.ts';
import { lsnFromText, lsnToText, type Seen } from '../change/position.ts';
import { invariant } from '../platform/assert.ts';
import type { PostgresClient } from '../platform/postgres.ts';
import type { NoteRow, NoteStore } from './note-store.ts';

// The transaction id is a 64-bit one there; tuples and events carry its low half.
const NOTES_ABOVE = `
select (xid::text::bigint & 4294967295) as xid, lsn, origin, seen, max_hlc from syncline.applied_at
where lsn >= coalesce((select max(lsn) from syncline.applied_at where lsn <= $1::pg_lsn), '0/0')
order by lsn`;

export class SqlNoteStore implements NoteStore {
  readonly #client: PostgresClient;

  constructor(client: PostgresClient) {
    this.#client = client;
  }

  async notesAbove(lsn: bigint): Promise<NoteRow[]> {
    const { rows } = await this.#client.queryArrays(NOTES_ABOVE, [lsnToText(lsn)]);
    return rows.map(([xid, position, origin, seen, max_hlc]) => {
      invariant(
        typeof position === 'string' && typeof seen === 'string' && typeof max_hlc === 'string',
        'the columns of a note are not null',
      );
      return {
        xid: Number(xid),
        lsn: lsnFromText(position),
        origin: origin ?? '',
        seen: JSON.parse(seen) as Seen,
        max_hlc: hlcFromText(max_hlc),
      };
    });
  }
}
