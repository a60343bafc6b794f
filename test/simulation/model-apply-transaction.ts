/** A transaction of the apply port on the model: one statement after another, and what they keep in our own tables. */
import type {
  ApplyTransaction,
  ConflictEntry,
  ExactVersion,
  Guard,
  KeptMerge,
  LookAgain,
  Mark,
  MergeEntry,
  Note,
  ParkedRow,
  QuarantineEntry,
  RemoveOutcome,
  RemoveRow,
  RowHistory,
  RowKey,
  ShadowEntry,
  SupersedingRow,
  TableName,
  TableShape,
  Tombstone,
  Tuple,
  UpsertRow,
  VersionEntry,
} from '../../src/apply/apply-port.ts';
import type { ChangeEvent, Image } from '../../src/change/change-event.ts';
import type { Hlc } from '../../src/change/hlc.ts';
import type { Position } from '../../src/change/position.ts';
import { rowKey } from '../../src/change/row-key.ts';
import { compareVersions, isAbove, type Version } from '../../src/change/version.ts';
import { invariant } from '../../src/platform/assert.ts';
import { fail } from '../../src/platform/errors.ts';
import type { Validity } from '../../src/resolve/known-merges.ts';
import type { ModelDatabase } from './model-database.ts';
import { ModelMerges } from './model-merges.ts';
import { ModelRows, type RemovedAll, type Told, told } from './model-rows.ts';
import { type ModelStore, rowName, write } from './model-store.ts';
import { type CommitPause, type Step, sqlError, type Transaction } from './model-transaction.ts';
import { isValidRow } from './model-validity.ts';

function downwards(a: ParkedRow, b: ParkedRow): number {
  return compareVersions(b, a) || (a.key < b.key ? -1 : a.key > b.key ? 1 : 0);
}

export class ModelApplyTransaction implements ApplyTransaction {
  readonly model: Transaction;
  readonly #database: ModelDatabase;
  readonly #store: ModelStore;
  readonly #step: Step;
  readonly #pause: CommitPause;
  readonly #generation: number;
  readonly #rows: ModelRows;
  readonly #merges: ModelMerges;
  #failed = false;
  #last: Promise<void> = Promise.resolve();

  constructor(database: ModelDatabase, store: ModelStore, model: Transaction, step: Step, pause: CommitPause) {
    this.#database = database;
    this.#store = store;
    this.model = model;
    this.#step = step;
    this.#pause = pause;
    this.#generation = database.generation;
    this.#rows = new ModelRows(database, store, model, this.#resumed);
    this.#merges = new ModelMerges(store, model);
  }

  async canonicalKeys(shape: TableShape, pks: readonly Image[]): Promise<RowKey[]> {
    return pks.map((pk) => rowKey(shape, pk));
  }

  async upsert(shape: TableShape, rows: readonly UpsertRow[], origin: string, guard: Guard): Promise<number[]> {
    return await this.#onTable('upsert', shape, rows, () => this.#rows.upsert(shape, rows, origin, guard));
  }

  async remove(shape: TableShape, rows: readonly RemoveRow[], guard: Guard): Promise<RemoveOutcome[]> {
    return await this.#onTable('remove', shape, rows, () => this.#rows.remove(shape, rows, guard));
  }

  async removeAll(shape: TableShape, hlc: Hlc, guard: Guard): Promise<RemovedAll> {
    return await this.#onTable('remove all', shape, [], () => this.#rows.removeAll(shape, hlc, guard));
  }

  async inspect(shape: TableShape, rows: readonly { key: RowKey; pk: Image }[]): Promise<Map<RowKey, Tuple>> {
    return await this.#onTable('inspect', shape, rows, () => this.#rows.inspect(shape, rows));
  }

  async overwrite(shape: TableShape, row: UpsertRow): Promise<void> {
    await this.#onTable('overwrite', shape, [row], () => this.#rows.overwrite(shape, row));
  }

  async overwriteAll(shape: TableShape, rows: readonly UpsertRow[]): Promise<void> {
    await this.#onTable('overwrite all', shape, rows, async () => {
      for (const row of rows) await this.#rows.overwrite(shape, row);
    });
  }

  async insert(shape: TableShape, row: UpsertRow): Promise<boolean> {
    return await this.#onTable('insert', shape, [row], () => this.#rows.insert(shape, row));
  }

  async erase(shape: TableShape, row: { key: RowKey; pk: Image }): Promise<void> {
    await this.#onTable('erase', shape, [row], () => this.#rows.erase(shape, row));
  }

  async exactVersions(
    shape: TableShape,
    wanted: readonly { key: RowKey; xid: number }[],
  ): Promise<Map<RowKey, ExactVersion>> {
    return await this.#statement('exact versions', async () => {
      const found = new Map<RowKey, ExactVersion>();
      for (const { key, xid } of wanted) {
        const exact = this.#store.versions.get(xid)?.byRow.get(rowName(shape, key));
        if (exact !== undefined) found.set(key, exact);
      }
      return found;
    });
  }

  async tombstones(shape: TableShape, keys: readonly RowKey[]): Promise<Map<RowKey, Tombstone>> {
    return await this.#statement('tombstones', async () => {
      const found = new Map<RowKey, Tombstone>();
      for (const key of keys) {
        const tombstone = this.#rows.tombstone(shape, key);
        if (tombstone !== undefined) found.set(key, tombstone);
      }
      return found;
    });
  }

  async rivals(
    shape: TableShape,
    rows: readonly { key: RowKey; pk: Image; image: Image }[],
  ): Promise<Map<RowKey, { key: RowKey; pk: Image }[]>> {
    return await this.#onTable('rivals', shape, rows, async () => {
      const found = rows.map((row) => [row.key, this.#rows.rivals(shape, row)] as const);
      return new Map(found.filter(([, rivals]) => rivals.length > 0));
    });
  }

  async parked(shape: TableShape, keys: readonly RowKey[]): Promise<Map<RowKey, ParkedRow>> {
    return await this.#statement('parked', async () => {
      const found = keys.flatMap((key) => this.#store.parked.get(rowName(shape, key)) ?? []);
      return new Map(found.map((row) => [row.key, row]));
    });
  }

  async parkedBelow(shape: TableShape, above: ParkedRow | null, limit: number): Promise<ParkedRow[]> {
    return await this.#statement('parked rows', async () => {
      const ofTable = [...this.#store.parked.values()].filter((row) => row.table === shape.table).sort(downwards);
      return ofTable.filter((row) => above === null || downwards(above, row) < 0).slice(0, limit);
    });
  }

  async putParked(shape: TableShape, rows: readonly ParkedRow[]): Promise<void> {
    await this.#statement('park', async () => {
      const { schema, table } = shape;
      for (const row of rows) {
        const name = rowName(shape, row.key);
        const known = this.#store.parked.get(name);
        if (known !== undefined && compareVersions(known, row) > 0) continue;
        write(this.#store.parked, name, { ...row, schema, table }, this.model);
      }
    });
  }

  async dropParked(shape: TableShape, keys: readonly RowKey[]): Promise<void> {
    await this.#statement('parked no more', async () => {
      for (const key of keys) {
        const name = rowName(shape, key);
        if (this.#store.parked.has(name)) this.model.applies?.unparked.add(name);
        write(this.#store.parked, name, undefined, this.model);
      }
    });
  }

  async dropParkedBelow(shape: TableShape, version: Version, inclusive: boolean): Promise<ParkedRow[]> {
    return await this.#statement('parked no more', async () => {
      const below = [...this.#store.parked.values()].filter(
        (row) => row.table === shape.table && compareVersions(row, version) < (inclusive ? 1 : 0),
      );
      for (const { key } of below) write(this.#store.parked, rowName(shape, key), undefined, this.model);
      return below;
    });
  }

  async putTombstones(shape: TableShape, origin: string, entries: readonly VersionEntry[]): Promise<void> {
    await this.#statement('tombstones', async () => {
      for (const entry of entries) {
        const row = rowName(shape, entry.key);
        this.#tell(row, entry.position);
        const known = this.#store.tombstones.get(row);
        const tombstone: Tombstone = { ...entry, origin };
        if (known === undefined || !isAbove(known, tombstone)) {
          write(this.#store.tombstones, row, tombstone, this.model);
        }
      }
    });
  }

  async recordVersions(shape: TableShape, entries: readonly VersionEntry[]): Promise<void> {
    await this.#statement('versions', async () => {
      const { versions } = this.#store;
      const { xid, kind } = this.model;
      const { stampMicros } = kind;
      invariant(stampMicros !== null, 'a batch has a stamp');
      if (!versions.has(xid)) write(versions, xid, { stampMicros, byRow: new Map() }, this.model);
      const byRow = versions.get(xid)?.byRow;
      for (const { key, ...exact } of entries) {
        const row = rowName(shape, key);
        this.#tell(row, exact.position);
        const known = byRow?.get(row);
        if (known === undefined || exact.hlc >= known.hlc) byRow?.set(row, exact);
      }
    });
  }

  /** A batch can remove a row and then write it again: the last event is the one that tells. */
  #tell(row: string, position: Position): void {
    const told = this.model.applies?.rows.get(row);
    if (told === undefined || position > told) this.model.applies?.rows.set(row, position);
  }

  async recordConflicts(entries: readonly ConflictEntry[]): Promise<void> {
    await this.#statement('conflicts', async () => {
      const { conflicts } = this.#store;
      for (const entry of entries) {
        const known = conflicts.get(entry.conflict_id);
        if (known !== undefined && (!known.provisional || !isAbove(entry.winner, known.winner))) continue;
        // Where the loser is known by its version only, what was known of it before stays.
        const { event_id_a, image_a, base_image, row_pk } = known ?? entry;
        const loser = entry.event_id_a === null ? { event_id_a, image_a, base_image } : {};
        write(conflicts, entry.conflict_id, { ...entry, row_pk, ...loser }, this.model);
      }
    });
  }

  async recordQuarantine(entries: readonly QuarantineEntry[]): Promise<void> {
    await this.#statement('quarantine', async () => {
      for (const entry of entries) write(this.#store.quarantine, entry.event_id, entry, this.model);
    });
  }

  async supersedeQuarantine(
    shape: TableShape,
    origin: string,
    rows: readonly SupersedingRow[],
    onlyResults: boolean,
  ): Promise<void> {
    await this.#statement('supersede', async () => {
      for (const [id, entry] of this.#store.quarantine) {
        const event = JSON.parse(entry.event) as ChangeEvent;
        if (entry.table_name !== shape.table || (onlyResults && event.event_id === id)) continue;
        const needs = Object.keys(event.after_image ?? {});
        const above = rows.some(
          ({ key, hlc, columns }) =>
            key === entry.key &&
            isAbove({ hlc, origin }, entry) &&
            (columns === null || needs.every((column) => columns.includes(column))),
        );
        if (above) write(this.#store.quarantine, id, undefined, this.model);
      }
    });
  }

  async quarantinedKeys(shape: TableShape): Promise<Set<RowKey>> {
    return await this.#statement('quarantined keys', async () => {
      const entries = [...this.#store.quarantine.values()].filter((entry) => entry.table_name === shape.table);
      return new Set(entries.map((entry) => entry.key));
    });
  }

  async walPosition(): Promise<bigint> {
    return await this.#statement('wal position', async () => this.#database.nextLsn());
  }

  async merges(shape: TableShape, keys: readonly RowKey[]): Promise<Map<RowKey, KeptMerge>> {
    return await this.#statement('merges', async () => this.#merges.find(shape, keys));
  }

  async mergeKeys({ table }: TableShape): Promise<{ key: RowKey; pk: Image }[]> {
    return await this.#statement('merge keys', async () => this.#merges.keys(table));
  }

  async addHistory(shape: TableShape, rows: readonly RowHistory[]): Promise<void> {
    await this.#statement('history', async () => this.#merges.addHistory(shape, rows));
  }

  async putMerges(shape: TableShape, rows: readonly MergeEntry[]): Promise<void> {
    await this.#statement('merge states', async () => this.#merges.put(shape, rows));
  }

  async dropHistory(
    shape: TableName,
    rows: readonly { readonly key: RowKey; readonly upTo: Version; readonly whole: boolean }[],
  ): Promise<void> {
    await this.#statement('drop history', async () => this.#merges.dropHistory(shape, rows));
  }

  async putShadows(shape: TableShape, cases: readonly ShadowEntry[]): Promise<void> {
    await this.#statement(`${cases.length} shadows`, async () => this.#merges.putShadows(shape, cases));
  }

  async areValid(
    _: TableShape,
    rows: readonly { readonly image: Image; readonly validity: Validity }[],
  ): Promise<boolean[]> {
    return await this.#statement('validate', async () =>
      rows.map(({ image, validity }) => isValidRow(image, validity)),
    );
  }

  async hasForgotten(): Promise<boolean> {
    return false;
  }

  async putLooks(looks: readonly LookAgain[]): Promise<void> {
    await this.#statement('looks', async () => {
      const waitsFor = [...this.#database.open].filter((transaction) => transaction !== this.model);
      for (const look of looks) {
        const look_id = this.#store.nextLookId();
        write(this.#store.looks, look_id, { ...look, look_id, waitsFor }, this.model);
      }
    });
  }

  async removeLooks(lookIds: readonly string[]): Promise<void> {
    await this.#statement('looks settled', async () => {
      for (const id of lookIds) write(this.#store.looks, id, undefined, this.model);
    });
  }

  async removeQuarantine(eventIds: readonly string[]): Promise<void> {
    await this.#statement('quarantine settled', async () => {
      for (const id of eventIds) write(this.#store.quarantine, id, undefined, this.model);
    });
  }

  async advanceMark(expected: Position | null, mark: Mark): Promise<void> {
    await this.#statement('mark', async () => {
      const standing = this.#store.marks.get(mark.origin)?.position ?? null;
      if (standing !== expected) {
        throw fail('SYN-A007', `the mark of ${mark.origin} stands at ${standing}, not at ${expected}`);
      }
      write(this.#store.marks, mark.origin, mark, this.model);
      if (this.model.applies !== null) this.model.applies.mark = { from: expected, to: mark.position };
    });
  }

  async note(note: Note): Promise<{ readonly xid: number; readonly lsn: bigint }> {
    return await this.#statement('note', async () => {
      const { xid } = this.model;
      const lsn = this.#database.nextLsn();
      this.#store.addNote({ xid, lsn, ...note }, this.model);
      if (this.model.applies !== null) this.model.applies.noteLsn = lsn;
      return { xid, lsn };
    });
  }

  async commit(): Promise<bigint> {
    await this.#last;
    await this.#step('apply commit');
    this.#mustLive();
    if (this.#failed) throw fail('SYN-A002', 'COMMIT was answered with ROLLBACK');
    this.#database.enterWal(this.model);
    await this.#pause();
    this.#database.becomeVisible(this.model);
    // The answer takes its way: agent or connection may be gone before it arrives.
    const end = this.#database.walEnds.inserted;
    await this.#step('apply committed');
    if (this.#generation !== this.#database.generation) throw sqlError('57P02', 'the connection is gone');
    return end;
  }

  async rollback(): Promise<void> {
    this.#database.abort(this.model);
  }

  readonly #resumed: Step = async (what) => {
    await this.#step(what);
    this.#mustLive();
  };

  async #onTable<T>(what: string, shape: TableShape, rows: readonly Told[], run: () => Promise<T>): Promise<T> {
    return await this.#statement(`${what} ${shape.table} ${told(rows)}`, async () => {
      await this.#database.use(this.#database.table(shape.table), this.model, this.#resumed);
      return await run();
    });
  }

  /** Statements of one connection run one after another, also where the lane sends them without waiting. */
  async #statement<T>(what: string, run: () => Promise<T>): Promise<T> {
    const before = this.#last;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#last = promise;
    await before;
    try {
      await this.#step(what);
      this.#mustLive();
      if (this.#failed) throw sqlError('25P02', 'current transaction is aborted');
      return await run();
    } catch (error) {
      this.#failed = true;
      throw error;
    } finally {
      resolve();
    }
  }

  #mustLive(): void {
    if (this.#generation !== this.#database.generation || this.model.ended) {
      throw sqlError('57P02', 'the server has ended this connection');
    }
  }
}
