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
 *
 * Nor is a slot taken for ours because of its name: somebody may have dropped it and made one again, or moved it on, as tools
 * do that keep a list of slots. PostgreSQL gives slots no identity. But WAL records begin at multiples of eight bytes, and so
 * does what a new slot is confirmed to; a position just before the end of a commit record does not, and leaves out the same
 * transactions. So that is what we confirm, and whatever else stands in the slot is not from us, unless it was there before, or
 * lies below what we had confirmed by then: a tool that carries slots to standbys may leave a copy behind, which only sends again.
 *
 * No mark is set where the server has synchronous standbys: capture may count as one, and a commit waits until its end is
 * confirmed.
 */
import { hlcFromMicros, hlcToText } from '../../change/hlc.ts';
import { type Epoch, lsnFromText, lsnToText } from '../../change/position.ts';
import { Snapshot } from '../../clock/snapshot.ts';
import { saveOwnHistory } from '../../clock/sql-own-history.ts';
import { fail } from '../../platform/errors.ts';
import { arrayText, type PostgresClient, quoteLiteral } from '../../platform/postgres.ts';
import type { Queryable } from '../../platform/standing-connection.ts';
import type { ReplicationConnection } from '../stream/replication-connection.ts';

const START_KEY = 'slot_start_lsn';
const BEGAN_KEY = 'began';
const SNAPSHOT_KEY = 'began_snapshot';
const TABLES_KEY = 'began_tables';
/** Up to there the slot may stand at a position that bears no mark: it is known to have been confirmed. */
const UNMARKED_KEY = 'slot_unmarked';
/** The last run that has seen a mark in the slot. */
const MARKED_KEY = 'slot_marked';
const RECORD_ALIGNMENT = 8n;

const NOTE = `
insert into syncline.meta (key, value) values ($1, $2) on conflict (key) do update set value = excluded.value`;
const NOTE_MARKED = `
insert into syncline.meta (key, value) values ($1, $2), ($3, $4) on conflict (key) do update set value = excluded.value`;
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
  /** Up to there the slot may stand at a position without our mark. */
  readonly unmarkedLsn: bigint;
  /** The last run that has seen our mark in the slot; null for none. */
  readonly markedRun: string | null;
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
  const sql = 'select key, value from syncline.meta where key = any ($1)';
  const keys = [BEGAN_KEY, START_KEY, SLOT_DUE_KEY, SNAPSHOT_KEY, TABLES_KEY, UNMARKED_KEY, MARKED_KEY];
  const { rows } = await control.query(sql, [arrayText(keys)]);
  const values = new Map(rows.map(({ key, value }) => [key, value]));
  const began = values.get(BEGAN_KEY);
  const start = values.get(START_KEY);
  if (began == null || start == null) return null;
  const snapshot = Snapshot.parse(values.get(SNAPSHOT_KEY) ?? '');
  const tables = JSON.parse(values.get(TABLES_KEY) ?? '') as TableName[];
  const isSlotDue = (values.get(SLOT_DUE_KEY) ?? '') !== '';
  const unmarkedLsn = lsnFromText(values.get(UNMARKED_KEY) ?? '0/0');
  const markedRun = values.get(MARKED_KEY) ?? null;
  return { began, startLsn: lsnFromText(start), isSlotDue, unmarkedLsn, markedRun, begin: { snapshot, tables } };
}

/** How to confirm what ends at a position; see above. */
export type ConfirmedEnd = (endLsn: bigint) => bigint;

export async function confirmedEnd(control: PostgresClient): Promise<ConfirmedEnd> {
  const { rows } = await control.query("select current_setting('synchronous_standby_names') <> '' as has_standbys");
  return rows[0]?.has_standbys === 't' ? (endLsn) => endLsn : (endLsn) => endLsn - 1n;
}

const isMarked = (lsn: bigint): boolean => lsn % RECORD_ALIGNMENT !== 0n;

/** `anew`: somebody else has made it, or moved it on. */
type FoundState = 'none' | 'ours' | 'anew';

async function stateOf(control: PostgresClient, slot: string, history: SlotHistory): Promise<FoundState> {
  const confirmed = await confirmedOf(control, slot);
  if (confirmed === 'none') return 'none';
  const { startLsn, unmarkedLsn, markedRun } = history;
  if (confirmed === null || isMarked(confirmed) || confirmed <= startLsn || confirmed <= unmarkedLsn) return 'ours';
  const { rows } = await control.query('select max(run) as run from syncline.lease');
  // An agent of a version that sets no marks has had a run since.
  if (markedRun === null || rows[0]?.run !== markedRun) return 'ours';
  return 'anew';
}

/** Where this database's slot of that name is confirmed to; null where it is still being made. */
async function confirmedOf(control: PostgresClient, slot: string): Promise<bigint | null | 'none'> {
  const sql = `select database, plugin, current_database() as here, confirmed_flush_lsn as confirmed
                 from pg_replication_slots where slot_name = $1`;
  const [row] = (await control.query(sql, [slot])).rows;
  if (row === undefined) return 'none';
  if (row.database === row.here && row.plugin === 'pgoutput') {
    return row.confirmed == null ? null : lsnFromText(row.confirmed);
  }
  const detail = `slot ${slot} belongs to ${row.database ?? 'a standby'} (${row.plugin ?? 'physical'})`;
  throw fail('SYN-K004', detail, { context: { slot } });
}

/** Whether the slot is to be made anew. */
export async function isSlotDue(control: PostgresClient, slot: string): Promise<boolean> {
  const history = await readHistory(control);
  return history !== null && (history.isSlotDue || (await stateOf(control, slot, history)) !== 'ours');
}

/** Notes where the slot stands, and that a mark was seen in it in this run: from then on it has to be there. */
export async function noteMarked(client: PostgresClient, { confirmedLsn }: SlotFacts, run: number): Promise<void> {
  if (!isMarked(confirmedLsn)) return;
  await client.query(NOTE_MARKED, [MARKED_KEY, String(run), UNMARKED_KEY, lsnToText(confirmedLsn)], { prepare: true });
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
  if (history !== null) {
    const state = await stateOf(control, slot, history);
    if (state !== 'ours' || history.isSlotDue) return await makeAnew(control, connection, slot, state !== 'none');
    await letFailOver(control, connection, slot);
    const confirmed = await confirmedOf(control, slot);
    if (typeof confirmed === 'bigint' && !isMarked(confirmed) && confirmed > history.unmarkedLsn) {
      await control.query(NOTE, [UNMARKED_KEY, lsnToText(confirmed)]);
    }
    return { startLsn: history.startLsn, anewFrom: null };
  }
  const exists = (await confirmedOf(control, slot)) !== 'none';
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
  await control.query(NOTE, [SLOT_DUE_KEY, 'yes']);
  if (exists) await dropSlot(control, slot);
  const { consistentPoint, snapshotName } = await connection.createSlot({ slot, snapshot: 'export' });
  await control.query(NOTE, [START_KEY, lsnToText(consistentPoint)]);
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
