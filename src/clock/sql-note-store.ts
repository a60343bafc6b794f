/** Notes of applied batches as `syncline.applied_at` holds them, where apply's transactions wrote them. */
import { hlcFromText } from '../change/hlc.ts';
import { lsnFromText, lsnToText, type Seen } from '../change/position.ts';
import { invariant } from '../platform/assert.ts';
import type { PostgresClient } from '../platform/postgres.ts';
import type { NoteRow, NoteStore, NotesRead } from './note-store.ts';

// The snapshot of a statement is taken before its WAL position, and a commit is visible no sooner than it is in the WAL.
const NEWEST = `
select pg_current_wal_insert_lsn(), n.lsn, n.seen, n.max_hlc
from (values (1)) as one (n) left join lateral
  (select lsn, seen, max_hlc from syncline.applied_at order by lsn desc limit 1) as n on true`;

const AROUND = `
select pg_current_wal_insert_lsn(), n.lsn, n.seen, n.max_hlc
from (values (1)) as one (n) left join lateral (
  (select lsn, seen, max_hlc from syncline.applied_at where lsn < $1::pg_lsn order by lsn desc limit 1)
  union all
  (select lsn, seen, max_hlc from syncline.applied_at where lsn >= $1::pg_lsn order by lsn limit $2::bigint)
) as n on true
order by n.lsn`;

export class SqlNoteStore implements NoteStore {
  readonly #client: PostgresClient;

  constructor(client: PostgresClient) {
    this.#client = client;
  }

  async newest(): Promise<NotesRead> {
    return notesOf((await this.#client.queryArrays(NEWEST, [])).rows);
  }

  async around(lsn: bigint, limit: number): Promise<NotesRead> {
    return notesOf((await this.#client.queryArrays(AROUND, [lsnToText(lsn), String(limit)])).rows);
  }
}

function notesOf(read: readonly (readonly (string | null)[])[]): NotesRead {
  const rows: NoteRow[] = [];
  let end = 0n;
  for (const [inserted, lsn, seen, max_hlc] of read) {
    invariant(typeof inserted === 'string', 'the WAL ends somewhere');
    const known = lsnFromText(inserted);
    if (known > end) end = known;
    if (typeof lsn !== 'string') continue;
    invariant(typeof seen === 'string' && typeof max_hlc === 'string', 'the columns of a note are not null');
    rows.push({ lsn: lsnFromText(lsn), seen: JSON.parse(seen) as Seen, max_hlc: hlcFromText(max_hlc) });
  }
  return { rows, end };
}
