/**
 * The apply port on a real PostgreSQL: one connection, which is the lane.
 *
 * The session. It writes in replica role under the replication origin of the batch, and every transaction first sets the
 * stamp that its tuples will carry; PostgreSQL would keep the one before through commit and rollback alike, and a batch
 * under a wrong stamp would decide conflicts wrongly, so a transaction fails where that does. Where there are to be no origins, each
 * transaction is signed instead (`sql-origins.ts`). Plans are made once
 * and are index lookups only: a plan made while a table was small would scan it for ever. Commits need not wait for the
 * disk: what a crash takes back is applied again, mark and rows together.
 *
 * Locks. A lock wait is short, so that a foreground lock stalls nobody else's link, and it ends before the server looks
 * for deadlocks: the lane gives way, never the foreground. Where the role may, the lane looks for one itself at once.
 */

import { type Hlc, hlcFromText, hlcMicros } from '../../change/hlc.ts';
import { lsnFromText, lsnToText, parsePosition } from '../../change/position.ts';
import { parseChange } from '../../change/stream-record.ts';
import type { OwnHistory } from '../../clock/own-history.ts';
import type { Snapshot } from '../../clock/snapshot.ts';
import { readCommitTimes, readOwnHistory } from '../../clock/sql-own-history.ts';
import { fail, sqlStateOf } from '../../platform/errors.ts';
import { arrayText, connect, type PostgresClient, type TextRow } from '../../platform/postgres.ts';
import type {
  ApplyPort,
  ApplyTransaction,
  ConflictEntry,
  ConflictHorizon,
  ConflictName,
  Mark,
  MergeKey,
  OwnCommit,
  OwnCommitState,
  ParkedKey,
  PrunedTo,
  QuarantineEntry,
  RipeLook,
  TableShape,
} from '../apply-port.ts';
import { Redaction } from '../redaction.ts';
import type { Kept, Moment } from '../rest-watch.ts';
import { SqlApplyTransaction, type SqlSessionState } from './sql-apply-transaction.ts';
import * as sql from './sql-bookkeeping.ts';
import { loadShape } from './sql-catalog.ts';
import * as merges from './sql-merges.ts';
import { SqlOrigins } from './sql-origins.ts';
import { PREPARE_SESSION, SqlPipeline, writeAlone } from './sql-pipeline.ts';
import { SqlRows } from './sql-rows.ts';
import { SqlVersionCache } from './sql-version-cache.ts';
import { fullXidNear } from './sql-xid.ts';

export type SqlApplyPortOptions = {
  /** The region's own name. */
  readonly region: string;
  /** The slot that the region's transactions are published from. */
  readonly slot?: string;
  /** Which tables are replicated here; all, by default. */
  readonly isReplicated?: (schema: string, table: string) => boolean;
  /** What was committed when the region's stream began, as far as that is known; it may begin while the port is open. */
  readonly began?: () => Snapshot | null;
  /** Whether it writes under replication origins; true unless given. */
  readonly hasOrigins?: boolean;
  /** Columns whose values conflict records withhold. */
  readonly redact?: readonly string[];
  readonly lockTimeoutMs?: number;
  readonly statementTimeoutMs?: number;
  readonly applicationName?: string;
};

const LOCK_TIMEOUT_MS = 100;
/** How soon the lane looks for a deadlock that it is part of, where it may set that. */
const DEADLOCK_LOOK_MS = 10;
/** Emptying a large table is one statement. */
const STATEMENT_TIMEOUT_MS = 600_000;

/** Ids below are no transactions; the control file of a young server has 0. */
const FIRST_XID = 3;
/** The server knows better than its control file does until the next checkpoint. */
const FORGOTTEN_UNTIL_NOW = 1n << 62n;

export class SqlApplyPort implements ApplyPort, AsyncDisposable {
  readonly #client: PostgresClient;
  readonly #origins: SqlOrigins;
  readonly #state: SqlSessionState;
  readonly #isReplicated: (schema: string, table: string) => boolean;
  readonly #began: () => Snapshot | null;
  readonly #slot: string | null;
  #shapes = new Map<string, TableShape | null>();
  #mustForgetPlans = false;
  /** Every transaction below it was seen to have ended: most answers need no question. */
  #endedBelow = 0n;

  private constructor(
    client: PostgresClient,
    origins: SqlOrigins,
    state: SqlSessionState,
    { isReplicated, began, slot }: SqlApplyPortOptions,
  ) {
    this.#client = client;
    this.#origins = origins;
    this.#state = state;
    this.#isReplicated = isReplicated ?? (() => true);
    this.#began = began ?? (() => null);
    this.#slot = slot ?? null;
  }

  static async connect(url: string, options: SqlApplyPortOptions): Promise<SqlApplyPort> {
    const client = await connect(url, {
      applicationName: options.applicationName ?? 'syncline apply',
      role: 'apply',
      statementTimeoutMs: options.statementTimeoutMs ?? STATEMENT_TIMEOUT_MS,
    });
    try {
      const { rows } = await client.query(`
        select current_setting('track_commit_timestamp') as stamps,
          (select setting from pg_settings where name = 'deadlock_timeout') as deadlock_ms,
          (select oid from pg_database where datname = current_database()) as database,
          pg_snapshot_xmax(pg_current_snapshot()) as newest_xid`);
      const server = rows[0] ?? {};
      if (server.stamps !== 'on') throw fail('SYN-P002', 'track_commit_timestamp is off');
      const lockTimeoutMs =
        options.lockTimeoutMs ?? Math.min(LOCK_TIMEOUT_MS, Math.floor(Number(server.deadlock_ms) / 2));
      await client.query(
        `${PREPARE_SESSION}; set lock_timeout = ${lockTimeoutMs}; set synchronous_commit = off;
         set enable_seqscan = off; set enable_hashjoin = off; set enable_mergejoin = off;
         set plan_cache_mode = force_generic_plan`,
      );
      await lookForDeadlocksSoon(client);
      const origins = new SqlOrigins(client, options.region, String(server.database), options.hasOrigins === false);
      await origins.load();
      const state = {
        versions: new SqlVersionCache(),
        redaction: new Redaction(options.redact ?? []),
        newestXid: BigInt(server.newest_xid ?? 0),
      };
      return new SqlApplyPort(client, origins, state, options);
    } catch (error) {
      client.destroy();
      throw error;
    }
  }

  /** Aborted once the connection is gone; the port is of no use then. */
  get lost(): AbortSignal {
    return this.#client.lost;
  }

  /** The server's process for this connection, for the lease. */
  get processId(): number | undefined {
    return this.#client.processId;
  }

  async begin(origin: string, stampMicros: bigint, durable?: 'durable'): Promise<ApplyTransaction> {
    if (this.#mustForgetPlans) {
      this.#mustForgetPlans = false;
      await this.#client.forgetPrepared();
    }
    this.lost.throwIfAborted();
    await this.#origins.use(origin);
    const pipeline = new SqlPipeline(this.#client);
    const flushed = durable === undefined ? '' : 'set local synchronous_commit = local; ';
    pipeline.begin(`${flushed}${this.#origins.opening(origin, stampMicros)}`, (cause) =>
      sqlStateOf(cause) === '55000' ? fail('SYN-A004', `no origin is set up for ${origin}`, { cause }) : cause,
    );
    const rows = new SqlRows(pipeline, this.#origins, {
      origin,
      began: this.#began(),
      fullXid: (xid) => fullXidNear(this.#state.newestXid, xid),
      onChanged: () => this.forgetShapes(),
    });
    return new SqlApplyTransaction(pipeline, rows, this.#state, { origin, stampMicros });
  }

  async shape(schema: string, table: string): Promise<TableShape | null> {
    const name = JSON.stringify([schema, table]);
    let shape = this.#shapes.get(name);
    if (shape === undefined) {
      shape = this.#isReplicated(schema, table) ? await loadShape(this.#client, schema, table) : null;
      this.#shapes.set(name, shape);
    }
    return shape;
  }

  forgetShapes(): void {
    this.#shapes = new Map();
    this.#mustForgetPlans = true;
  }

  async loadMarks(): Promise<Mark[]> {
    const { rows } = await this.#client.query(sql.LOAD_MARKS);
    return rows.map(({ origin, position, event_id, log_offset }) => ({
      origin: origin ?? '',
      position: parsePosition(position ?? ''),
      event_id: event_id ?? '',
      log_offset: Number(log_offset),
    }));
  }

  async clockMicros(): Promise<bigint> {
    const { rows } = await this.#client.query(sql.CLOCK, [], { prepare: true });
    return BigInt(rows[0]?.micros ?? '');
  }

  async moment(): Promise<Moment> {
    const { rows } = await this.#client.query(sql.MOMENT);
    const { micros, snapshot, lsn, open } = rows[0] ?? {};
    return {
      micros: BigInt(micros ?? ''),
      snapshot: snapshot ?? '',
      lsn: lsnFromText(lsn ?? ''),
      open: Number(open),
    };
  }

  async kept(): Promise<Kept> {
    const row = (await this.#client.query(sql.KEPT)).rows[0] ?? {};
    const count = (name: string): number => Number(row[name]);
    return {
      parked: count('parked'),
      quarantined: count('quarantined'),
      looks: count('looks'),
      versions: count('versions'),
      tombstones: count('tombstones'),
      merges: count('merges'),
      transfers: count('transfers'),
    };
  }

  async walEnds(): Promise<{ inserted: bigint; flushed: bigint }> {
    const { rows } = await this.#client.query(sql.WAL_ENDS, [], { prepare: true });
    return { inserted: lsnFromText(rows[0]?.inserted ?? ''), flushed: lsnFromText(rows[0]?.flushed ?? '') };
  }

  async forgottenTo(): Promise<bigint | null> {
    const { rows } = await this.#client.query(sql.FORGOTTEN_TO, [], { prepare: true });
    const oldest = Number(rows[0]?.oldest ?? '0');
    const began = this.#began();
    if (oldest < FIRST_XID || (began?.seesAllBelow(fullXidNear(this.#state.newestXid, oldest)) ?? false)) return null;
    return rows[0]?.micros == null ? FORGOTTEN_UNTIL_NOW : BigInt(rows[0].micros);
  }

  async mergesToVisit(echoed: bigint, limit: number): Promise<MergeKey[]> {
    const values = [lsnToText(echoed), String(limit)];
    return (await this.#client.query(merges.MERGES_TO_VISIT, values, { prepare: true })).rows.map(merges.toMergeKey);
  }

  async mergesToPrune(stable: Hlc, limit: number): Promise<MergeKey[]> {
    await writeAlone(this.#client, merges.DROP_STABLE_TRUNCATES, [String(stable)]);
    const values = [String(stable), String(limit)];
    return (await this.#client.query(merges.MERGES_TO_PRUNE, values, { prepare: true })).rows.map(merges.toMergeKey);
  }

  async parkedKeys(): Promise<ParkedKey[]> {
    const { rows } = await this.#client.query(sql.PARKED_KEYS);
    return rows.map(({ schema_name, table_name, key }) => ({
      schema: schema_name ?? '',
      table: table_name ?? '',
      key: key ?? '',
    }));
  }

  async ripeLooks(limit: number): Promise<RipeLook[]> {
    const { rows } = await this.#client.query(sql.RIPE_LOOKS, [String(limit)], { prepare: true });
    return rows.map((row) => ({
      look_id: row.look_id ?? '',
      table: { schema: row.schema_name ?? '', table: row.table_name ?? '' },
      key: row.key ?? '',
      pk: JSON.parse(row.pk ?? '{}'),
      version: { hlc: hlcFromText(row.hlc ?? ''), origin: row.origin ?? '' },
      restores: row.restores == null ? null : parseChange(row.restores),
      snapshot: { xmin: BigInt(row.xmin ?? '0'), xmax: BigInt(row.xmax ?? '0') },
    }));
  }

  /**
   * A commit timestamp is there before the commit is published. A transaction is visible once it has left the list of those
   * in progress, which comes after its commit record: pg_xact_status looks there first. One that is too old to be known is
   * taken for visible.
   */
  async ownCommits(commits: readonly OwnCommit[]): Promise<OwnCommitState[]> {
    const times = await readCommitTimes(
      this.#client,
      commits.map(({ xid }) => xid),
    );
    const states: OwnCommitState[] = [];
    for (const [place, { xid, commitMicros }] of commits.entries()) {
      const time = times[place];
      const isOther = commitMicros === null ? time === 'never' : time !== commitMicros;
      if (isOther && time !== 'forgotten') states.push('elsewhere');
      else states.push((await this.#isVisible(xid)) ? 'visible' : 'pending');
    }
    return states;
  }

  async ownHistory(): Promise<OwnHistory | null> {
    return await readOwnHistory(this.#client);
  }

  async #isVisible(xid: number): Promise<boolean> {
    const full = fullXidNear(this.#state.newestXid, xid);
    if (full < this.#endedBelow) return true;
    const { rows } = await this.#client.query(
      'select pg_xact_status($1::xid8) as status, pg_snapshot_xmin(pg_current_snapshot()) as oldest',
      [String(full)],
      { prepare: true },
    );
    this.#endedBelow = BigInt(rows[0]?.oldest ?? 0);
    return rows[0]?.status !== 'in progress';
  }

  async quarantined(eventIds: readonly string[]): Promise<QuarantineEntry[]> {
    const { rows } = await this.#client.query(sql.QUARANTINED, [arrayText(eventIds)]);
    return rows.map(toQuarantineEntry);
  }

  async finaliseConflicts(records: readonly ConflictName[]): Promise<string[]> {
    const { rows } = await writeAlone(this.#client, sql.FINALISE_CONFLICTS, [
      arrayText(records.map((record) => record.conflict_id)),
      arrayText(records.map((record) => record.event_id_a)),
      arrayText(records.map((record) => record.event_id_b)),
    ]);
    return rows.map(([conflictId]) => conflictId ?? '');
  }

  async putConflicts(entries: readonly ConflictEntry[]): Promise<void> {
    await writeAlone(this.#client, sql.PUT_CONFLICTS, [sql.conflictRecords(entries, this.#state.redaction)]);
  }

  async settleConflicts({ undecided_from, lost_below, offsets }: ConflictHorizon): Promise<void> {
    const values = [String(undecided_from), String(lost_below), JSON.stringify(offsets)];
    await writeAlone(this.#client, sql.SETTLE_CONFLICTS, values);
  }

  async conflictHorizon(): Promise<ConflictHorizon | null> {
    const { rows } = await this.#client.query(sql.CONFLICT_HORIZON);
    const [row] = rows;
    if (row === undefined) return null;
    return {
      undecided_from: hlcFromText(row.undecided_from ?? ''),
      lost_below: hlcFromText(row.lost_below ?? ''),
      offsets: JSON.parse(row.offsets ?? '{}'),
    };
  }

  async prune(stable: Hlc, { confirmedLsn, echoedLsn }: PrunedTo, rowsMax: number): Promise<void> {
    this.#state.versions.prune(stable);
    const limit = String(rowsMax);
    await this.#origins.forgetSignatures([String(hlcMicros(stable)), lsnToText(echoedLsn), limit]);
    await Promise.all([
      writeAlone(this.#client, sql.PRUNE_VERSIONS, [String(hlcMicros(stable)), limit]),
      writeAlone(this.#client, sql.PRUNE_TOMBSTONES, [String(stable), limit]),
      writeAlone(this.#client, sql.PRUNE_NOTES, [lsnToText(confirmedLsn), limit, this.#slot]),
    ]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client.end();
  }
}

/** With the default of a second, a foreground statement could be the first to find a deadlock, and be its victim. */
async function lookForDeadlocksSoon(client: PostgresClient): Promise<void> {
  try {
    await client.query(`set deadlock_timeout = ${DEADLOCK_LOOK_MS}`);
  } catch (error) {
    // Only a superuser, or a role that was granted it, may; the lock timeout alone keeps to the same rule, more slowly.
    if (sqlStateOf(error) !== '42501') throw error;
  }
}

function toQuarantineEntry(row: TextRow): QuarantineEntry {
  return {
    event_id: row.event_id ?? '',
    origin: row.origin ?? '',
    schema_name: row.schema_name ?? '',
    table_name: row.table_name ?? '',
    key: row.key ?? '',
    row_pk: JSON.parse(row.row_pk ?? '{}'),
    hlc: hlcFromText(row.hlc ?? ''),
    position: parsePosition(row.position ?? ''),
    event: row.event ?? '',
    sqlstate: row.sqlstate ?? '',
    error: row.error ?? '',
  };
}
