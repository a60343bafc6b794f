/**
 * Writes one planned batch through an open transaction: set-based statements first, then, row by row, what they left.
 *
 * The statements admit only tuples that the guard allows (see `decide.ts`); every other row is locked, looked at with
 * its exact version, decided, and judged for conflicts. What was written is kept with its exact version, because the
 * transaction's commit timestamp is the largest of the batch.
 *
 * The statements know nothing of rows that claim one unique value (`parking.ts`); they need not as long as none is in the
 * way. Rows that are parked take the slow path, and once a statement ran into a constraint, `exact`, so do all that claim.
 */
import { type ChangeEvent, eventPosition, type Image } from '../change/change-event.ts';
import type { Hlc } from '../change/hlc.ts';
import { covers } from '../change/position.ts';
import { isAbove, type Version } from '../change/version.ts';
import type { Stability } from '../clock/stability.ts';
import { fail } from '../platform/errors.ts';
import {
  type ApplyTransaction,
  type ConflictEntry,
  EVERY_ROW,
  type ExactVersion,
  type Guard,
  type LookAgain,
  type ParkedRow,
  type RemoveOutcome,
  type RowKey,
  type TableShape,
  type Tombstone,
  type UpsertRow,
  type VersionEntry,
} from './apply-port.ts';
import { keyImage, provisionalEntry, rowLossEntry, type Side } from './conflicts.ts';
import { type Current, echoTakes, eventWins, isParkedAbove, tupleVersion } from './decide.ts';
import type { MergeWriter } from './merge-writer.ts';
import type { ChainLink, RowOp, Step, TableStep } from './net-change.ts';
import type { ParkedKeys } from './parked-keys.ts';
import { type ArrivingRow, Parking } from './parking.ts';
import type { UnsettledEvents } from './unsettled-events.ts';

/** How often a row is looked at again that the foreground changes between look and write. */
const RACES_MAX = 16;

type TableRecord = {
  readonly shape: TableShape;
  /** By row; the last entry speaks, where an exact replay writes a row more than once. */
  readonly versions: Map<RowKey, VersionEntry>;
  readonly tombstones: Map<RowKey, VersionEntry>;
  readonly rows: Map<RowKey, Hlc>;
};

export type StandingRow = {
  readonly current: Current;
  readonly exact: ExactVersion | undefined;
  readonly tombstone: Tombstone | undefined;
  readonly parked: ParkedRow | undefined;
};

/** What the lane has in mind of what was applied before. */
export type WriterMemory = {
  readonly unsettled: UnsettledEvents;
  readonly stability: Stability;
  readonly parked: ParkedKeys;
};

/** What became of a row that was to be written; `raced`: the foreground inserted one first, so it has to be looked at again. */
export type Placing = 'placed' | 'parked' | 'raced';

export class BatchWriter {
  readonly transaction: ApplyTransaction;
  readonly parking: Parking;
  /** Writes the tables that merge. */
  readonly merging: MergeWriter;
  readonly #exact: boolean;
  readonly #self: string;
  readonly #origin: string;
  readonly #guard: Guard;
  readonly #unsettled: UnsettledEvents;
  readonly #stability: Stability;
  readonly #tables = new Map<string, TableRecord>();
  readonly conflicts: ConflictEntry[] = [];
  readonly #looks: LookAgain[] = [];
  /** Rows to be put back, by table. */
  readonly #restores = new Map<string, Map<RowKey, LookAgain>>();
  /** Rows changed, for metrics. */
  written = 0;

  constructor(
    transaction: ApplyTransaction,
    { self, origin }: { readonly self: string; readonly origin: string },
    guard: Guard,
    { unsettled, stability, parked }: WriterMemory,
    exact: boolean,
    makeMerging: (writer: BatchWriter) => MergeWriter,
  ) {
    this.transaction = transaction;
    this.merging = makeMerging(this);
    this.#exact = exact;
    this.parking = new Parking(transaction, parked, {
      origin,
      stand: async (shape, rows) => await this.stand(shape, rows),
      ownVersion: (shape, key) => this.#tables.get(shape.id)?.versions.get(key),
    });
    this.#self = self;
    this.#origin = origin;
    this.#guard = guard;
    this.#unsettled = unsettled;
    this.#stability = stability;
  }

  /** The tables that the batch touched. */
  get shapes(): readonly TableShape[] {
    return [...this.#tables.values()].map((record) => record.shape);
  }

  async write(steps: readonly Step[]): Promise<void> {
    for (const step of steps) {
      if (step.kind === 'truncate') await this.#truncate(step.shape, step.link);
      else {
        // In the order in which the source's transactions came to them: this region's own lock them in the same order,
        // most likely, and any other would let the lane and a busy foreground deadlock again and again.
        const tables = [...step.tables.values()];
        await this.#writeTables(tables.filter(({ shape }) => !this.merging.isTracked(shape)));
        for (const { shape, ops } of tables)
          if (this.merging.isTracked(shape)) await this.merge(shape, [...ops.values()]);
      }
    }
  }

  /** Brings rows of a table that merges to their folds. */
  async merge(shape: TableShape, ops: readonly RowOp[]): Promise<void> {
    for (const op of ops) this.judge(shape, op);
    const written = await this.merging.rows(shape, ops);
    for (const { key, last } of ops) {
      const isThere = written.get(key);
      if (isThere === true) this.wrote(shape, key, last);
      if (isThere === false) this.buried(shape, key, last);
    }
  }

  /** Sends what is to be kept of the batch: exact versions, tombstones, intents to look again, conflicts. */
  async record(quarantined: (shape: TableShape) => ReadonlySet<RowKey>): Promise<void> {
    const sent: Promise<unknown>[] = [];
    for (const { shape, versions, tombstones, rows } of this.#tables.values()) {
      if (versions.size > 0) sent.push(this.transaction.recordVersions(shape, [...versions.values()]));
      if (tombstones.size > 0) {
        sent.push(this.transaction.putTombstones(shape, this.#origin, [...tombstones.values()]));
      }
      const waiting = quarantined(shape);
      const superseding =
        waiting.size === 0 ? [] : [...rows].filter(([key]) => waiting.has(key)).map(([key, hlc]) => ({ key, hlc }));
      if (superseding.length > 0) sent.push(this.transaction.supersedeQuarantine(shape, this.#origin, superseding));
    }
    const looks = [...this.#looks, ...[...this.#restores.values()].flatMap((rows) => [...rows.values()])];
    if (looks.length > 0) sent.push(this.transaction.putLooks(looks));
    if (this.conflicts.length > 0) sent.push(this.transaction.recordConflicts(this.conflicts));
    await Promise.all(sent);
  }

  /** How a row stands: its tuple with its exact version, and the tombstone over it. Locks the row. */
  async stand(shape: TableShape, rows: readonly { key: RowKey; pk: Image }[]): Promise<Map<RowKey, StandingRow>> {
    const keys = rows.map((row) => row.key);
    const [tuples, tombstones, parked] = await Promise.all([
      this.transaction.inspect(shape, rows),
      this.transaction.tombstones(shape, keys),
      this.parking.find(shape, keys),
    ]);
    const applied: { key: RowKey; xid: number }[] = [];
    for (const [key, tuple] of tuples) if (!tuple.local && !tuple.own) applied.push({ key, xid: tuple.xid });
    const exacts =
      applied.length === 0 ? new Map<RowKey, ExactVersion>() : await this.transaction.exactVersions(shape, applied);
    return new Map(
      rows.map(({ key }) => {
        const tuple = tuples.get(key);
        const exact = exacts.get(key);
        const current = tuple === undefined ? null : { tuple, version: tupleVersion(tuple, exact) };
        return [key, { current, exact, tombstone: tombstones.get(key), parked: parked.get(key) }];
      }),
    );
  }

  wrote(shape: TableShape, key: RowKey, link: ChainLink): void {
    const { source, event } = link;
    const record = this.#record(shape);
    record.versions.set(key, { key, hlc: source.hlc, position: source.position, event_id: event.event_id });
    record.rows.set(key, source.hlc);
    this.written += 1;
  }

  /** Writes a row that wins over what stands under its key; where it claims a value of a higher row, it is parked instead. */
  async place(shape: TableShape, op: Pick<RowOp, 'key' | 'pk' | 'image' | 'last'>, row: StandingRow): Promise<Placing> {
    const { source, event } = op.last;
    const placing = await this.settleIn(shape, row, {
      key: op.key,
      pk: op.pk,
      image: op.image ?? {},
      version: { hlc: source.hlc, origin: this.#origin },
      position: source.position,
      event_id: event.event_id,
    });
    if (placing === 'placed') this.wrote(shape, op.key, op.last);
    if (placing === 'parked') {
      this.#record(shape).rows.set(op.key, source.hlc);
      this.written += 1;
    }
    return placing;
  }

  /** Brings a row into the table, or parks it; `wrote` is the caller's to say. */
  async settleIn(shape: TableShape, { current, parked }: StandingRow, arriving: ArrivingRow): Promise<Placing> {
    const { key, pk, image, version } = arriving;
    if (this.#asks(shape)) {
      // An image may lack columns that did not change.
      const whole = { ...(current?.tuple.image ?? parked?.image), ...image };
      const blocker = await this.parking.makeRoom(shape, { ...arriving, image: whole });
      if (blocker !== null) {
        if (current !== null) await this.transaction.erase(shape, { key, pk });
        // What the database computes is left out, as it is of a tuple that is displaced: regions park the same.
        const kept = Object.fromEntries(Object.entries(whole).filter(([column]) => shape.columns.includes(column)));
        await this.parking.park(shape, { ...arriving, image: kept }, blocker);
        return 'parked';
      }
    }
    const written = { key, pk, image: { ...parked?.image, ...image }, hlc: version.hlc };
    if (current !== null) await this.transaction.overwrite(shape, { ...written, image });
    else if (!(await this.transaction.insert(shape, written))) return 'raced';
    if (parked !== undefined) await this.parking.drop(shape, key);
    return 'placed';
  }

  /**
   * Puts a row back that was taken for older than it is, where neither a later local write nor anything of a higher version
   * is there, or was removed; returns what of a higher version is.
   */
  async restore(shape: TableShape, { key, pk, version }: LookAgain, event: ChangeEvent): Promise<Side | null> {
    const row = (await this.stand(shape, [{ key, pk }])).get(key);
    if (row === undefined) return null;
    const { current, tombstone, parked, exact } = row;
    for (const above of [tombstone, parked]) {
      if (above === undefined || !isAbove(above, version)) continue;
      const image = 'image' in above ? above.image : null;
      return { version: { hlc: above.hlc, origin: above.origin }, event_id: above.event_id, image };
    }
    if (current !== null && !echoTakes(current, version)) {
      const { tuple } = current;
      return tuple.local ? null : { version: current.version, event_id: exact?.event_id ?? null, image: tuple.image };
    }
    const { event_id } = event;
    const position = eventPosition(event);
    const image = event.after_image ?? {};
    const placing = await this.settleIn(shape, row, { key, pk, image, version, position, event_id });
    if (placing === 'placed') this.#record(shape).versions.set(key, { key, hlc: version.hlc, position, event_id });
    return null;
  }

  /**
   * Applies a parked row again; one that something newer stands above is parked no more. False where a user has inserted
   * its key: which of the two is later the echo of that tells.
   */
  async release(shape: TableShape, { hlc, origin, blocker: _, ...parked }: ParkedRow): Promise<boolean> {
    const version: Version = { hlc, origin };
    const { key, position, event_id } = parked;
    for (let races = 0; races < RACES_MAX; races += 1) {
      const row = (await this.stand(shape, [parked])).get(key);
      if (row?.parked === undefined) return true;
      const { current, tombstone } = row;
      if (current?.tuple.local === true) return false;
      const isOutdated =
        (tombstone !== undefined && isAbove(tombstone, version)) ||
        (current !== null && !isAbove(version, current.version));
      if (isOutdated) {
        await this.parking.drop(shape, key);
        return true;
      }
      const placing = await this.settleIn(shape, row, { ...parked, version });
      if (placing === 'placed' && position !== null && event_id !== null) {
        this.#record(shape).versions.set(key, { key, hlc, position, event_id });
      }
      if (placing !== 'raced') return true;
    }
    throw fail('SYN-A008', `a row of ${shape.id} changed ${RACES_MAX} times while it was looked at`);
  }

  /** Whether rows are asked for whose values they claim before they are written one by one. */
  #asks(shape: TableShape): boolean {
    return (shape.hasClaims && this.#exact) || this.parking.concerns(shape);
  }

  buried(shape: TableShape, key: RowKey, link: ChainLink): void {
    const { source, event } = link;
    const record = this.#record(shape);
    if (key === EVERY_ROW) this.#restores.delete(shape.id);
    else this.#restores.get(shape.id)?.delete(key);
    record.tombstones.set(key, { key, hlc: source.hlc, position: source.position, event_id: event.event_id });
    record.rows.set(key, source.hlc);
    this.written += 1;
  }

  async #writeTables(tables: readonly TableStep[]): Promise<void> {
    const left = await Promise.all(
      tables.map(async ({ shape, ops }) => {
        const removes: RowOp[] = [];
        const upserts: RowOp[] = [];
        const slow: RowOp[] = [];
        for (const op of ops.values()) {
          if (this.parking.isParked(shape, op.key)) slow.push(op);
          else if (op.kind === 'remove') removes.push(op);
          else (shape.hasClaims && this.#exact ? slow : upserts).push(op);
        }
        removes.sort(byKey);
        upserts.sort(byKey);
        // Removals first: they free unique values that upserts of the same batch may take.
        const [outcomes, untouched] = await Promise.all([
          removes.length === 0 ? [] : this.transaction.remove(shape, removes.map(toRemoveRow), this.#guard),
          upserts.length === 0
            ? []
            : this.transaction.upsert(shape, upserts.map(toUpsertRow), this.#origin, this.#guard),
        ]);
        const kept = removes.filter((op, place) => !this.#settleRemoval(shape, op, outcomes[place]));
        const places = new Set(untouched);
        for (const [place, op] of upserts.entries()) if (!places.has(place)) this.wrote(shape, op.key, op.last);
        return { shape, rows: [...kept, ...upserts.filter((_, place) => places.has(place)), ...slow] };
      }),
    );
    for (const { shape, ops } of tables) for (const op of ops.values()) this.judge(shape, op);
    for (const { shape, rows } of left) await this.#decideRows(shape, rows);
  }

  /** Whether the statement settled the removal. */
  #settleRemoval(shape: TableShape, op: RowOp, outcome: RemoveOutcome | undefined): boolean {
    if (outcome === 'kept' || outcome === undefined) return false;
    this.buried(shape, op.key, op.last);
    if (outcome === 'absent') this.#lookAgain(shape, op);
    return true;
  }

  /**
   * A removal that finds no row may be early: the row can be committed and published but not yet visible here. The
   * tombstone stands against it, and the lane looks again once everything in progress now has ended.
   */
  #lookAgain(shape: TableShape, op: RowOp): void {
    this.#looks.push(lookAt(shape, op.key, op.pk, { hlc: op.last.source.hlc, origin: this.#origin }, null));
  }

  /** Leaves the intent to put the row back, which a removal behind it in the batch takes away again. */
  putBack(shape: TableShape, op: RowOp): void {
    const { source, event } = op.last;
    const rows = this.#restores.get(shape.id) ?? new Map<RowKey, LookAgain>();
    this.#restores.set(shape.id, rows);
    rows.set(op.key, lookAt(shape, op.key, op.pk, { hlc: source.hlc, origin: this.#origin }, event));
  }

  /** Applies one change as that of another region would be, but leaves rows that are not older though they seem so. */
  async decide(shape: TableShape, op: RowOp, isLater: (current: Current) => boolean): Promise<void> {
    await this.#decideTogether(shape, [op], isLater);
  }

  async #decideRows(shape: TableShape, ops: readonly RowOp[]): Promise<void> {
    // One row displaces another, so that each is looked at only when it is its turn.
    if (this.#asks(shape)) for (const op of ops) await this.#decideTogether(shape, [op]);
    else await this.#decideTogether(shape, ops);
  }

  async #decideTogether(
    shape: TableShape,
    ops: readonly RowOp[],
    isLater: (current: Current) => boolean = neverLater,
  ): Promise<void> {
    let open = ops;
    for (let races = 0; open.length > 0; races += 1) {
      if (races === RACES_MAX) {
        throw fail('SYN-A008', `rows of ${shape.id} changed ${RACES_MAX} times while they were looked at`);
      }
      const standing = await this.stand(shape, open);
      // The rows are locked and no two are the same, so the statements can follow one another without their answers.
      const decided = await Promise.all(
        open.map(async (op) => {
          const row = standing.get(op.key);
          return row === undefined || (await this.#decideRow(shape, op, row, isLater));
        }),
      );
      open = open.filter((_, place) => decided[place] === false);
    }
  }

  /** False where the foreground was quicker and the row has to be looked at again. */
  async #decideRow(
    shape: TableShape,
    op: RowOp,
    row: StandingRow,
    isLater: (current: Current) => boolean,
  ): Promise<boolean> {
    const version: Version = { hlc: op.last.source.hlc, origin: this.#origin };
    const { current, tombstone, parked } = row;
    const wins = eventWins(current, tombstone, version) && !isLater(current) && !isParkedAbove(parked, version);
    if (op.kind === 'remove') {
      if (wins) {
        if (current === null) this.#lookAgain(shape, op);
        else await this.transaction.erase(shape, op);
        await this.parking.drop(shape, op.key);
        this.buried(shape, op.key, op.last);
      }
    } else if (wins && (await this.place(shape, op, row)) === 'raced') return false;
    this.judgeRow(shape, op, row);
    return true;
  }

  /**
   * Removes every row that the event's version is above; `takes` decides those that the statement left. What the same
   * transaction parked before goes as well; in an echo, what is parked of it is what came after.
   */
  async emptyTable(
    shape: TableShape,
    link: ChainLink,
    takes: (current: Current, version: Version) => boolean,
  ): Promise<void> {
    const version: Version = { hlc: link.source.hlc, origin: this.#origin };
    for (const parked of await this.parking.dropBelow(shape, version, this.#origin === this.#self)) {
      const row = { current: null, exact: undefined, tombstone: undefined, parked };
      this.judgeRow(shape, { key: parked.key, pk: parked.pk, image: null, last: link }, row);
    }
    const { left } = await this.transaction.removeAll(shape, link.source.hlc, this.#guard);
    const standing = await this.stand(shape, left);
    for (const row of left) {
      const stands = standing.get(row.key);
      if (stands === undefined) continue;
      if (!takes(stands.current, version)) continue;
      await this.transaction.erase(shape, row);
      this.judgeRow(shape, { ...row, image: null, last: link }, stands);
    }
    this.buried(shape, EVERY_ROW, link);
  }

  async #truncate(shape: TableShape, link: ChainLink): Promise<void> {
    const version: Version = { hlc: link.source.hlc, origin: this.#origin };
    this.judgeTruncate(shape, link);
    const emptyTable = async (): Promise<void> =>
      await this.emptyTable(shape, link, (current) => current !== null && eventWins(current, undefined, version));
    if (this.merging.isTracked(shape)) return await this.merging.truncate(shape, link, emptyTable);
    await emptyTable();
    this.#looks.push(lookAt(shape, EVERY_ROW, {}, version, null));
  }

  /** Judges a row's events against those that passed the lane before. */
  judge(shape: TableShape, op: RowOp): void {
    for (const loss of this.#unsettled.judge(shape, op.key, op.chain)) {
      this.conflicts.push(provisionalEntry(loss, op.pk, this.merging.describe(loss.winner.merge)));
    }
  }

  /** Judges a TRUNCATE against all events of its table that passed the lane before. */
  judgeTruncate(shape: TableShape, link: ChainLink): void {
    for (const loss of this.#unsettled.judgeTruncate(shape, link)) {
      const merged = this.merging.describe(loss.winner.merge);
      this.conflicts.push(provisionalEntry(loss, keyImage(shape, loss.key), merged));
    }
  }

  /**
   * Judges against what the row itself tells, where its last event was forgotten before it was settled. Where it cannot
   * be told whether the two were concurrent, they count as concurrent: a conflict too many is noise, a conflict too few
   * is a lost write that nobody hears of.
   */
  judgeRow(shape: TableShape, op: Pick<RowOp, 'key' | 'pk' | 'image' | 'last'>, row: StandingRow): void {
    const { source, event } = op.last;
    const side: Side = {
      version: { hlc: source.hlc, origin: this.#origin },
      event_id: event.event_id,
      image: op.image,
    };
    const standing = standingSide(row);
    if (standing === null || standing.version.origin === this.#origin || row.current?.tuple.own === true) return;
    // What another tool wrote is judged by its own echo, which is yet to come.
    if (row.current?.tuple.foreign === true) return;
    if (standing.version.hlc >= this.#unsettled.lostBelow) return;
    if (this.#unsettled.knows(shape.id, op.key, standing.version)) return;
    if (this.#certainlySeen(source.seen, standing)) return;
    const entry = isAbove(side.version, standing.version)
      ? rowLossEntry(shape, op.key, op.pk, standing, side)
      : rowLossEntry(shape, op.key, op.pk, side, standing);
    if (!this.conflicts.some((known) => known.conflict_id === entry.conflict_id)) this.conflicts.push(entry);
  }

  #certainlySeen(seen: ChainLink['source']['seen'], standing: StandingSide): boolean {
    const { origin, hlc } = standing.version;
    if (standing.position !== null) return covers(seen, origin, standing.position);
    return hlc <= this.#stability.seenBy(origin, seen[origin]);
  }

  #record(shape: TableShape): TableRecord {
    let record = this.#tables.get(shape.id);
    if (record === undefined) {
      record = { shape, versions: new Map(), tombstones: new Map(), rows: new Map() };
      this.#tables.set(shape.id, record);
    }
    return record;
  }
}

function lookAt(
  { schema, table }: TableShape,
  key: RowKey,
  pk: Image,
  version: Version,
  restores: ChangeEvent | null,
): LookAgain {
  return { table: { schema, table }, key, pk, version, restores };
}

type StandingSide = Side & { readonly position: ExactVersion['position'] | null };

function standingSide(row: StandingRow): StandingSide | null {
  const { current, exact, tombstone, parked } = row;
  const isHighest =
    parked !== undefined &&
    (tombstone === undefined || isAbove(parked, tombstone)) &&
    (current === null || isAbove(parked, current.version));
  if (isHighest) {
    const version = { hlc: parked.hlc, origin: parked.origin };
    return { version, event_id: parked.event_id, image: parked.image, position: parked.position };
  }
  if (current !== null && (tombstone === undefined || isAbove(current.version, tombstone))) {
    return {
      version: current.version,
      event_id: exact?.event_id ?? null,
      image: current.tuple.image,
      position: exact?.position ?? null,
    };
  }
  if (tombstone === undefined) return null;
  const version = { hlc: tombstone.hlc, origin: tombstone.origin };
  return { version, event_id: tombstone.event_id, image: null, position: tombstone.position };
}

function byKey(a: RowOp, b: RowOp): number {
  return a.key < b.key ? -1 : 1;
}

function toRemoveRow(op: RowOp): { key: RowKey; pk: Image; hlc: Hlc } {
  return { key: op.key, pk: op.pk, hlc: op.last.source.hlc };
}

function toUpsertRow(op: RowOp): UpsertRow {
  return { key: op.key, pk: op.pk, image: op.image ?? {}, hlc: op.last.source.hlc };
}

function neverLater(): boolean {
  return false;
}
