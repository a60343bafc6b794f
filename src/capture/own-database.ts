/** What a start asks of the region's database, in SQL: see `run-start.ts` for what it is asked for. */
import { microsToIso } from '../change/change-event.ts';
import { hlcFromMicros, hlcToText } from '../change/hlc.ts';
import { lsnToText, parsePosition } from '../change/position.ts';
import type { OwnHistory } from '../clock/own-history.ts';
import { readCommitTimes, readOwnHistory, saveOwnHistory } from '../clock/sql-own-history.ts';
import { invariant } from '../platform/assert.ts';
import { fail, type SynclineError } from '../platform/errors.ts';
import type { PostgresClient } from '../platform/postgres.ts';
import type { Lease } from './lease.ts';
import type { OwnMark } from './publish/own-stream.ts';
import type { OwnDatabase } from './publish/run-start.ts';
import { SLOT_DUE_KEY, SYSTEM_KEY, serverMicros } from './slot/slot.ts';

/** Written to for the sake of a commit. */
const FLUSH_KEY = 'flush';

export class SqlOwnDatabase implements OwnDatabase {
  readonly #client: PostgresClient;
  readonly #lease: Lease;
  readonly #region: string;

  constructor(client: PostgresClient, lease: Lease, region: string) {
    this.#client = client;
    this.#lease = lease;
    this.#region = region;
  }

  async history(): Promise<OwnHistory> {
    const history = await readOwnHistory(this.#client);
    invariant(history !== null, 'the first epoch begins with the slot');
    return history;
  }

  async mark(): Promise<OwnMark | null> {
    const sql = 'select position, event_id, log_offset from syncline.applied where origin = $1';
    const [row] = (await this.#client.query(sql, [this.#region])).rows;
    if (row === undefined) return null;
    const { position, event_id, log_offset } = row;
    return { position: parsePosition(position ?? ''), event_id: event_id ?? '', log_offset: Number(log_offset) };
  }

  readonly commitTimes: OwnDatabase['commitTimes'] = async (xids) => await readCommitTimes(this.#client, xids);

  async lastRun(): Promise<number> {
    return await this.#lease.lastRun();
  }

  async nextRun(highest: number): Promise<number> {
    return await this.#lease.nextRun(highest);
  }

  /** In one statement, so that a slot that was made anew is never taken for the old one. */
  async begin(history: OwnHistory, run: number): Promise<void> {
    if (await saveOwnHistory(this.#client, history, { [SLOT_DUE_KEY]: '' }, run)) return;
    throw fail('SYN-L005', `a run later than ${run} of region ${this.#region} has begun`);
  }

  async now(): Promise<{ epoch: string; iso: string }> {
    const micros = await serverMicros(this.#client);
    return { epoch: hlcToText(hlcFromMicros(micros)), iso: microsToIso(micros) };
  }
}

/** Whether this server has the note of a batch that apply has written there. */
export async function isNoted(client: PostgresClient, lsn: bigint): Promise<boolean> {
  const sql = 'select exists (select from syncline.applied_at where lsn = $1::pg_lsn) as known';
  const { rows } = await client.query(sql, [lsnToText(lsn)]);
  return rows[0]?.known === 't';
}

/**
 * Resolves once the WAL is durable up to there. Others' commits flush it all the time; where none does, one of ours does so
 * now: the server itself would take its time. The connection commits with `synchronous_commit = local`.
 */
export async function untilFlushed(client: PostgresClient, lsn: bigint): Promise<void> {
  const sql = 'select pg_current_wal_flush_lsn() >= $1::pg_lsn as flushed';
  const { rows } = await client.query(sql, [lsnToText(lsn)], { prepare: true });
  if (rows[0]?.flushed === 't') return;
  // Only a commit that has written something waits for the disk.
  await client.query(
    `insert into syncline.meta (key, value) values ($1, '') on conflict (key) do update set value = excluded.value`,
    [FLUSH_KEY],
    { prepare: true },
  );
}

/**
 * Transaction ids, WAL positions and commit timestamps mean something only within one cluster. A database that came here
 * by a dump, or through pg_upgrade, has the old one's notes and none of what they are about.
 */
export async function checkCluster(client: PostgresClient, region: string): Promise<void> {
  const { rows } = await client.query(
    `insert into syncline.meta (key, value) select $1, system_identifier::text from pg_control_system()
     on conflict (key) do update set value = syncline.meta.value
     returning value, (select system_identifier::text from pg_control_system()) as here`,
    [SYSTEM_KEY],
  );
  const { value, here } = rows[0] ?? {};
  if (value !== here) throw otherCluster(region, value ?? '', here ?? '');
}

/** The system identifiers of the cluster that the region was served by last, null before its first start, and of this one. */
export async function clusterOf(
  client: PostgresClient,
): Promise<{ readonly was: string | null; readonly here: string }> {
  const { rows } = await client.query(
    `select (select value from syncline.meta where key = $1) as was,
       (select system_identifier::text from pg_control_system()) as here`,
    [SYSTEM_KEY],
  );
  return { was: rows[0]?.was ?? null, here: rows[0]?.here ?? '' };
}

export function otherCluster(region: string, was: string, here: string): SynclineError {
  const detail = `region ${region} was served by cluster ${was}, and this database is in cluster ${here}`;
  return fail('SYN-K020', detail, { context: { region, was, is: here } });
}
