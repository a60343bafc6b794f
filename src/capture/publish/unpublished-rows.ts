/**
 * Rows that were written while there was no slot: nobody published them, and no slot will send them.
 *
 * A row tells when its transaction committed, and whether Syncline wrote it. What a user's transaction wrote after the place
 * where the stream parts from this database, and the stream does not hold, was written unheard. Timestamps near that place
 * may be out of order by a little, so it is looked at from a window before it on, less what is known to be published.
 *
 * A removal leaves no row to tell of it, and what another tool applied has whatever timestamp that tool gave it. Whoever
 * makes a slot anew is told so.
 */
import { isoToMicros } from '../../change/change-event.ts';
import { hlcMicros } from '../../change/hlc.ts';
import { parseChange } from '../../change/stream-record.ts';
import { WINDOW } from '../../clock/stamper.ts';
import type { StreamReader } from '../../log/event-log.ts';
import { type PostgresClient, quoteIdent } from '../../platform/postgres.ts';
import type { OwnMark, OwnTrace } from './own-stream.ts';

const READ = { records_max: 1_000, bytes_max: 8 * 1024 * 1024 };
/** Transactions within the window before the mark that are looked for. */
const LOOK_BACK_MAX = 50_000;

export type UnpublishedRows = { readonly table: string; readonly rows: number };
type TableName = { readonly schema: string; readonly table: string };

/** `client` is in a transaction whose snapshot is where the new slot begins. */
export async function findUnpublished(
  client: PostgresClient,
  reader: StreamReader,
  mark: OwnMark | null,
  trace: OwnTrace,
  tables: readonly TableName[],
): Promise<UnpublishedRows[]> {
  const times = [...trace.times];
  const newest = times.reduce<bigint | null>((a, b) => (a === null || b > a ? b : a), null);
  const since = (newest ?? (await commitTimeAt(reader, mark))) - hlcMicros(WINDOW);
  if (mark !== null) times.push(...(await timesBefore(reader, mark.log_offset, since)));
  const found: UnpublishedRows[] = [];
  for (const { schema, table } of tables) {
    const { rows } = await client.query(
      `select count(*) as rows from (
         select t.xmin as xid, pg_xact_commit_timestamp_origin(t.xmin) as c
           from ${await rowsOf(client, { schema, table })} as t offset 0) as t
       where (c).timestamp > timestamptz 'epoch' + $1::bigint * interval '1 microsecond'
         and (extract(epoch from (c).timestamp) * 1000000)::bigint <> all ($2::bigint[])
         and (c).roident = 0 and not exists (select from syncline.author a where a.tuple_xid = t.xid)`,
      [String(since), `{${times.join(',')}}`],
    );
    const count = Number(rows[0]?.rows ?? 0);
    if (count > 0) found.push({ table: `${schema}.${table}`, rows: count });
  }
  return found;
}

/** The rows that a published table stands for: its own, and for the root of partitions those of all of them. */
export async function rowsOf(client: PostgresClient, { schema, table }: TableName): Promise<string> {
  const name = `${quoteIdent(schema)}.${quoteIdent(table)}`;
  const { rows } = await client.query(`select relkind = 'p' as is_root from pg_class where oid = $1::regclass`, [name]);
  return rows[0]?.is_root === 't' ? name : `only ${name}`;
}

/** Commit time of what stands before the mark; the beginning of time where there is nothing. */
async function commitTimeAt(reader: StreamReader, mark: OwnMark | null): Promise<bigint> {
  if (mark === null) return 0n;
  const [record] = await reader.readBefore(mark.log_offset, { records_max: 1, bytes_max: 1 });
  return record === undefined || record.position === null ? 0n : isoToMicros(parseChange(record.value).committed_at);
}

async function timesBefore(reader: StreamReader, offset: number, since: bigint): Promise<bigint[]> {
  const times: bigint[] = [];
  for (let before = offset; times.length < LOOK_BACK_MAX; ) {
    const records = await reader.readBefore(before, READ);
    const [oldest] = records;
    if (oldest === undefined) break;
    before = oldest.offset;
    const committed = records
      .filter(({ position }) => position !== null)
      .map(({ value }) => isoToMicros(parseChange(value).committed_at));
    times.push(...committed.filter((time) => time >= since));
    if (committed.length > 0 && committed.every((time) => time < since)) break;
  }
  return times;
}
