/**
 * Digests what tables hold in one snapshot, in the database itself: rows do not travel.
 *
 * Tables are read in stretches of pages, each in a transaction of its own that takes over the snapshot of a session that
 * holds it. So a table is locked, in the weakest mode, for no longer than a stretch takes: a lock over a whole scan would
 * hold up a user's ALTER TABLE, and everybody who queues behind that. In return a table can be rewritten or truncated
 * between two stretches, which no snapshot tells; the number of its file does, and then the scan begins anew.
 *
 * The text that is digested is the same as in `change/baseline.ts`. SHA-256 and not MD5, which servers in FIPS mode
 * refuse; half of it is plenty against chance.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { BASELINE_PARTS, BaselineTally, byCodeUnits, type TableLayout } from '../change/baseline.ts';
import { lsnFromText } from '../change/position.ts';
import { Snapshot } from '../clock/snapshot.ts';
import { fail, sqlStateOf } from '../platform/errors.ts';
import { partitionsSql } from '../platform/partitions.ts';
import { arrayText, connect, type PostgresClient, quoteIdent } from '../platform/postgres.ts';

/** How much of a table one statement reads: enough to be fast, and little enough to see it move on. */
const PAGES_OF_STRETCH = 1_024;
const POLL_MS = 100;
const SNAPSHOT_BEGIN = 'begin isolation level repeatable read, read only';
/** Of a stretch, on a busy machine with cold disks. */
const STATEMENT_TIMEOUT_MS = 600_000;
const GONE_STATES = new Set(['42P01', '42703', '3F000']);

export type ScanProgress = {
  readonly tables_total: number;
  readonly tables_done: number;
  /** The one that is being read. */
  readonly table: string | null;
  readonly rows: number;
  readonly percent: number;
};

export type Scan = {
  readonly snapshot: Snapshot;
  /** Whatever the snapshot sees was committed below it. */
  readonly endLsn: bigint;
  /** By `schema.table`. */
  readonly tables: ReadonlyMap<string, BaselineTally>;
};

export type ScanOptions = {
  readonly url: string;
  readonly applicationName: string;
  readonly tables: readonly { readonly schema: string; readonly table: string }[];
  /** The snapshot has to see all that this one sees. */
  readonly begin: Snapshot;
  /** Transactions that were there then are still in progress. */
  readonly onWaiting: () => void;
  readonly onProgress: (progress: ScanProgress) => void;
};

type Leaf = { readonly oid: string; readonly name: string; readonly file: string };
type ScannedTable = TableLayout & { readonly leaves: readonly Leaf[] };

export const tableName = ({ schema, table }: { schema: string; table: string }): string => `${schema}.${table}`;

/** Scans all tables that are still there; null where one was rewritten meanwhile. */
export async function scanTables(options: ScanOptions, signal: AbortSignal): Promise<Scan | null> {
  const { url, applicationName } = options;
  await using resources = new AsyncDisposableStack();
  const reader = await open(resources, url, applicationName);
  const holder = await open(resources, url, applicationName);
  await holder.query('set idle_in_transaction_session_timeout = 0');
  // Files are noted before the snapshot: a rewrite in between would go unseen else.
  const tables = await readLayouts(reader, options.tables);
  const held = await hold(holder, options, signal);
  try {
    return { ...held, tables: await readAll(reader, held.name, tables, options.onProgress, signal) };
  } catch (error) {
    if (error instanceof Rewritten || GONE_STATES.has(sqlStateOf(error) ?? '')) return null;
    throw error;
  }
}

class Rewritten extends Error {}

async function open(resources: AsyncDisposableStack, url: string, applicationName: string): Promise<PostgresClient> {
  const client = await connect(url, { applicationName, statementTimeoutMs: STATEMENT_TIMEOUT_MS });
  resources.defer(async () => await client.end());
  return client;
}

/** Takes a snapshot that sees everything that is in no stream, and holds it until the connection ends. */
async function hold(
  holder: PostgresClient,
  { begin, onWaiting }: ScanOptions,
  signal: AbortSignal,
): Promise<{ name: string; snapshot: Snapshot; endLsn: bigint }> {
  for (;;) {
    signal.throwIfAborted();
    await holder.query(SNAPSHOT_BEGIN);
    const { rows } = await holder.query(
      'select pg_current_snapshot()::text as snapshot, pg_export_snapshot() as name, pg_current_wal_insert_lsn() as lsn',
    );
    const snapshot = Snapshot.parse(rows[0]?.snapshot ?? '');
    if (snapshot.seesAllOf(begin)) {
      return { name: rows[0]?.name ?? '', snapshot, endLsn: lsnFromText(rows[0]?.lsn ?? '') };
    }
    // A commit is in the stream's past before others see it, for as long as a standby that is waited for is away.
    await holder.query('rollback');
    onWaiting();
    await delay(POLL_MS, undefined, { signal });
  }
}

const LAYOUTS_SQL = `
select json_build_object(
  'schema', n.nspname, 'table', c.relname,
  'columns', (select coalesce(json_agg(attname), '[]') from pg_attribute
               where attrelid = c.oid and attnum > 0 and not attisdropped and attgenerated = ''),
  'key', (select coalesce(json_agg(a.attname), '[]') from pg_index i
           join pg_attribute a on a.attrelid = c.oid and a.attnum = any (i.indkey[0:i.indnkeyatts - 1])
          where i.indrelid = c.oid and i.indisprimary),
  'leaves', (select coalesce(json_agg(json_build_object(
        'oid', l.oid::text, 'name', l.oid::regclass::text, 'file', pg_relation_filenode(l.oid)::text) order by l.oid), '[]')
     from pg_class l where l.relkind = 'r' and l.oid in (${partitionsSql('c.oid')})))
  from unnest($1::text[], $2::text[]) with ordinality as w (schema, name, place)
  join pg_namespace n on n.nspname = w.schema
  join pg_class c on c.relnamespace = n.oid and c.relname = w.name
 order by w.place`;

async function readLayouts(reader: PostgresClient, tables: ScanOptions['tables']): Promise<ScannedTable[]> {
  const schemas = arrayText(tables.map(({ schema }) => schema));
  const { rows } = await reader.queryArrays(LAYOUTS_SQL, [schemas, arrayText(tables.map(({ table }) => table))]);
  return rows.map(([text]) => JSON.parse(text ?? '') as ScannedTable);
}

/** Table by table: a size takes a lock, and one statement for all would hold each of them while it waits for the next. */
async function countPages(reader: PostgresClient, tables: readonly ScannedTable[]): Promise<number> {
  let pages = 0;
  for (const { oid } of tables.flatMap(({ leaves }) => leaves)) {
    const sql = `select pg_relation_size($1::oid) / current_setting('block_size')::bigint as pages`;
    const { rows } = await reader.query(sql, [oid], { prepare: true });
    pages += Number(rows[0]?.pages ?? 0);
  }
  return pages;
}

async function readAll(
  reader: PostgresClient,
  snapshot: string,
  tables: readonly ScannedTable[],
  onProgress: ScanOptions['onProgress'],
  signal: AbortSignal,
): Promise<ReadonlyMap<string, BaselineTally>> {
  const tallies = new Map<string, BaselineTally>();
  const pagesTotal = await countPages(reader, tables);
  let rows = 0;
  let pages = 0;
  const report = (table: string | null): void => {
    const percent = pagesTotal === 0 ? 100 : Math.min(100, (100 * pages) / pagesTotal);
    onProgress({ tables_total: tables.length, tables_done: tallies.size, table, rows, percent });
  };
  for (const table of tables) {
    const tally = new BaselineTally(table);
    report(tableName(table));
    for (const leaf of table.leaves) {
      for (let from = 0, end = Number.POSITIVE_INFINITY; from < end; from += PAGES_OF_STRETCH) {
        signal.throwIfAborted();
        const stretch = await readStretch(reader, snapshot, table, leaf, from);
        end = stretch.pages;
        for (const { part, count, digest } of stretch.parts) {
          tally.add(part, count, digest);
          rows += count;
        }
        pages += Math.max(0, Math.min(PAGES_OF_STRETCH, end - from));
        report(tableName(table));
      }
    }
    tallies.set(tableName(table), tally);
  }
  report(null);
  return tallies;
}

type Stretch = {
  /** Of the whole table, now. */
  readonly pages: number;
  readonly parts: readonly { readonly part: number; readonly count: number; readonly digest: bigint }[];
};

async function readStretch(
  reader: PostgresClient,
  snapshot: string,
  table: ScannedTable,
  leaf: Leaf,
  from: number,
): Promise<Stretch> {
  return await reader.transaction(async () => {
    await reader.query(`set transaction snapshot '${snapshot}'`);
    const { rows } = await reader.queryArrays(stretchSql(table, leaf.name), [
      `(${from},0)`,
      `(${from + PAGES_OF_STRETCH},0)`,
    ]);
    const file = await reader.query(
      `select pg_relation_filenode($1::regclass)::text as file,
              pg_relation_size($1::regclass) / current_setting('block_size')::bigint as pages`,
      [leaf.name],
    );
    if (file.rows[0]?.file !== leaf.file) throw new Rewritten();
    const parts = rows.map(([part, count, digest]) => {
      if (digest == null) throw fail('SYN-B004', `${tableName(table)} cannot be digested`);
      return { part: Number(part), count: Number(count), digest: BigInt(`0b${digest}`) };
    });
    return { pages: Number(file.rows[0]?.pages), parts };
  }, SNAPSHOT_BEGIN);
}

/** Per part of the keys: its number, its rows, and the exclusive or of their digests as bits. */
export function stretchSql({ columns, key }: TableLayout, leaf: string): string {
  return `select part, count(*), bit_xor(digest) from (
  select get_byte(sha256(${bytesOf(key)}), 0) % ${BASELINE_PARTS} as part,
         ('x' || encode(substr(sha256(${bytesOf(columns)}), 1, 16), 'hex'))::bit(128) as digest
    from only ${leaf} as t where t.ctid >= $1::tid and t.ctid < $2::tid) as r
 group by part`;
}

/** Null is told from an empty text, and a composite value of nulls from null. */
function bytesOf(columns: readonly string[]): string {
  const texts = columns.toSorted(byCodeUnits).map((column) => {
    const value = `t.${quoteIdent(column)}`;
    return `quote_nullable(case when num_nulls(${value}) = 0 then concat(${value}) end)`;
  });
  return `convert_to(array_to_string(array[${texts.join(', ')}]::text[], ','), 'UTF8')`;
}
