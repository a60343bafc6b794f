/**
 * What really happened in a region's database, told by the database itself and not by what the agent believes: who
 * wrote each row in which order, and which part of which stream each transaction applied.
 *
 * What can be judged at the moment of a commit is judged here: an event is applied once, in the transaction that moves
 * the mark, and an echo leaves local writes alone.
 */
import { EVERY_ROW } from '../../src/apply/apply-port.ts';
import { hlcFromMicros } from '../../src/change/hlc.ts';
import { type Position, positionLsn } from '../../src/change/position.ts';
import type { Version } from '../../src/change/version.ts';
import type { Failure } from './invariants.ts';
import type { RowWrite } from './model-database.ts';
import { MERGED, modelShape, rowName } from './model-store.ts';
import type { Applies, Transaction } from './model-transaction.ts';

/** One write of a row: by a user's transaction at this place in the WAL, or by the lane for this event. */
export type RowHistoryEntry =
  | { readonly local: true; readonly lsn: bigint }
  /** `position` is null where the transaction does not tell it, or only brings back what had been applied before. */
  | { readonly local: false; readonly origin: string; readonly position: Position | null };

/** What the region's database says of parked rows. */
export type ParkingTruth = {
  /** Whether that row is parked. */
  readonly isParked: (row: string) => boolean;
  /** Whether an operator decided about a parked row there. */
  readonly isDecision: (position: Position) => boolean;
  /** The applied removal that stands over a row; undefined for none. */
  readonly removalOf: (row: string) => (Version & { readonly position: Position }) | undefined;
};

const MERGED_ROWS = rowName(modelShape('public', MERGED), '');

export class RegionTruth {
  /** By `rowName`, in the order of commits. */
  readonly rows = new Map<string, RowHistoryEntry[]>();
  readonly #region: string;
  readonly #latestMicros: () => bigint;
  readonly #fail: (failure: Failure) => void;
  readonly #parking: ParkingTruth;
  readonly #applied = new Map<string, Position>();
  /** Where in the WAL the marks of others moved on, and how far. */
  #moves: { readonly origin: string; readonly to: Position; readonly lsn: bigint; readonly noteLsn: bigint }[] = [];

  readonly #isLost: (position: Position) => boolean;

  /** `isLost` tells what of the own stream the database has not made; nothing is applied that is stamped above `latestMicros`. */
  constructor(
    region: string,
    isLost: (position: Position) => boolean,
    latestMicros: () => bigint,
    fail: (failure: Failure) => void,
    parking: ParkingTruth,
  ) {
    this.#parking = parking;
    this.#isLost = isLost;
    this.#region = region;
    this.#latestMicros = latestMicros;
    this.#fail = fail;
  }

  /** What is true of the disk as it is now, to come back to. */
  snapshot(): () => void {
    const rows = [...this.rows].map(([row, history]) => [row, [...history]] as const);
    const applied = [...this.#applied];
    const moves = [...this.#moves];
    return () => {
      this.#moves = [...moves];
      this.rows.clear();
      for (const [row, history] of rows) this.rows.set(row, [...history]);
      this.#applied.clear();
      for (const [origin, position] of applied) this.#applied.set(origin, position);
    };
  }

  /** How far that stream was applied by batches that are noted below that place; null for not at all. */
  notedBelow(lsn: bigint, stream: string): Position | null {
    let reached: Position | null = null;
    for (const { origin, to, noteLsn } of this.#moves) {
      if (origin === stream && noteLsn < lsn && (reached === null || to > reached)) reached = to;
    }
    return reached;
  }

  becameVisible(transaction: Transaction, writes: readonly RowWrite[]): void {
    const { applies } = transaction;
    if (applies !== null) {
      this.#checkApplied(applies);
      this.#checkLead(applies, transaction.kind.stampMicros ?? 0n);
      const { origin, mark, noteLsn } = applies;
      const { lsn } = transaction;
      if (mark !== null && lsn !== null) this.#moves.push({ origin, to: mark.to, lsn, noteLsn: noteLsn ?? lsn });
    }
    for (const write of writes) {
      const { slot } = write;
      const table = modelShape('public', slot.table.name);
      const row = rowName(table, JSON.stringify([slot.key]));
      const position = applies?.rows.get(row) ?? applies?.rows.get(rowName(table, EVERY_ROW)) ?? null;
      const isEcho = applies?.origin === this.#region && (position === null || !this.#isLost(position));
      // The row of a table that merges is brought to its fold by whatever comes.
      if (slot.table.name !== MERGED) {
        // Users who empty a table free what is parked there; it shows until that is echoed.
        const isFreed = applies?.mark === null && applies.unparked.has(row);
        if (isEcho && !isFreed) this.#checkEcho(row, write, position, applies?.mark === null);
        if (applies !== null && applies.mark === null) this.#checkLook(row, write);
      }
      const history = this.rows.get(row) ?? [];
      this.rows.set(row, history);
      if (applies !== null) {
        history.push({ local: false, origin: applies.origin, position: applies.mark === null ? null : position });
      } else if (transaction.lsn !== null) history.push({ local: true, lsn: transaction.lsn });
    }
  }

  /** An event that is too far ahead of the local clock is held. */
  #checkLead({ origin, mark }: Applies, stampMicros: bigint): void {
    if (origin === this.#region || mark === null || stampMicros <= this.#latestMicros()) return;
    const message = `${this.#region}: ${origin} at ${mark.to} is applied though it is ${stampMicros - this.#latestMicros()} µs too far ahead`;
    this.#fail({ invariant: 'held', message });
  }

  #checkApplied({ origin, mark, rows }: Applies): void {
    const last = this.#applied.get(origin) ?? null;
    const told = `${this.#region}: ${origin}`;
    if (mark === null) {
      // Looking again may put back what was applied before, and nothing else. A row that merges then shows its fold, in which
      // another region may have the last word.
      const isNew = [...rows].some(
        ([row, position]) => !row.startsWith(MERGED_ROWS) && (last === null || position > last),
      );
      if (isNew) this.#fail({ invariant: 'applied-once', message: `${told} is applied without its mark` });
      return;
    }
    const { from, to } = mark;
    if (from !== last || (last !== null && to <= last)) {
      this.#fail({ invariant: 'applied-once', message: `${told} goes from ${from} to ${to}, and stood at ${last}` });
    }
    for (const [row, position] of rows) {
      if (position <= to && (from === null || position > from)) continue;
      const message = `${told} at ${position} on ${row} is applied between ${from} and ${to}`;
      this.#fail({ invariant: 'applied-once', message });
    }
    this.#applied.set(origin, to);
  }

  /** A second look takes no local write that was made after the removal was here. */
  #checkLook(row: string, { before, after }: RowWrite): void {
    if (before === null || after !== null || !before.writer.kind.local || this.#parking.isParked(row)) return;
    // What is in no stream has no stamp but its commit's, whatever it had seen.
    if (before.writer.isUnpublished) return;
    // Room may be made for a row above it, and what was removed elsewhere is not parked.
    if (before.image.u != null || before.image.w != null) return;
    const removal = this.#parking.removalOf(row);
    if (removal === undefined || removal.origin === this.#region) return;
    const { lsn } = this.#moves.find(({ origin, to }) => origin === removal.origin && to >= removal.position) ?? {};
    if (lsn === undefined || before.writer.lsn === null || before.writer.lsn < lsn) return;
    const what = `the removal by ${removal.origin} at ${removal.position}, applied at ${lsn}`;
    const message = `${this.#region}: ${what}, takes the local write at ${before.writer.lsn} of ${row}`;
    this.#fail({ invariant: 'looks', message });
  }

  #isToBeEchoed(lsn: bigint): boolean {
    const echoed = this.#applied.get(this.#region);
    return echoed === undefined || lsn > positionLsn(echoed);
  }

  /** An echo replaces a local tuple only with what that very transaction left of the row. */
  #checkEcho(row: string, { before, after }: RowWrite, position: Position | null, isLook: boolean): void {
    const last = this.rows.get(row)?.at(-1);
    const isDecision = position !== null && this.#parking.isDecision(position);
    // A parked row that an operator brings back may show until the echo of a later removal, as any that its blocker frees.
    const isUndone = before === null && last?.local === true && position !== null && last.lsn > positionLsn(position);
    // A row that is put back after a while is gone, and by whom a removal does not tell before its own echo.
    const isUntold = isLook && last?.local === true && this.#isToBeEchoed(last.lsn);
    if (isUndone && !isDecision && !isUntold) {
      const message = `${this.#region}: the echo of ${position} undoes the local removal at ${last.lsn} of ${row}`;
      this.#fail({ invariant: 'echo', message });
    }
    if (before === null || !before.writer.kind.local) return;
    // Room is made for a row above it: it waits, or one of its key that is above it does.
    if (after === null && this.#parking.isParked(row)) return;
    // By a stamp that is pushed only with its echo, a displaced row can seem to be removed elsewhere: then it is not parked, and
    // its echo puts it back.
    const claims = before.image.u != null || before.image.w != null;
    // That of another tool says nothing till then.
    const stamp = before.writer.foreign ? 0n : hlcFromMicros(before.writer.stampMicros ?? 0n);
    const seemsRemoved = (this.#parking.removalOf(row)?.hlc ?? -1n) >= stamp;
    if (after === null && position === null && claims && seemsRemoved) return;
    // What an operator decided is no write of a tuple: it takes the place of any that came before it, if need be at a second look.
    const removal = after === null ? this.#parking.removalOf(row) : undefined;
    const decided = position ?? (removal?.origin === this.#region ? removal.position : null);
    if (
      decided !== null &&
      this.#parking.isDecision(decided) &&
      before.writer.lsn !== null &&
      before.writer.lsn < positionLsn(decided)
    )
      return;
    // The lane goes by commit timestamps, which later transactions can share; what users see must not change by that.
    if (
      after !== null &&
      after.image.v === before.image.v &&
      after.image.u === before.image.u &&
      after.image.w === before.image.w
    ) {
      return;
    }
    const what = `the echo of ${position} replaces the local write at ${before.writer.lsn}`;
    this.#fail({ invariant: 'echo', message: `${this.#region}: ${what} of ${row}` });
  }
}
