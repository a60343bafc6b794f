/**
 * One transaction of the lane on a real PostgreSQL: rows of user tables (`sql-rows.ts`) and our own tables together.
 *
 * Every method sends its statement before it returns, so calls that are not awaited run in one pipeline, in their order.
 */
import type { Image } from '../../change/change-event.ts';
import { HLC_MAX, type Hlc, hlcFromText } from '../../change/hlc.ts';
import {
  lsnFromText,
  makePosition,
  type Position,
  parsePosition,
  positionEpoch,
  positionLsn,
} from '../../change/position.ts';
import type { Version } from '../../change/version.ts';
import { fail, sqlStateOf } from '../../platform/errors.ts';
import { arrayText, quoteIdent } from '../../platform/postgres.ts';
import type { Validity } from '../../resolve/known-merges.ts';
import {
  type ApplyTransaction,
  type ConflictEntry,
  EVERY_ROW,
  type ExactVersion,
  type Guard,
  type KeptMerge,
  type LookAgain,
  type Mark,
  type MergeEntry,
  type Note,
  type ParkedRow,
  type QuarantineEntry,
  type RemoveOutcome,
  type RemoveRow,
  type RowHistory,
  type RowKey,
  type ShadowEntry,
  type SupersedingRow,
  type TableName,
  type TableShape,
  type Tombstone,
  type Tuple,
  type UpsertRow,
  type VersionEntry,
} from '../apply-port.ts';
import { parkedId } from '../batch/parking.ts';
import { higherTombstone } from '../decide.ts';
import type { Redaction } from '../redaction.ts';
import * as sql from './sql-bookkeeping.ts';
import { text } from './sql-bookkeeping.ts';
import * as merges from './sql-merges.ts';
import type { SqlPipeline } from './sql-pipeline.ts';
import type { SqlRows } from './sql-rows.ts';
import { keepHigher, type SqlVersionCache, VERSIONS_AT_HAND_MAX } from './sql-version-cache.ts';
import { type FullXid, fullXidNear, xidOf } from './sql-xid.ts';

/** The error that `syncline.advance_mark` raises. */
const MARK_MOVED = 'SYA07';

/** What all transactions of a connection share. */
export type SqlSessionState = {
  readonly versions: SqlVersionCache;
  readonly redaction: Redaction;
  newestXid: FullXid;
};

export class SqlApplyTransaction implements ApplyTransaction {
  readonly #pipeline: SqlPipeline;
  readonly #rows: SqlRows;
  readonly #state: SqlSessionState;
  readonly #origin: string;
  readonly #stampMicros: bigint;
  /** What is kept at hand of the versions; null once they are too many. */
  #recorded: Map<string, VersionEntry[]> | null = new Map();
  #recordedCount = 0;
  #xid: number | null = null;

  constructor(
    pipeline: SqlPipeline,
    rows: SqlRows,
    state: SqlSessionState,
    batch: { readonly origin: string; readonly stampMicros: bigint },
  ) {
    this.#pipeline = pipeline;
    this.#rows = rows;
    this.#state = state;
    this.#origin = batch.origin;
    this.#stampMicros = batch.stampMicros;
  }

  async canonicalKeys(shape: TableShape, pks: readonly Image[]): Promise<RowKey[]> {
    return await this.#rows.canonicalKeys(shape, pks);
  }

  async upsert(shape: TableShape, rows: readonly UpsertRow[], origin: string, guard: Guard): Promise<number[]> {
    return await this.#rows.upsert(shape, rows, origin, guard);
  }

  async remove(shape: TableShape, rows: readonly RemoveRow[], guard: Guard): Promise<RemoveOutcome[]> {
    return await this.#rows.remove(shape, rows, guard);
  }

  async removeAll(shape: TableShape, hlc: Hlc, guard: Guard): ReturnType<ApplyTransaction['removeAll']> {
    return await this.#rows.removeAll(shape, hlc, guard);
  }

  async hasForgotten(shape: TableShape): Promise<boolean> {
    return await this.#rows.hasForgotten(shape);
  }

  async inspect(shape: TableShape, rows: readonly { key: RowKey; pk: Image }[]): Promise<Map<RowKey, Tuple>> {
    return await this.#rows.inspect(shape, rows);
  }

  async overwrite(shape: TableShape, row: UpsertRow): Promise<void> {
    await this.#rows.overwrite(shape, row);
  }

  async overwriteAll(shape: TableShape, rows: readonly UpsertRow[]): Promise<void> {
    await this.#rows.overwriteAll(shape, rows);
  }

  async insert(shape: TableShape, row: UpsertRow): Promise<boolean> {
    return await this.#rows.insert(shape, row);
  }

  async erase(shape: TableShape, row: { key: RowKey; pk: Image }): Promise<void> {
    await this.#rows.erase(shape, row);
  }

  async exactVersions(
    shape: TableShape,
    wanted: readonly { key: RowKey; xid: number }[],
  ): Promise<Map<RowKey, ExactVersion>> {
    const found = new Map<RowKey, ExactVersion>();
    const unknown = wanted.filter(({ key, xid }) => {
      const batch = this.#state.versions.find(xid, shape.id);
      const version = batch?.get(key);
      if (version !== undefined) found.set(key, version);
      return batch === undefined;
    });
    if (unknown.length === 0) return found;
    const { rows } = await this.#pipeline.run(sql.EXACT_VERSIONS, [
      shape.id,
      `{${unknown.map(({ xid }) => fullXidNear(this.#state.newestXid, xid)).join(',')}}`,
      arrayText(unknown.map(({ key }) => key)),
    ]);
    for (const [key, epoch, lsn, hlc, event_id] of rows) {
      const position = makePosition(text(epoch), BigInt(text(lsn)));
      keepHigher(found, text(key), { hlc: hlcFromText(text(hlc)), position, event_id: text(event_id) });
    }
    return found;
  }

  async tombstones(shape: TableShape, keys: readonly RowKey[]): Promise<Map<RowKey, Tombstone>> {
    const { rows } = await this.#pipeline.run(sql.TOMBSTONES, [shape.id, arrayText([EVERY_ROW, ...keys])]);
    const standing = new Map<RowKey, Tombstone>();
    for (const [key, hlc, origin, position, event_id] of rows) {
      standing.set(text(key), {
        key: text(key),
        hlc: hlcFromText(text(hlc)),
        origin: text(origin),
        position: parsePosition(text(position)),
        event_id: text(event_id),
      });
    }
    const ofTable = standing.get(EVERY_ROW);
    const covering = new Map<RowKey, Tombstone>();
    for (const key of keys) {
      const own = standing.get(key);
      const highest = higherTombstone(own, ofTable);
      if (highest !== undefined) covering.set(key, highest);
    }
    return covering;
  }

  async rivals(
    shape: TableShape,
    rows: readonly { key: RowKey; pk: Image; image: Image }[],
  ): Promise<Map<RowKey, { key: RowKey; pk: Image }[]>> {
    return await this.#rows.rivals(shape, rows);
  }

  async parked(shape: TableShape, keys: readonly RowKey[]): Promise<Map<RowKey, ParkedRow>> {
    const { rows } = await this.#pipeline.run(sql.PARKED, [shape.id, arrayText(keys)]);
    return new Map(rows.map(sql.toParked).map((row) => [row.key, row]));
  }

  async parkedBelow(shape: TableShape, above: ParkedRow | null, limit: number): Promise<ParkedRow[]> {
    const from = above === null ? [String(HLC_MAX), '', ''] : [String(above.hlc), above.origin, above.key];
    const { rows } = await this.#pipeline.run(sql.PARKED_BELOW, [shape.id, ...from, String(limit)]);
    return rows.map(sql.toParked);
  }

  async putParked({ id, schema, table }: TableShape, rows: readonly ParkedRow[]): Promise<void> {
    const records = rows.map(({ pk, hlc, ...row }) => ({
      ...row,
      parked_id: parkedId(id, row.key),
      row_pk: pk,
      hlc: String(hlc),
    }));
    await this.#pipeline.run(sql.PUT_PARKED, [schema, table, JSON.stringify(records)]);
  }

  async dropParked(shape: TableShape, keys: readonly RowKey[]): Promise<void> {
    await this.#pipeline.run(sql.DROP_PARKED, [shape.id, arrayText(keys)]);
  }

  async dropParkedBelow(shape: TableShape, { hlc, origin }: Version, inclusive: boolean): Promise<ParkedRow[]> {
    const values = [shape.id, String(hlc), origin, String(inclusive)];
    const { rows } = await this.#pipeline.run(sql.DROP_PARKED_BELOW, values);
    return rows.map(sql.toParked);
  }

  async putTombstones(shape: TableShape, origin: string, entries: readonly VersionEntry[]): Promise<void> {
    const highest = new Map<RowKey, VersionEntry>();
    for (const entry of entries) {
      const known = highest.get(entry.key);
      if (known === undefined || entry.hlc > known.hlc) highest.set(entry.key, entry);
    }
    const left = [...highest.values()];
    await this.#pipeline.run(sql.PUT_TOMBSTONES, [
      shape.id,
      origin,
      arrayText(left.map((entry) => entry.key)),
      `{${left.map((entry) => entry.hlc).join(',')}}`,
      arrayText(left.map((entry) => entry.position)),
      `{${left.map((entry) => entry.event_id).join(',')}}`,
    ]);
  }

  async recordVersions(shape: TableShape, entries: readonly VersionEntry[]): Promise<void> {
    this.#keepAtHand(shape, entries);
    const inserts = [...Map.groupBy(entries, (entry) => positionEpoch(entry.position))].map(([epoch, list]) =>
      this.#pipeline.run(sql.RECORD_VERSIONS, [
        shape.id,
        String(this.#stampMicros),
        list.map((entry) => entry.key).join('\n'),
        this.#origin,
        epoch,
        `{${list.map((entry) => entry.hlc).join(',')}}`,
        `{${list.map((entry) => positionLsn(entry.position)).join(',')}}`,
        `{${list.map((entry) => entry.event_id).join(',')}}`,
      ]),
    );
    await Promise.all(inserts);
  }

  #keepAtHand(shape: TableShape, entries: readonly VersionEntry[]): void {
    this.#recordedCount += entries.length;
    if (this.#recordedCount > VERSIONS_AT_HAND_MAX) this.#recorded = null;
    const recorded = this.#recorded?.get(shape.id);
    if (recorded === undefined) this.#recorded?.set(shape.id, [...entries]);
    else recorded.push(...entries);
  }

  async recordConflicts(entries: readonly ConflictEntry[]): Promise<void> {
    const highest = new Map<string, ConflictEntry>();
    for (const entry of entries) {
      const known = highest.get(entry.conflict_id);
      if (known === undefined || isHigher(entry.winner, known.winner)) highest.set(entry.conflict_id, entry);
    }
    await this.#pipeline.run(sql.RECORD_CONFLICTS, [sql.conflictRecords([...highest.values()], this.#state.redaction)]);
  }

  async recordQuarantine(entries: readonly QuarantineEntry[]): Promise<void> {
    const records = entries.map((entry) => ({ ...entry, hlc: String(entry.hlc) }));
    await this.#pipeline.run(sql.RECORD_QUARANTINE, [JSON.stringify(records)]);
  }

  async supersedeQuarantine(
    shape: TableShape,
    origin: string,
    rows: readonly SupersedingRow[],
    onlyResults: boolean,
  ): Promise<void> {
    const keys = arrayText(rows.map((row) => row.key));
    const hlcs = `{${rows.map((row) => row.hlc).join(',')}}`;
    const columns = arrayText(rows.map((row) => (row.columns === null ? null : JSON.stringify(row.columns))));
    const values = [shape.id, origin, keys, hlcs, columns, String(onlyResults)];
    await this.#pipeline.run(sql.SUPERSEDE_QUARANTINE, values);
  }

  async quarantinedKeys(shape: TableShape): Promise<Set<RowKey>> {
    const { rows } = await this.#pipeline.run(sql.QUARANTINED_KEYS, [shape.id]);
    return new Set(rows.map(([key]) => text(key)));
  }

  async removeQuarantine(eventIds: readonly string[]): Promise<void> {
    await this.#pipeline.run(sql.REMOVE_QUARANTINE, [arrayText(eventIds)]);
  }

  async walPosition(): Promise<bigint> {
    const { rows } = await this.#pipeline.run(merges.WAL_POSITION);
    return lsnFromText(text(rows[0]?.[0]));
  }

  async merges(shape: TableShape, keys: readonly RowKey[]): Promise<Map<RowKey, KeptMerge>> {
    const { rows } = await this.#pipeline.run(merges.MERGES, [shape.id, arrayText(keys)]);
    return merges.toMerges(rows);
  }

  async mergeKeys(shape: TableShape): Promise<{ key: RowKey; pk: Image }[]> {
    const { rows } = await this.#pipeline.run(merges.MERGE_KEYS, [shape.id]);
    return rows.map(([key, pk]) => ({ key: text(key), pk: JSON.parse(text(pk)) as Image }));
  }

  async addHistory(shape: TableShape, rows: readonly RowHistory[]): Promise<void> {
    await this.#pipeline.run(merges.ADD_HISTORY, [shape.id, merges.historyRecords(rows)]);
  }

  async putMerges({ schema, table }: TableShape, rows: readonly MergeEntry[]): Promise<void> {
    await this.#pipeline.run(merges.PUT_MERGES, [schema, table, merges.mergeRecords(rows)]);
  }

  async dropHistory(
    shape: TableName,
    rows: readonly { readonly key: RowKey; readonly upTo: Version; readonly whole: boolean }[],
  ): Promise<void> {
    await this.#pipeline.run(merges.DROP_HISTORY, [
      shape.id,
      arrayText(rows.map(({ key }) => key)),
      `{${rows.map(({ upTo }) => upTo.hlc).join(',')}}`,
      arrayText(rows.map(({ upTo }) => upTo.origin)),
      `{${rows.map(({ whole }) => whole).join(',')}}`,
    ]);
  }

  async putShadows({ schema, table }: TableShape, cases: readonly ShadowEntry[]): Promise<void> {
    await this.#pipeline.run(merges.PUT_SHADOWS, [schema, table, merges.shadowRecords(cases)]);
  }

  async areValid(
    shape: TableShape,
    rows: readonly { readonly image: Image; readonly validity: Validity }[],
  ): Promise<boolean[]> {
    return await this.#rows.areValid(shape, rows);
  }

  async putLooks(looks: readonly LookAgain[]): Promise<void> {
    const records = looks.map(({ table, key, pk, version, restores }) => ({
      schema_name: table.schema,
      table_name: table.table,
      rel: `${quoteIdent(table.schema)}.${quoteIdent(table.table)}`,
      key,
      pk,
      restores,
      hlc: String(version.hlc),
      origin: version.origin,
    }));
    await this.#pipeline.run(sql.PUT_LOOKS, [JSON.stringify(records)]);
  }

  async removeLooks(lookIds: readonly string[]): Promise<void> {
    await this.#pipeline.run(sql.REMOVE_LOOKS, [arrayText(lookIds)]);
  }

  async advanceMark(expected: Position | null, mark: Mark): Promise<void> {
    try {
      const { origin, position, event_id, log_offset } = mark;
      await this.#pipeline.run(sql.ADVANCE_MARK, [origin, expected, position, event_id, String(log_offset)]);
    } catch (cause) {
      if (sqlStateOf(cause) !== MARK_MOVED) throw cause;
      const detail = `the mark of ${mark.origin} is not at ${expected ?? 'its start'}`;
      throw fail('SYN-A007', detail, { cause, context: { origin: mark.origin, expected } });
    }
  }

  async note(note: Note): Promise<{ readonly xid: number; readonly lsn: bigint }> {
    const values = [note.origin, JSON.stringify(note.seen), String(note.max_hlc)];
    const { rows } = await this.#pipeline.run(sql.NOTE, values);
    const [full, lsn] = rows[0] ?? [];
    this.#state.newestXid = BigInt(text(full));
    this.#xid = xidOf(this.#state.newestXid);
    return { xid: this.#xid, lsn: lsnFromText(text(lsn)) };
  }

  async commit(): Promise<bigint> {
    const end = await this.#pipeline.commit();
    if (this.#xid !== null && this.#recorded !== null)
      this.#state.versions.add(this.#xid, this.#stampMicros, this.#recorded);
    return end;
  }

  async rollback(): Promise<void> {
    await this.#pipeline.rollback();
  }
}

function isHigher(a: { hlc: Hlc; origin: string }, b: { hlc: Hlc; origin: string }): boolean {
  return a.hlc !== b.hlc ? a.hlc > b.hlc : a.origin > b.origin;
}
