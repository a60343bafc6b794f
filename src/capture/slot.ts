/**
 * The replication slot of a region, and the first epoch, which goes with it.
 *
 * An epoch is one history of the database's WAL as this region publishes it. It is named by the time of its beginning, and
 * is kept in the database: a database that comes back from a copy has the epoch of the copy.
 *
 * A slot that is gone, as it is after a restore from a base backup, is made anew, and marked as such until a new epoch is
 * noted: what was committed in between never passed it, and whoever goes on has to look for that first. Making it anew
 * without the mark would leave a gap that no reader could see. From PostgreSQL 17 on standbys can keep copies of the slot, and
 * a promoted one goes on with it.
 */
import { hlcFromMicros, hlcToText } from '../change/hlc.ts';
import { type Epoch, lsnFromText, lsnToText } from '../change/position.ts';
import { Snapshot } from '../clock/snapshot.ts';
import { saveOwnHistory } from '../clock/sql-own-history.ts';
import { fail } from '../platform/errors.ts';
import { type PostgresClient, quoteLiteral } from '../platform/postgres.ts';
import type { Queryable } from '../platform/standing-connection.ts';
import type { ReplicationConnection } from './replication-connection.ts';

const START_KEY = 'slot_start_lsn';
const BEGAN_KEY = 'began';
const SNAPSHOT_KEY = 'began_snapshot';
const TABLES_KEY = 'began_tables';
/** The cluster that serves the region: its system identifier. */
export const SYSTEM_KEY = 'system_id';
/** Not empty while the slot is a new one of which no epoch knows. */
export const SLOT_DUE_KEY = 'slot_due';

export type SlotFacts = {
  readonly confirmedLsn: bigint;
  /** WAL that the server keeps for the slot; null where the server does not say. */
  readonly retainedBytes: number | null;
};

export type SlotHistory = {
  /** The region's first epoch: what was there before it was never in the stream. */
  readonly began: Epoch;
  /** Nothing below it came from the slot. */
  readonly startLsn: bigint;
  readonly isSlotDue: boolean;
  readonly begin: SlotBegin;
};

/** Where the first epoch began. */
export type SlotBegin = {
  /** What was committed by then, and so is in no stream. */
  readonly snapshot: Snapshot;
  /** The tables that were published. */
  readonly tables: readonly TableName[];
};

type TableName = { readonly schema: string; readonly table: string };

/** What the database holds of its slot; null before the first start. */
export async function readHistory(control: Queryable): Promise<SlotHistory | null> {
  const sql = 'select key, value from syncline.meta where key in ($1, $2, $3, $4, $5)';
  const { rows } = await control.query(sql, [BEGAN_KEY, START_KEY, SLOT_DUE_KEY, SNAPSHOT_KEY, TABLES_KEY]);
  const values = new Map(rows.map(({ key, value }) => [key, value]));
  const began = values.get(BEGAN_KEY);
  const start = values.get(START_KEY);
  if (began == null || start == null) return null;
  const snapshot = Snapshot.parse(values.get(SNAPSHOT_KEY) ?? '');
  const tables = JSON.parse(values.get(TABLES_KEY) ?? '') as TableName[];
  const isSlotDue = (values.get(SLOT_DUE_KEY) ?? '') !== '';
  return { began, startLsn: lsnFromText(start), isSlotDue, begin: { snapshot, tables } };
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

/** Whether the slot is to be made anew. */
export async function isSlotDue(control: PostgresClient, slot: string): Promise<boolean> {
  const history = await readHistory(control);
  return history !== null && (history.isSlotDue || !(await slotExists(control, slot)));
}

export type FoundSlot = {
  readonly startLsn: bigint;
  /** The snapshot where a slot begins that was made anew; null for one that was there, and at the very first start. */
  readonly anewFrom: string | null;
};

/** Makes the slot where there is none; at the very first start for these tables. */
export async function ensureSlot(
  control: PostgresClient,
  connection: ReplicationConnection,
  slot: string,
  tables: readonly TableName[],
): Promise<FoundSlot> {
  const history = await readHistory(control);
  const exists = await slotExists(control, slot);
  if (history !== null) {
    if (exists && !history.isSlotDue) {
      await letFailOver(control, connection, slot);
      return { startLsn: history.startLsn, anewFrom: null };
    }
    return await makeAnew(control, connection, slot, exists);
  }
  // A first start that ended before the epoch was noted: nothing was published from the slot that it left.
  if (exists) await dropSlot(control, slot);
  // Read before the slot begins, which waits for every transaction in progress: what committed by then is not sent.
  const epoch = hlcToText(hlcFromMicros(await serverMicros(control)));
  const { consistentPoint, snapshotName } = await connection.createSlot({ slot, snapshot: 'export' });
  const first = { epoch, lineage: [], fork: null, after: null };
  await saveOwnHistory(
    control,
    first,
    {
      [BEGAN_KEY]: epoch,
      [START_KEY]: lsnToText(consistentPoint),
      [SNAPSHOT_KEY]: await readSnapshot(control, snapshotName ?? ''),
      [TABLES_KEY]: JSON.stringify(tables.map(({ schema, table }) => ({ schema, table }))),
    },
    null,
  );
  return { startLsn: consistentPoint, anewFrom: null };
}

/** A slot that an older server made, before it was upgraded, does not fail over yet. */
async function letFailOver(control: PostgresClient, connection: ReplicationConnection, slot: string): Promise<void> {
  if (!connection.hasFailoverSlots) return;
  const { rows } = await control.query('select failover from pg_replication_slots where slot_name = $1', [slot]);
  if (rows[0]?.failover === 'f') await connection.letFailOver(slot);
}

/** The exported snapshot as text: which transactions it sees. The exporting connection must not have moved on. */
async function readSnapshot(control: PostgresClient, name: string): Promise<string> {
  return await control.transaction(async () => {
    await control.query(`set transaction snapshot ${quoteLiteral(name)}`);
    const { rows } = await control.query('select pg_current_snapshot()::text as snapshot');
    return rows[0]?.snapshot ?? '';
  }, 'begin isolation level repeatable read, read only');
}

async function makeAnew(
  control: PostgresClient,
  connection: ReplicationConnection,
  slot: string,
  exists: boolean,
): Promise<FoundSlot> {
  const note = `
    insert into syncline.meta (key, value) values ($1, $2) on conflict (key) do update set value = excluded.value`;
  await control.query(note, [SLOT_DUE_KEY, 'yes']);
  if (exists) await dropSlot(control, slot);
  const { consistentPoint, snapshotName } = await connection.createSlot({ slot, snapshot: 'export' });
  await control.query(note, [START_KEY, lsnToText(consistentPoint)]);
  return { startLsn: consistentPoint, anewFrom: snapshotName ?? null };
}

/**
 * In another cluster, everything that is committed by now counts as from before the stream began, and the slot is to be made
 * anew; `noteKey` names the note that goes with that.
 */
export async function noteBeginsAnew(client: PostgresClient, cluster: string, noteKey: string): Promise<void> {
  await client.query(
    `with gone as (delete from syncline.meta where key = $1)
     insert into syncline.meta (key, value) values ($2, $3), ($4, 'yes'), ($5, pg_current_snapshot()::text)
     on conflict (key) do update set value = excluded.value`,
    [noteKey, SYSTEM_KEY, cluster, SLOT_DUE_KEY, SNAPSHOT_KEY],
  );
}

export async function dropSlot(control: PostgresClient, slot: string): Promise<void> {
  await control.query('select pg_drop_replication_slot($1)', [slot]);
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

/** The server's clock, Unix µs. */
export async function serverMicros(client: PostgresClient): Promise<bigint> {
  const { rows } = await client.query('select (extract(epoch from clock_timestamp()) * 1000000)::bigint as micros');
  return BigInt(rows[0]?.micros ?? '');
}
