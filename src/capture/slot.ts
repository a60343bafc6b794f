/**
 * The replication slot of a region, and the epoch that goes with it.
 *
 * An epoch is one history of the database's WAL as this region publishes it. It begins with the slot, is named by the
 * time of its beginning, and is kept in the database: a database that comes back from a copy has the epoch of the copy.
 *
 * The slot is made once. One that is gone later has lost changes that nobody can get back from it, so it is never made
 * again without being asked; making a new one quietly would leave a gap that no reader could see.
 */
import { hlcFromMicros, hlcToText } from '../change/hlc.ts';
import { type Epoch, lsnFromText, lsnToText } from '../change/position.ts';
import { fail } from '../platform/errors.ts';
import type { PostgresClient } from '../platform/postgres.ts';
import type { Queryable } from '../platform/standing-connection.ts';
import type { ReplicationConnection } from './replication-connection.ts';

const EPOCH_KEY = 'epoch';
const START_KEY = 'slot_start_lsn';

export type SlotFacts = {
  readonly confirmedLsn: bigint;
  /** WAL that the server keeps for the slot; null where the server does not say. */
  readonly retainedBytes: number | null;
};

export type SlotHistory = {
  readonly epoch: Epoch;
  /** Nothing below it was ever in the stream. */
  readonly startLsn: bigint;
};

/** The epoch that the database holds; null before the first start. */
export async function readHistory(control: Queryable): Promise<SlotHistory | null> {
  const sql = 'select key, value from syncline.meta where key in ($1, $2)';
  const { rows } = await control.query(sql, [EPOCH_KEY, START_KEY]);
  const values = new Map(rows.map(({ key, value }) => [key, value]));
  const epoch = values.get(EPOCH_KEY);
  const start = values.get(START_KEY);
  return epoch == null || start == null ? null : { epoch, startLsn: lsnFromText(start) };
}

/** Whether the slot is there, for this database. */
async function slotExists(control: PostgresClient, slot: string): Promise<boolean> {
  const sql = 'select database, plugin, current_database() as here from pg_replication_slots where slot_name = $1';
  const { rows } = await control.query(sql, [slot]);
  const [row] = rows;
  if (row === undefined) return false;
  if (row.database === row.here && row.plugin === 'pgoutput') return true;
  const detail = `slot ${slot} belongs to ${row.database ?? 'a standby'} (${row.plugin ?? 'physical'})`;
  throw fail('SYN-K004', detail, { context: { slot } });
}

/** Makes the slot at the very first start; afterwards makes sure that it is still there. */
export async function ensureSlot(
  control: PostgresClient,
  connection: ReplicationConnection,
  slot: string,
): Promise<SlotHistory> {
  const history = await readHistory(control);
  const exists = await slotExists(control, slot);
  if (history !== null) {
    if (exists) return history;
    throw fail('SYN-K001', `slot ${slot} does not exist any more`, { context: { slot } });
  }
  // A first start that ended before the epoch was noted: nothing was published from the slot that it left.
  if (exists) await control.query('select pg_drop_replication_slot($1)', [slot]);
  // Read before the slot begins, which waits for every transaction in progress: what committed by then is not sent.
  const epoch = hlcToText(hlcFromMicros(await serverMicros(control)));
  const { consistentPoint } = await connection.createSlot({ slot, snapshot: 'none' });
  const sql = 'insert into syncline.meta (key, value) values ($1, $2), ($3, $4)';
  await control.query(sql, [EPOCH_KEY, epoch, START_KEY, lsnToText(consistentPoint)]);
  return { epoch, startLsn: consistentPoint };
}

export async function readSlot(client: PostgresClient, slot: string): Promise<SlotFacts> {
  const { rows } = await client.query(
    `select confirmed_flush_lsn, pg_wal_lsn_diff(pg_current_wal_insert_lsn(), restart_lsn)::bigint as retained
       from pg_replication_slots where slot_name = $1`,
    [slot],
    { prepare: true },
  );
  const confirmed = rows[0]?.confirmed_flush_lsn;
  if (confirmed == null) throw fail('SYN-K001', `slot ${slot} does not exist any more`, { context: { slot } });
  const retained = rows[0]?.retained ?? null;
  return { confirmedLsn: lsnFromText(confirmed), retainedBytes: retained === null ? null : Number(retained) };
}

/** End of the WAL that the server has made durable. */
export async function walFlushLsn(client: PostgresClient): Promise<bigint> {
  const { rows } = await client.query('select pg_current_wal_flush_lsn() as lsn');
  return lsnFromText(rows[0]?.lsn ?? '');
}

/** The server's clock, Unix µs. */
export async function serverMicros(client: PostgresClient): Promise<bigint> {
  const { rows } = await client.query('select (extract(epoch from clock_timestamp()) * 1000000)::bigint as micros');
  return BigInt(rows[0]?.micros ?? '');
}

/** Replication origins of this database whose transactions were applied by Syncline begin so. */
export async function ownOriginPrefix(client: PostgresClient): Promise<string> {
  const { rows } = await client.query('select oid from pg_database where datname = current_database()');
  return `syncline_${rows[0]?.oid ?? ''}_`;
}

/**
 * Whether other tools have replication origins on this server. What they apply is a local write to us, so the server
 * must not leave it out. Those of Syncline for other databases are never used in this one.
 */
export async function hasForeignOrigins(client: PostgresClient): Promise<boolean> {
  const sql = `select exists (select from pg_replication_origin where not starts_with(roname, 'syncline_')) as found`;
  const { rows } = await client.query(sql, [], { prepare: true });
  return rows[0]?.found === 't';
}
