/**
 * Writes one planned batch through an open transaction: set-based statements first, then, row by row, what they left.
 *
 * The statements admit only tuples that the guard allows (see `decide.ts`); every other row is locked, looked at with
 * its exact version, decided, and judged for conflicts (`batch-judge.ts`). What is kept of the batch is gathered beside
 * (`batch-record.ts`).
 *
 * The statements know nothing of rows that claim one unique value (`parking.ts`); they need not as long as none is in the
 * way. Rows that are parked take the slow path, and once a statement ran into a constraint, `exact`, so do all that claim.
 */
import type { Image } from '../../change/change-event.ts';
import type { Hlc } from '../../change/hlc.ts';
import type { Position } from '../../change/position.ts';
import { compareVersions, type Version } from '../../change/version.ts';
import type { Stability } from '../../clock/stability.ts';
import { fail } from '../../platform/errors.ts';
import {
  type ApplyTransaction,
  EVERY_ROW,
  type Guard,
  type RemoveOutcome,
  type RowKey,
  type TableShape,
  type UpsertRow,
} from '../apply-port.ts';
import { type Current, eventWins, type IsBehind, isParkedAbove, lateEventWins } from '../decide.ts';
import { type KeyedRow, type Stand, type StandingRow, standingRows } from '../history/standing-row.ts';
import type { UnsettledEvents } from '../history/unsettled-events.ts';
import type { MergeWriter } from '../merges/merge-writer.ts';
import type { ChainLink, RowOp, Step, TableStep } from '../net-change.ts';
import { BatchJudge } from './batch-judge.ts';
import { BatchRecord } from './batch-record.ts';
import { type ClaimWriters, writeClaims } from './claimed-rows.ts';
import type { ParkedKeys } from './parked-keys.ts';
import { type IsUntold, Parking } from './parking.ts';
import { RACES_MAX, RowPlacer } from './row-placer.ts';

/** Rows in one statement. */
const STATEMENT_ROWS_MAX = 1_000;

/** What keeps a change from its row: one that is not older though it seems so, or has a value of it and may be above it. */
type Doubts = {
  readonly isLater?: (current: Current) => boolean;
  readonly isUntold?: IsUntold;
  /** Told of an event that is above what stood there. */
  readonly onWon?: (outcome: 'done' | 'untold') => void;
};

/** What the lane has in mind of what was applied before. */
export type WriterMemory = {
  readonly unsettled: UnsettledEvents;
  readonly stability: Stability;
  readonly parked: ParkedKeys;
};

export class BatchWriter {
  readonly transaction: ApplyTransaction;
  readonly parking: Parking;
  /** Writes the tables that merge. */
  readonly merging: MergeWriter;
  readonly judge: BatchJudge;
  /** What is to be kept of the batch. */
  readonly kept: BatchRecord;
  /** Brings single rows into their tables. */
  readonly rows: RowPlacer;
  readonly #exact: boolean;
  readonly #origin: string;
  readonly #isEcho: boolean;
  readonly #guard: Guard;
  readonly #writers: ClaimWriters;
  readonly #isBehind: IsBehind | null;

  /** `isBehind` is set where an event comes behind later ones of its stream. */
  constructor(
    transaction: ApplyTransaction,
    { self, origin }: { readonly self: string; readonly origin: string },
    guard: Guard,
    { unsettled, stability, parked }: WriterMemory,
    exact: boolean,
    makeMerging: (stand: Stand) => MergeWriter,
    isBehind: IsBehind | null = null,
  ) {
    const stand: Stand = (shape, rows) => this.stand(shape, rows);
    this.transaction = transaction;
    this.#exact = exact;
    this.#origin = origin;
    this.#isEcho = origin === self;
    this.#guard = guard;
    this.#isBehind = isBehind;
    this.#writers = { self, origin, members: stability.members };
    this.merging = makeMerging(stand);
    this.judge = new BatchJudge(origin, unsettled, stability, (version) => this.merging.describe(version));
    const record = new BatchRecord(transaction, origin, (shape) => this.merging.isTracked(shape));
    this.kept = record;
    this.parking = new Parking(transaction, parked, {
      origin,
      stand,
      ownVersion: (shape, key) => record.version(shape, key),
    });
    this.rows = new RowPlacer({ transaction, origin, parking: this.parking, stand, record, exact });
  }

  async write(steps: readonly Step[]): Promise<void> {
    for (const step of steps) {
      if (step.kind === 'truncate') await this.#truncate(step.shape, step.link);
      else if (step.areClaims === true) {
        for (const { shape, ops } of step.tables.values())
          await writeClaims(this, this.#writers, shape, [...ops.values()]);
      } else {
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
    for (const op of ops) this.judge.events(shape, op);
    const written = await this.merging.rows(shape, ops);
    for (const { key, last } of ops) {
      const isThere = written.get(key);
      if (isThere === true) this.kept.wrote(shape, key, last);
      if (isThere === false) this.kept.buried(shape, key, last);
    }
  }

  /**
   * Applies one change as that of another region would be, but leaves rows that are not older though they seem so. Tells whether
   * it was done, or the row is parked for as long as it is not told whether one that has a value of it is above it.
   */
  async decide(
    shape: TableShape,
    op: RowOp,
    doubts: Pick<Doubts, 'isLater' | 'isUntold'>,
  ): Promise<'done' | 'untold' | 'lost'> {
    let outcome: 'done' | 'untold' | 'lost' = 'lost';
    await this.#decideTogether(shape, [op], { ...doubts, onWon: (won) => (outcome = won) });
    return outcome;
  }

  /**
   * Removes every row that the event's version is above; `takes` decides those that the statement left. What the same
   * transaction parked before goes as well; in an echo, what is parked of it is what came after.
   */
  async emptyTable(
    shape: TableShape,
    link: ChainLink,
    takes: (row: StandingRow, version: Version) => boolean,
  ): Promise<void> {
    const version: Version = { hlc: link.source.hlc, origin: this.#origin };
    const ofOne = this.#isBehind ?? (this.#isEcho ? 'parked here' : 'all');
    for (const parked of await this.parking.dropBelow(shape, version, ofOne)) {
      const row = { current: null, exact: undefined, tombstone: undefined, parked };
      this.judge.row(shape, { key: parked.key, pk: parked.pk, image: null, last: link }, row);
    }
    const { left } = await this.transaction.removeAll(shape, link.source.hlc, this.#guard);
    const standing = await this.stand(shape, left);
    for (const row of left) {
      const stands = standing.get(row.key);
      if (stands === undefined) continue;
      if (!takes(stands, version)) continue;
      await this.transaction.erase(shape, row);
      this.judge.row(shape, { ...row, image: null, last: link }, stands);
    }
    if (!(await this.#isEmptiedLater(shape, version))) this.kept.buried(shape, EVERY_ROW, link);
  }

  /** Whether a later TRUNCATE of the same transaction was here before this one. */
  async #isEmptiedLater(shape: TableShape, version: Version): Promise<boolean> {
    if (this.#isBehind === null) return false;
    const last = (await this.transaction.tombstones(shape, [EVERY_ROW])).get(EVERY_ROW);
    return last !== undefined && compareVersions(last, version) === 0 && !this.#isBehind(last.event_id);
  }

  /** Sends what is to be kept of the batch, conflicts included. */
  record(quarantined: (shape: TableShape) => ReadonlySet<RowKey>): Promise<void> {
    return this.kept.send(quarantined, this.judge.take());
  }

  /** The same of a piece of a giant transaction. */
  recordPiece(
    giant: { readonly hlc: Hlc; readonly position: Position },
    quarantined: (shape: TableShape) => ReadonlySet<RowKey>,
  ): Promise<void> {
    return this.kept.sendPiece(giant, quarantined, this.judge.take());
  }

  /** How rows stand. Locks them. */
  stand(shape: TableShape, rows: readonly KeyedRow[]): Promise<Map<RowKey, StandingRow>> {
    return standingRows(this.transaction, (table, keys) => this.parking.find(table, keys), shape, rows);
  }

  async #writeTables(tables: readonly TableStep[]): Promise<void> {
    const answered = Promise.all(
      tables.map(async ({ shape, ops }) => {
        const removes: RowOp[] = [];
        const upserts: RowOp[] = [];
        const slow: RowOp[] = [];
        for (const op of ops.values()) {
          if (this.#isBehind !== null || this.parking.isParked(shape, op.key)) slow.push(op);
          else if (op.kind === 'remove') removes.push(op);
          else (shape.hasClaims && this.#exact ? slow : upserts).push(op);
        }
        removes.sort(byKey);
        upserts.sort(byKey);
        // Removals first: they free unique values that upserts of the same batch may take.
        const [outcomes, ...untouched] = await Promise.all([
          removes.length === 0 ? [] : this.transaction.remove(shape, removes.map(toRemoveRow), this.#guard),
          ...piecesOf(upserts).map(async (piece) => await this.#upsert(shape, piece)),
        ]);
        const kept = removes.filter((op, place) => !this.#settleRemoval(shape, op, outcomes[place]));
        return { shape, rows: [...kept, ...untouched.flat(), ...slow] };
      }),
    );
    // While the server is at work; whoever awaits the answers below is told what is wrong with them.
    answered.catch(() => undefined);
    for (const { shape, ops } of tables) for (const op of ops.values()) this.judge.events(shape, op);
    for (const { shape, rows } of await answered) await this.#decideRows(shape, rows);
  }

  /** Resolves with the rows that the statement left. */
  async #upsert(shape: TableShape, ops: readonly RowOp[]): Promise<RowOp[]> {
    const untouched = await this.transaction.upsert(shape, ops.map(toUpsertRow), this.#origin, this.#guard);
    const places = new Set(untouched);
    for (const [place, op] of ops.entries()) if (!places.has(place)) this.kept.wrote(shape, op.key, op.last);
    return places.size === 0 ? [] : ops.filter((_, place) => places.has(place));
  }

  /** Whether the statement settled the removal. */
  #settleRemoval(shape: TableShape, op: RowOp, outcome: RemoveOutcome | undefined): boolean {
    if (outcome === 'kept' || outcome === undefined) return false;
    this.kept.buried(shape, op.key, op.last);
    if (outcome === 'absent') this.#lookAgain(shape, op);
    return true;
  }

  #lookAgain(shape: TableShape, op: RowOp): void {
    this.kept.lookAgain(shape, op.key, op.pk, op.last.source.hlc);
  }

  async #decideRows(shape: TableShape, ops: readonly RowOp[]): Promise<void> {
    // One row displaces another, so that each is looked at only when it is its turn.
    if (this.rows.asks(shape)) for (const op of ops) await this.#decideTogether(shape, [op]);
    else await this.#decideTogether(shape, ops);
  }

  async #decideTogether(shape: TableShape, ops: readonly RowOp[], doubts: Doubts = {}): Promise<void> {
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
          return row === undefined || (await this.#decideRow(shape, op, row, doubts));
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
    { isLater, isUntold, onWon }: Doubts,
  ): Promise<boolean> {
    const version: Version = { hlc: op.last.source.hlc, origin: this.#origin };
    const { current } = row;
    const wins = this.#wins(row, version) && isLater?.(current) !== true;
    if (op.kind === 'remove') {
      if (wins) {
        if (current === null) this.#lookAgain(shape, op);
        else await this.transaction.erase(shape, op);
        await this.parking.drop(shape, op.key);
        this.kept.buried(shape, op.key, op.last);
        onWon?.('done');
      }
    } else if (wins) {
      const placing = await this.rows.place(shape, op, row, isUntold);
      if (placing === 'raced') return false;
      onWon?.(placing === 'untold' ? 'untold' : 'done');
    }
    this.judge.row(shape, op, row);
    return true;
  }

  #wins(row: StandingRow, version: Version): boolean {
    if (this.#isBehind !== null) return lateEventWins(row, version, this.#isBehind);
    return eventWins(row.current, row.tombstone, version) && !isParkedAbove(row.parked, version);
  }

  async #truncate(shape: TableShape, link: ChainLink): Promise<void> {
    const version: Version = { hlc: link.source.hlc, origin: this.#origin };
    this.judge.truncate(shape, link);
    const emptyTable = async (): Promise<void> =>
      await this.emptyTable(shape, link, ({ current, exact }) => {
        const row = { current, exact, tombstone: undefined, parked: undefined };
        return current !== null && this.#wins(row, version);
      });
    if (this.merging.isTracked(shape)) return await this.merging.truncate(shape, link, emptyTable);
    await emptyTable();
    this.kept.lookAgain(shape, EVERY_ROW, {}, version.hlc);
  }
}

/** The server is at work on the first while the others are put together. */
function piecesOf(ops: readonly RowOp[]): (readonly RowOp[])[] {
  const pieces: (readonly RowOp[])[] = [];
  for (let from = 0; from < ops.length; from += STATEMENT_ROWS_MAX)
    pieces.push(ops.slice(from, from + STATEMENT_ROWS_MAX));
  return pieces;
}

function byKey(a: RowOp, b: RowOp): number {
  return a.key < b.key ? -1 : 1;
}

function toRemoveRow(op: RowOp): { key: RowKey; pk: Image; hlc: Hlc } {
  return { key: op.key, pk: op.pk, hlc: op.last.source.hlc };
}

function toUpsertRow(op: RowOp): UpsertRow {
  const isNew = op.chain[0]?.event.operation === 'INSERT';
  return { key: op.key, pk: op.pk, image: op.image ?? {}, hlc: op.last.source.hlc, isNew };
}
