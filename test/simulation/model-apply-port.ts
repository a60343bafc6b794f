/** The apply port over the model database. Statement by statement what `sql-apply-port.ts` sends, on modelled rows. */
import {
  type ApplyPort,
  type ApplyTransaction,
  type ConflictEntry,
  EVERY_ROW,
  type ExactVersion,
  type Guard,
  type LookAgain,
  type Mark,
  type Note,
  type QuarantineEntry,
  type RemoveOutcome,
  type RemoveRow,
  type RipeLook,
  type RowKey,
  type TableShape,
  type Tombstone,
  type Tuple,
  type UpsertRow,
  type VersionEntry,
} from '../../src/apply/apply-port.ts';
import type { Image } from '../../src/change/change-event.ts';
import { type Hlc, hlcFromMicros, hlcMicros } from '../../src/change/hlc.ts';
import type { Position } from '../../src/change/position.ts';
import { compareVersions } from '../../src/change/version.ts';
import type { NoteRow } from '../../src/clock/note-store.ts';
import { invariant } from '../../src/platform/assert.ts';
import { fail } from '../../src/platform/errors.ts';
import {
  type ModelDatabase,
  type ModelTuple,
  type Slot,
  type Step,
  sqlError,
  type Transaction,
} from './model-database.ts';

type KeptVersions = { readonly xid: number; readonly stampMicros: bigint; readonly byRow: Map<string, ExactVersion> };
type KeptLook = RipeLook & { readonly waitsFor: readonly Transaction[] };

/** Our own tables in the modelled database; they outlive an agent. */
export class ModelStore {
  readonly marks = new Map<string, Mark>();
  notes: NoteRow[] = [];
  versions: KeptVersions[] = [];
  readonly tombstones = new Map<string, Tombstone>();
  looks: KeptLook[] = [];
  readonly conflicts = new Map<string, ConflictEntry>();
  readonly quarantine = new Map<string, QuarantineEntry>();
  #lookIds = 0;

  nextLookId(): string {
    this.#lookIds += 1;
    return String(this.#lookIds);
  }
}

export function modelShape(schema: string, table: string): TableShape {
  return {
    id: `"${schema}"."${table}"`,
    schema,
    table,
    key: ['id'],
    columns: ['id', 'v', 'u'],
    keyNeedsDatabase: false,
  };
}

/** A step that fails once this agent or its connection is gone. */
export class ModelApplyPort implements ApplyPort {
  readonly #database: ModelDatabase;
  readonly #store: ModelStore;
  readonly #step: Step;
  #current: ModelApplyTransaction | null = null;

  constructor(database: ModelDatabase, store: ModelStore, step: Step) {
    this.#database = database;
    this.#store = store;
    this.#step = step;
  }

  /** The transaction that the lane has open, for crashes and lock timeouts. */
  get transaction(): Transaction | null {
    return this.#current?.model ?? null;
  }

  async begin(origin: string, stampMicros: bigint): Promise<ApplyTransaction> {
    await this.#step(`apply begin ${origin}`);
    const model = this.#database.begin({ writer: origin, local: false, stampMicros });
    this.#current = new ModelApplyTransaction(this.#database, this.#store, model, this.#step);
    return this.#current;
  }

  async shape(schema: string, table: string): Promise<TableShape | null> {
    return this.#database.tables.has(table) ? modelShape(schema, table) : null;
  }

  forgetShapes(): void {}

  async loadMarks(): Promise<Mark[]> {
    await this.#step('load marks');
    return [...this.#store.marks.values()];
  }

  async ripeLooks(limit: number): Promise<RipeLook[]> {
    await this.#step('ripe looks');
    return this.#store.looks.filter((look) => look.waitsFor.every((transaction) => transaction.ended)).slice(0, limit);
  }

  async isVisible(xid: number): Promise<boolean> {
    await this.#step('is visible');
    return this.#database.transactionOf(xid)?.ended ?? true;
  }

  async quarantined(eventIds: readonly string[]): Promise<QuarantineEntry[]> {
    await this.#step('quarantined');
    return eventIds.flatMap((id) => this.#store.quarantine.get(id) ?? []);
  }

  async prune(stable: Hlc, confirmedLsn: bigint, _rowsMax: number): Promise<void> {
    await this.#step(`prune ${stable}`);
    const store = this.#store;
    store.versions = store.versions.filter((kept) => hlcFromMicros(kept.stampMicros) > stable);
    const looked = new Set(
      store.looks.map((look) => rowName(modelShape(look.table.schema, look.table.table), look.key)),
    );
    for (const [name, tombstone] of store.tombstones) {
      if (tombstone.hlc <= stable && !looked.has(name)) store.tombstones.delete(name);
    }
    const newest = store.notes.findLast((note) => note.lsn <= confirmedLsn);
    store.notes = store.notes.filter((note) => note.lsn > confirmedLsn || note === newest);
  }
}

function rowName(shape: { readonly id: string }, key: RowKey): string {
  return `${shape.id} ${key}`;
}

function slotKey(key: RowKey): string {
  return key === EVERY_ROW ? '*' : String((JSON.parse(key) as string[])[0]);
}

export class ModelApplyTransaction implements ApplyTransaction {
  readonly model: Transaction;
  readonly #database: ModelDatabase;
  readonly #store: ModelStore;
  readonly #step: Step;
  readonly #generation: number;
  #failed = false;
  #last: Promise<void> = Promise.resolve();
  readonly #versions = new Map<string, ExactVersion>();

  constructor(database: ModelDatabase, store: ModelStore, model: Transaction, step: Step) {
    this.#database = database;
    this.#store = store;
    this.model = model;
    this.#step = step;
    this.#generation = database.generation;
  }

  async canonicalKeys(shape: TableShape, pks: readonly Image[]): Promise<RowKey[]> {
    return pks.map((pk) => JSON.stringify(shape.key.map((column) => pk[column] ?? null)));
  }

  async upsert(shape: TableShape, rows: readonly UpsertRow[], origin: string, guard: Guard): Promise<number[]> {
    return await this.#statement(`upsert ${shape.table} ${told(rows)}`, shape, async () => {
      // One statement knows the least stamp of its rows only.
      const least = leastMicros(rows);
      const untouched: number[] = [];
      for (const [place, row] of rows.entries()) {
        const tombstone = this.#tombstone(shape, row.key);
        const slot = this.#slot(shape, row.key);
        if (tombstone !== undefined && compareVersions(tombstone, { hlc: row.hlc, origin }) > 0) {
          untouched.push(place);
          continue;
        }
        await this.#database.lock(slot, this.model, this.#resumed);
        const tuple = this.#database.newest(slot, this.model);
        if (tuple !== null && !this.#admits(tuple, least, guard)) untouched.push(place);
        else await this.#put(slot, row);
      }
      return untouched;
    });
  }

  async remove(shape: TableShape, rows: readonly RemoveRow[], guard: Guard): Promise<RemoveOutcome[]> {
    return await this.#statement(`remove ${shape.table} ${told(rows)}`, shape, async () => {
      const least = leastMicros(rows);
      const snapshot = rows.map((row) => this.#visible(this.#slot(shape, row.key)));
      const outcomes: RemoveOutcome[] = [];
      for (const [place, row] of rows.entries()) {
        const seen = snapshot[place];
        const slot = this.#slot(shape, row.key);
        if (seen === undefined || seen === null) {
          outcomes.push('absent');
          continue;
        }
        await this.#database.lock(slot, this.model, this.#resumed, true);
        const tuple = this.#database.newest(slot, this.model);
        if (tuple === null) outcomes.push('absent');
        else if (tuple.birth !== seen.birth || !this.#admits(tuple, least, guard)) outcomes.push('kept');
        else {
          this.#database.put(slot, this.model, null);
          outcomes.push('removed');
        }
      }
      return outcomes;
    });
  }

  async removeAll(
    shape: TableShape,
    hlc: Hlc,
    guard: Guard,
  ): Promise<{ removed: number; left: { key: RowKey; pk: Image }[] }> {
    return await this.#statement('remove all', shape, async () => {
      const micros = hlcMicros(hlc);
      let removed = 0;
      const left: { key: RowKey; pk: Image }[] = [];
      const seen = [...this.#table(shape).slots.values()].map((slot) => [slot, this.#visible(slot)] as const);
      for (const [slot, before] of seen) {
        if (before === null) continue;
        await this.#database.lock(slot, this.model, this.#resumed, true);
        const tuple = this.#database.newest(slot, this.model);
        if (tuple === null) continue;
        if (tuple.birth === before.birth && this.#admits(tuple, micros, guard)) {
          this.#database.put(slot, this.model, null);
          removed += 1;
        } else if (!(isLocal(tuple) && (tuple.writer.stampMicros ?? 0n) >= micros)) {
          left.push({ key: JSON.stringify([slot.key]), pk: { id: slot.key } });
        }
      }
      return { removed, left };
    });
  }

  async inspect(shape: TableShape, rows: readonly { key: RowKey; pk: Image }[]): Promise<Map<RowKey, Tuple>> {
    return await this.#statement(`inspect ${shape.table} ${told(rows)}`, shape, async () => {
      const snapshot = rows.map((row) => this.#visible(this.#slot(shape, row.key)));
      const found = new Map<RowKey, Tuple>();
      for (const [place, row] of rows.entries()) {
        const seen = snapshot[place];
        const slot = this.#slot(shape, row.key);
        if (seen === undefined || seen === null) continue;
        await this.#database.lock(slot, this.model, this.#resumed, true);
        const tuple = this.#database.newest(slot, this.model);
        if (tuple === null || tuple.birth !== seen.birth) continue;
        const own = tuple.writer === this.model;
        found.set(row.key, {
          xid: tuple.xid,
          stampMicros: own ? null : tuple.writer.stampMicros,
          writer: tuple.writer.kind.writer,
          local: isLocal(tuple),
          own,
          image: tuple.image,
        });
      }
      return found;
    });
  }

  async exactVersions(
    shape: TableShape,
    wanted: readonly { key: RowKey; xid: number }[],
  ): Promise<Map<RowKey, ExactVersion>> {
    return await this.#statement('exact versions', null, async () => {
      const found = new Map<RowKey, ExactVersion>();
      for (const { key, xid } of wanted) {
        const exact = this.#store.versions.find((kept) => kept.xid === xid)?.byRow.get(rowName(shape, key));
        if (exact !== undefined) found.set(key, exact);
      }
      return found;
    });
  }

  async tombstones(shape: TableShape, keys: readonly RowKey[]): Promise<Map<RowKey, Tombstone>> {
    return await this.#statement('tombstones', null, async () => {
      const found = new Map<RowKey, Tombstone>();
      for (const key of keys) {
        const tombstone = this.#tombstone(shape, key);
        if (tombstone !== undefined) found.set(key, tombstone);
      }
      return found;
    });
  }

  async overwrite(shape: TableShape, row: UpsertRow): Promise<void> {
    await this.#statement(`overwrite ${shape.table} ${told([row])}`, shape, async () => {
      await this.#put(this.#slot(shape, row.key), row);
    });
  }

  async insert(shape: TableShape, row: UpsertRow): Promise<boolean> {
    return await this.#statement(`insert ${shape.table} ${told([row])}`, shape, async () => {
      const slot = this.#slot(shape, row.key);
      await this.#database.lock(slot, this.model, this.#resumed);
      if (this.#database.newest(slot, this.model) !== null) return false;
      await this.#put(slot, row);
      return true;
    });
  }

  async erase(shape: TableShape, row: { key: RowKey; pk: Image }): Promise<void> {
    await this.#statement(`erase ${shape.table} ${told([row])}`, shape, async () => {
      this.#database.put(this.#slot(shape, row.key), this.model, null);
    });
  }

  async putTombstones(shape: TableShape, origin: string, entries: readonly VersionEntry[]): Promise<void> {
    await this.#write('tombstones', () => {
      for (const { key, ...entry } of entries) {
        const name = rowName(shape, key);
        const known = this.#store.tombstones.get(name);
        const tombstone: Tombstone = { ...entry, key, origin };
        if (known === undefined || compareVersions(tombstone, known) > 0) this.#store.tombstones.set(name, tombstone);
      }
    });
  }

  async recordVersions(shape: TableShape, entries: readonly VersionEntry[]): Promise<void> {
    await this.#write('versions', () => {
      for (const { key, ...exact } of entries) this.#versions.set(rowName(shape, key), exact);
    });
  }

  async recordConflicts(entries: readonly ConflictEntry[]): Promise<void> {
    await this.#write('conflicts', () => {
      for (const entry of entries) {
        const known = this.#store.conflicts.get(entry.conflict_id);
        if (known === undefined || compareVersions(entry.winner, known.winner) > 0) {
          this.#store.conflicts.set(entry.conflict_id, entry);
        }
      }
    });
  }

  async recordQuarantine(entries: readonly QuarantineEntry[]): Promise<void> {
    await this.#write('quarantine', () => {
      for (const entry of entries) this.#store.quarantine.set(entry.event_id, entry);
    });
  }

  async supersedeQuarantine(
    shape: TableShape,
    origin: string,
    rows: readonly { key: RowKey; hlc: Hlc }[],
  ): Promise<void> {
    await this.#write('supersede', () => {
      for (const [id, entry] of this.#store.quarantine) {
        if (entry.table_name !== shape.table) continue;
        const above = rows.some((row) => row.key === entry.key && compareVersions({ hlc: row.hlc, origin }, entry) > 0);
        if (above) this.#store.quarantine.delete(id);
      }
    });
  }

  async quarantinedKeys(shape: TableShape): Promise<Set<RowKey>> {
    const entries = [...this.#store.quarantine.values()].filter((entry) => entry.table_name === shape.table);
    return new Set(entries.map((entry) => entry.key));
  }

  async putLooks(looks: readonly LookAgain[]): Promise<void> {
    const waitsFor = [...this.#database.open].filter((transaction) => transaction !== this.model);
    await this.#write('looks', () => {
      for (const look of looks) this.#store.looks.push({ ...look, look_id: this.#store.nextLookId(), waitsFor });
    });
  }

  async removeLooks(lookIds: readonly string[]): Promise<void> {
    await this.#write('looks settled', () => {
      this.#store.looks = this.#store.looks.filter((look) => !lookIds.includes(look.look_id));
    });
  }

  async removeQuarantine(eventIds: readonly string[]): Promise<void> {
    await this.#write('quarantine settled', () => {
      for (const id of eventIds) this.#store.quarantine.delete(id);
    });
  }

  async advanceMark(expected: Position | null, mark: Mark): Promise<void> {
    await this.#statement('mark', null, async () => {
      const standing = this.#store.marks.get(mark.origin)?.position ?? null;
      if (standing !== expected) {
        throw fail('SYN-A007', `the mark of ${mark.origin} stands at ${standing}, not at ${expected}`);
      }
    });
    this.model.onCommit.push(() => this.#store.marks.set(mark.origin, mark));
  }

  async note(note: Note): Promise<{ readonly xid: number; readonly lsn: bigint }> {
    return await this.#statement('note', null, async () => {
      const lsn = this.#database.walPosition;
      this.model.onCommit.push(() => {
        this.#store.notes.push({ xid: this.model.xid, lsn, ...note });
      });
      return { xid: this.model.xid, lsn };
    });
  }

  async commit(): Promise<void> {
    await this.#statement('apply commit', null, async () => {
      const { xid, stampMicros } = this.model;
      invariant(stampMicros !== null, 'a batch has a stamp');
      const byRow = this.#versions;
      this.model.onCommit.push(() => {
        if (byRow.size > 0) this.#store.versions.push({ xid, stampMicros, byRow });
      });
      this.#database.enterWal(this.model);
      this.#database.becomeVisible(this.model);
    });
    // The answer takes its way: an agent may be gone before it arrives.
    await this.#step('apply committed');
  }

  async rollback(): Promise<void> {
    this.#database.abort(this.model);
  }

  readonly #resumed: Step = async (what) => {
    await this.#step(what);
    this.#mustLive();
  };

  /** Statements of one connection run one after another, also where the lane sends them without waiting. */
  async #statement<T>(what: string, shape: TableShape | null, run: () => Promise<T>): Promise<T> {
    const before = this.#last;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#last = promise;
    await before;
    try {
      return await this.#runStatement(what, shape, run);
    } finally {
      resolve();
    }
  }

  async #runStatement<T>(what: string, shape: TableShape | null, run: () => Promise<T>): Promise<T> {
    await this.#step(what);
    this.#mustLive();
    if (this.#failed) throw sqlError('25P02', 'current transaction is aborted');
    try {
      if (shape !== null) await this.#database.use(this.#table(shape), this.model, this.#resumed);
      return await run();
    } catch (error) {
      this.#failed = true;
      throw error;
    }
  }

  /** A write to our own tables: takes effect with the commit. */
  async #write(what: string, effect: () => void): Promise<void> {
    await this.#statement(what, null, async () => {});
    this.model.onCommit.push(effect);
  }

  async #put(slot: Slot, row: UpsertRow): Promise<void> {
    const standing = this.#database.newest(slot, this.model)?.image ?? { id: slot.key, v: null, u: null };
    const image = { ...standing, ...row.image };
    await this.#database.checkUnique(slot.table, slot, image, this.model, this.#resumed);
    this.#database.put(slot, this.model, image);
  }

  #mustLive(): void {
    if (this.#generation !== this.#database.generation || this.model.ended) {
      throw sqlError('57P02', 'the server has ended this connection');
    }
  }

  #table(shape: TableShape): ReturnType<ModelDatabase['table']> {
    return this.#database.table(shape.table);
  }

  #slot(shape: TableShape, key: RowKey): Slot {
    return this.#table(shape).slot(slotKey(key));
  }

  #visible(slot: Slot): ModelTuple | null {
    return this.#database.newest(slot, this.model);
  }

  #tombstone(shape: TableShape, key: RowKey): Tombstone | undefined {
    const own = this.#store.tombstones.get(rowName(shape, key));
    const whole = this.#store.tombstones.get(rowName(shape, EVERY_ROW));
    if (own === undefined || whole === undefined) return own ?? whole;
    return compareVersions(own, whole) > 0 ? own : whole;
  }

  #admits(tuple: ModelTuple, eventMicros: bigint, guard: Guard): boolean {
    if (tuple.writer === this.model) return true;
    const rule = guard[tuple.writer.kind.writer] ?? 'never';
    const local = guard[this.#database.region] ?? 'never';
    const effective = isLocal(tuple) ? local : rule;
    if (effective === 'always') return true;
    if (effective === 'never') return false;
    const stamp = tuple.writer.stampMicros;
    return stamp === null || (stamp < eventMicros && stamp <= effective);
  }
}

/** Rows as a trace tells them. */
function told(rows: readonly { readonly key: RowKey; readonly hlc?: Hlc; readonly image?: Image | null }[]): string {
  return rows.map((row) => `${slotKey(row.key)}${row.image == null ? '' : `=${row.image.v}`}`).join(' ');
}

function isLocal(tuple: ModelTuple): boolean {
  return tuple.writer.kind.local;
}

function leastMicros(rows: readonly { readonly hlc: Hlc }[]): bigint {
  return rows.reduce<bigint>((least, row) => (hlcMicros(row.hlc) < least ? hlcMicros(row.hlc) : least), 2n ** 62n);
}
