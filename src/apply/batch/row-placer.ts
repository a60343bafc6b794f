/**
 * Brings single rows into their table, or parks them.
 *
 * Where a row claims a value of a higher row it is parked; the lower rows that have values of its own make room
 * (`parking.ts`). A foreground that inserts the key between look and write shows as `raced`, and the row is looked at again.
 */
import { type ChangeEvent, eventPosition } from '../../change/change-event.ts';
import { isAbove, type Version } from '../../change/version.ts';
import { fail, SynclineError } from '../../platform/errors.ts';
import type { ApplyTransaction, LookAgain, ParkedRow, TableShape } from '../apply-port.ts';
import { type Current, echoTakes } from '../decide.ts';
import type { Side } from '../history/conflicts.ts';
import type { Stand, StandingRow } from '../history/standing-row.ts';
import type { RowOp } from '../net-change.ts';
import type { BatchRecord } from './batch-record.ts';
import type { ArrivingRow, IsUntold, Parking } from './parking.ts';

/** How often a row is looked at again that the foreground changes between look and write. */
export const RACES_MAX = 16;

/**
 * What became of a row that was to be written. `raced`: the foreground inserted one first, so it has to be looked at again.
 * `untold`: it is parked for as long as only an echo that is yet to come can tell which of two rows is above the other.
 */
export type Placing = 'placed' | 'parked' | 'raced' | 'untold';

export type RowPlacerOptions = {
  readonly transaction: ApplyTransaction;
  readonly origin: string;
  readonly parking: Parking;
  readonly stand: Stand;
  readonly record: BatchRecord;
  /** Whether every table with claims takes the slow path. */
  readonly exact: boolean;
};

export class RowPlacer {
  readonly #options: RowPlacerOptions;

  constructor(options: RowPlacerOptions) {
    this.#options = options;
  }

  /** Whether rows are asked for whose values they claim before they are written one by one. */
  asks(shape: TableShape): boolean {
    const { exact, parking } = this.#options;
    return (shape.hasClaims && exact) || parking.concerns(shape);
  }

  /** Writes a row that wins over what stands under its key; where it claims a value of a higher row, it is parked instead. */
  async place(
    shape: TableShape,
    op: Pick<RowOp, 'key' | 'pk' | 'image' | 'last'>,
    row: StandingRow,
    isUntold: IsUntold = allIsTold,
  ): Promise<Placing> {
    const { origin, record } = this.#options;
    const { source, event } = op.last;
    const arriving = {
      key: op.key,
      pk: op.pk,
      image: op.image ?? {},
      version: { hlc: source.hlc, origin },
      position: source.position,
      event_id: event.event_id,
    };
    const placing = await this.#settleIn(shape, row, arriving, isUntold);
    if (placing === 'placed') record.wrote(shape, op.key, op.last);
    if (placing === 'parked' || placing === 'untold') record.parked(shape, op.key, op.last);
    return placing;
  }

  /**
   * Puts a row of this region back that was taken for older than it is, or was decided by an operator while a user had its key; where
   * neither a later local write nor anything of a higher version is there, or was removed. Returns what of a higher version is. Where
   * a user's row has a value of it that is from after the look was ripe, it is looked at once more.
   */
  async restore(
    shape: TableShape,
    { key, pk, version }: LookAgain,
    event: ChangeEvent,
    isUntold: IsUntold,
  ): Promise<Side | null> {
    const row = (await this.#options.stand(shape, [{ key, pk }])).get(key);
    if (row === undefined) return null;
    const { current, tombstone, parked, exact } = row;
    for (const above of [tombstone, parked]) {
      if (above === undefined || !isAbove(above, version)) continue;
      const image = 'image' in above ? above.image : null;
      return { version: { hlc: above.hlc, origin: above.origin }, event_id: above.event_id, image };
    }
    if (current !== null && !echoTakes(current, version) && !decisionTakes(current, event, version, isUntold)) {
      const { tuple } = current;
      return tuple.local ? null : { version: current.version, event_id: exact?.event_id ?? null, image: tuple.image };
    }
    const { event_id } = event;
    const position = eventPosition(event);
    const image = event.after_image ?? {};
    const { record } = this.#options;
    const placing = await this.#settleIn(shape, row, { key, pk, image, version, position, event_id }, isUntold);
    if (placing === 'placed') record.cameBack(shape, { key, hlc: version.hlc, position, event_id });
    if (placing === 'untold') record.putBack(shape, { key, pk, version, event });
    return null;
  }

  /**
   * Applies a parked row again; one that something newer stands above is parked no more. False where a user has inserted
   * its key: which of the two is later the echo of that tells. And where the time of a row in its way is forgotten: it waits until
   * that one is written again.
   */
  async release(shape: TableShape, { hlc, origin, blocker: _, ...parked }: ParkedRow): Promise<boolean> {
    const { stand, parking, record } = this.#options;
    const version: Version = { hlc, origin };
    const { key, position, event_id } = parked;
    for (let races = 0; races < RACES_MAX; races += 1) {
      const row = (await stand(shape, [parked])).get(key);
      if (row?.parked === undefined) return true;
      const { current, tombstone } = row;
      if (current?.tuple.local === true) return false;
      const isOutdated =
        (tombstone !== undefined && isAbove(tombstone, version)) ||
        (current !== null && !isAbove(version, current.version));
      if (isOutdated) {
        await parking.drop(shape, key);
        return true;
      }
      const placing = await this.#settleIn(shape, row, { ...parked, version }, allIsTold).catch(waitsForWrite);
      if (placing === 'unknown') return false;
      if (placing === 'placed' && position !== null && event_id !== null) {
        record.cameBack(shape, { key, hlc, position, event_id });
      }
      if (placing !== 'raced') return true;
    }
    throw fail('SYN-A008', `a row of ${shape.id} changed ${RACES_MAX} times while it was looked at`);
  }

  /** Brings a row into the table, or parks it; what is kept of that is the caller's to say. */
  async #settleIn(
    shape: TableShape,
    { current, parked }: StandingRow,
    arriving: ArrivingRow,
    isUntold: IsUntold,
  ): Promise<Placing> {
    const { transaction, parking } = this.#options;
    const { key, pk, image, version } = arriving;
    if (this.asks(shape)) {
      // An image may lack columns that did not change.
      const whole = { ...(current?.tuple.image ?? parked?.image), ...image };
      const blocking = await parking.makeRoom(shape, { ...arriving, image: whole }, isUntold);
      if (blocking !== null) {
        if (current !== null) await transaction.erase(shape, { key, pk });
        // What the database computes is left out, as it is of a tuple that is displaced: regions park the same.
        const kept = Object.fromEntries(Object.entries(whole).filter(([column]) => shape.columns.includes(column)));
        await parking.park(shape, { ...arriving, image: kept }, blocking.key);
        return blocking.isUntold ? 'untold' : 'parked';
      }
    }
    const written = { key, pk, image: { ...parked?.image, ...image }, hlc: version.hlc };
    if (current !== null) await transaction.overwrite(shape, { ...written, image });
    else if (!(await transaction.insert(shape, written))) return 'raced';
    if (parked !== undefined) await parking.drop(shape, key);
    return 'placed';
  }
}

/** A user's row is below the decision of an operator that came after it, once the stream has told both. */
function decisionTakes(
  { tuple, version }: NonNullable<Current>,
  { operator }: ChangeEvent,
  decided: Version,
  isUntold: IsUntold,
): boolean {
  return operator === true && tuple.local && !tuple.foreign && !isUntold(tuple) && isAbove(decided, version);
}

const allIsTold: IsUntold = () => false;

function waitsForWrite(error: unknown): 'unknown' {
  if (error instanceof SynclineError && error.code === 'SYN-A011') return 'unknown';
  throw error;
}
