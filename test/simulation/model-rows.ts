/**
 * What the statements of the apply port do to modelled rows.
 *
 * A statement knows the rows of its snapshot; it waits where another session has changed one and judges what it finds
 * then. A row that went meanwhile, or that is another one by now, it does not see.
 */
import {
  EVERY_ROW,
  type Guard,
  type RemoveOutcome,
  type RemoveRow,
  type RowKey,
  type TableShape,
  type Tombstone,
  type Tuple,
  type UpsertRow,
} from '../../src/apply/apply-port.ts';
import { higherTombstone } from '../../src/apply/decide.ts';
import type { Image } from '../../src/change/change-event.ts';
import { type Hlc, hlcFromMicros } from '../../src/change/hlc.ts';
import { isAbove } from '../../src/change/version.ts';
import { invariant } from '../../src/platform/assert.ts';
import { fail } from '../../src/platform/errors.ts';
import { claimsSame, type LockStrength, type ModelDatabase, type ModelTable, type Slot } from './model-database.ts';
import { type ModelStore, rowName, type Written } from './model-store.ts';
import { type ModelTuple, type Step, sqlError, type Transaction } from './model-transaction.ts';

export type RemovedAll = { removed: number; left: { key: RowKey; pk: Image }[] };
export type Told = { readonly key: RowKey; readonly image?: Image | null };
type Keyed = { readonly key: RowKey; readonly pk: Image };

export class ModelRows {
  readonly #database: ModelDatabase;
  readonly #store: ModelStore;
  readonly #model: Transaction;
  /** Asked after each wait. */
  readonly #resumed: Step;

  constructor(database: ModelDatabase, store: ModelStore, model: Transaction, resumed: Step) {
    this.#database = database;
    this.#store = store;
    this.#model = model;
    this.#resumed = resumed;
  }

  async upsert(shape: TableShape, rows: readonly UpsertRow[], origin: string, guard: Guard): Promise<number[]> {
    const table = this.#table(shape);
    // One statement knows the least stamp of its rows only.
    const least = leastHlc(rows);
    const heldOff = rows.map((row) => {
      const tombstone = this.tombstone(shape, row.key);
      return tombstone !== undefined && isAbove(tombstone, { hlc: row.hlc, origin });
    });
    const places = rows.map((row) => this.#seen(table.slot(slotKey(row.key))));
    const written = new Set<number>();
    for (const [place, row] of rows.entries()) {
      const seen = places[place]?.tuple ?? null;
      const slot = table.slot(slotKey(row.key));
      if (heldOff[place] === true || seen === null || !(await this.#lockAdmitted(slot, seen, 'write', least, guard))) {
        continue;
      }
      await this.#put(shape, slot, row);
      written.add(place);
    }
    // Then what was absent is inserted; a row that appeared meanwhile is left, whatever the guard.
    for (const [place, row] of rows.entries()) {
      if (heldOff[place] !== true && !written.has(place) && (await this.insert(shape, row))) written.add(place);
    }
    return [...rows.keys()].filter((place) => !written.has(place));
  }

  async remove(shape: TableShape, rows: readonly RemoveRow[], guard: Guard): Promise<RemoveOutcome[]> {
    const table = this.#table(shape);
    const least = leastHlc(rows);
    const places = rows.map((row) => this.#seen(table.slot(slotKey(row.key))));
    const outcomes: RemoveOutcome[] = [];
    for (const { slot, tuple } of places) outcomes.push(await this.#delete(slot, tuple, least, guard));
    // Those not removed are looked up under a lock: one that the snapshot has may be gone.
    for (const [place, { slot, tuple }] of places.entries()) {
      if (outcomes[place] === 'kept' && !(await this.#lockSeen(slot, tuple, 'share'))) outcomes[place] = 'absent';
    }
    return outcomes;
  }

  async removeAll(shape: TableShape, hlc: Hlc, guard: Guard): Promise<RemovedAll> {
    const table = this.#table(shape);
    let removed = 0;
    const places = [...table.slots.values()].map((slot) => this.#seen(slot));
    for (const { slot, tuple } of places) {
      if ((await this.#delete(slot, tuple, hlc, guard)) === 'removed') removed += 1;
    }
    await this.#resumed('what is left');
    const left: Keyed[] = [];
    for (const slot of table.slots.values()) {
      const tuple = this.#newest(slot);
      if (tuple === null || isLaterWrite(this.#written(tuple), hlc)) continue;
      left.push({ key: JSON.stringify([slot.key]), pk: { id: slot.key } });
    }
    return { removed, left };
  }

  async inspect(shape: TableShape, rows: readonly Keyed[]): Promise<Map<RowKey, Tuple>> {
    const table = this.#table(shape);
    const found = new Map<RowKey, Tuple>();
    const places = rows.map((row) => ({ key: row.key, ...this.#seen(table.slot(slotKey(row.key))) }));
    for (const { key, slot, tuple: seen } of places) {
      if (!(await this.#lockSeen(slot, seen, 'write'))) continue;
      const tuple = this.#newest(slot);
      invariant(tuple !== null, 'a row that was locked is there');
      const { xid, writer, image } = tuple;
      const own = writer === this.#model;
      const written = this.#written(tuple);
      found.set(key, { ...written, ...(own ? { stampMicros: null } : {}), xid, own, image });
    }
    return found;
  }

  async overwrite(shape: TableShape, row: UpsertRow): Promise<void> {
    await this.#put(shape, this.#table(shape).slot(slotKey(row.key)), row);
  }

  async insert(shape: TableShape, row: UpsertRow): Promise<boolean> {
    const slot = this.#table(shape).slot(slotKey(row.key));
    await this.#database.settled(slot, this.#model, this.#resumed);
    if (this.#newest(slot) !== null) return false;
    this.#database.hold(slot, this.#model, 'write');
    await this.#put(shape, slot, row);
    return true;
  }

  async erase(shape: TableShape, row: Keyed): Promise<void> {
    const slot = this.#table(shape).slot(slotKey(row.key));
    await this.#database.lock(slot, this.#model, 'key', this.#resumed);
    this.#database.put(slot, this.#model, null);
  }

  rivals(shape: TableShape, row: Keyed & { readonly image: Image }): Keyed[] {
    const found: Keyed[] = [];
    for (const slot of this.#table(shape).slots.values()) {
      if (slot.key === slotKey(row.key) || !claimsSame(this.#newest(slot)?.image, row.image)) continue;
      found.push({ key: JSON.stringify([slot.key]), pk: { id: slot.key } });
    }
    return found;
  }

  /** The highest tombstone over a row: its own or the table's. */
  tombstone(shape: TableShape, key: RowKey): Tombstone | undefined {
    const own = this.#store.tombstones.get(rowName(shape, key));
    const ofTable = this.#store.tombstones.get(rowName(shape, EVERY_ROW));
    return higherTombstone(own, ofTable);
  }

  #table(shape: TableShape): ModelTable {
    return this.#database.table(shape.table);
  }

  #newest(slot: Slot): ModelTuple | null {
    return this.#database.newest(slot, this.#model);
  }

  #seen(slot: Slot): { slot: Slot; tuple: ModelTuple | null } {
    return { slot, tuple: this.#newest(slot) };
  }

  async #delete(slot: Slot, seen: ModelTuple | null, hlc: Hlc, guard: Guard): Promise<RemoveOutcome> {
    if (seen === null) return 'absent';
    if (!(await this.#lockAdmitted(slot, seen, 'key', hlc, guard))) return 'kept';
    this.#database.put(slot, this.#model, null);
    return 'removed';
  }

  /** Locks a row of the snapshot where the guard admits it, before and after a wait; one that it does not is not waited for. */
  async #lockAdmitted(slot: Slot, seen: ModelTuple, strength: LockStrength, hlc: Hlc, guard: Guard): Promise<boolean> {
    if (!this.#admits(seen, hlc, guard)) return false;
    await this.#database.free(slot, this.#model, strength, this.#resumed);
    const tuple = this.#newest(slot);
    if (tuple === null || tuple.birth !== seen.birth || !this.#admits(tuple, hlc, guard)) return false;
    this.#database.hold(slot, this.#model, strength);
    return true;
  }

  /** Locks a row of the snapshot; false where it is gone, or another row by now. */
  async #lockSeen(slot: Slot, seen: ModelTuple | null, strength: LockStrength): Promise<boolean> {
    if (seen === null) return false;
    await this.#database.free(slot, this.#model, strength, this.#resumed);
    if (this.#newest(slot)?.birth !== seen.birth) return false;
    this.#database.hold(slot, this.#model, strength);
    return true;
  }

  async #put(shape: TableShape, slot: Slot, row: UpsertRow): Promise<void> {
    const strange = Object.keys(row.image).find((column) => !shape.columns.includes(column));
    if (strange !== undefined) throw fail('SYN-A003', `the table ${shape.id} has no column ${strange}`);
    const standing = this.#newest(slot)?.image;
    const empty = Object.fromEntries(shape.columns.map((column) => [column, null]));
    const image = { ...(standing ?? { ...empty, id: slot.key }), ...row.image };
    if (this.#database.refusal?.refuses(shape.table, image) === true)
      throw sqlError('23514', `${image.v} violates a check constraint of ${shape.table}`);
    await this.#database.checkUnique(slot, image, this.#model, this.#resumed);
    this.#database.put(slot, this.#model, image);
  }

  #written(tuple: ModelTuple): Written {
    return this.#store.written(tuple.writer, this.#database.region);
  }

  #admits(tuple: ModelTuple, hlc: Hlc, guard: Guard): boolean {
    if (tuple.writer === this.#model) return true;
    const { writer, stampMicros: stamp } = this.#written(tuple);
    const rule = guard[writer] ?? 'never';
    if (rule === 'always') return true;
    if (rule === 'never') return false;
    return stamp === null || (hlcFromMicros(stamp) < hlc && stamp <= rule);
  }
}

/** A local write whose stamp, which does not overstate it unless another tool chose it, is above the event's. */
function isLaterWrite({ local, foreign, stampMicros }: Written, hlc: Hlc): boolean {
  return local && !foreign && stampMicros !== null && hlcFromMicros(stampMicros) > hlc;
}

/** Rows as a trace tells them. */
export function told(rows: readonly Told[]): string {
  return rows.map((row) => `${slotKey(row.key)}${row.image == null ? '' : `=${row.image.v}`}`).join(' ');
}

export function slotKey(key: RowKey): string {
  return String((JSON.parse(key) as string[])[0]);
}

function leastHlc(rows: readonly { readonly hlc: Hlc }[]): Hlc {
  return rows.reduce<Hlc>((least, { hlc }) => (hlc < least ? hlc : least), 2n ** 63n);
}
