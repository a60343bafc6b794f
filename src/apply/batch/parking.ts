/**
 * Makes room for a row among those that claim the same values, within one transaction (`src/resolve/parking.ts` has the
 * rule).
 *
 * The visible rows that it conflicts with are locked and looked at with their exact versions. If one of them is above, the
 * row is parked; else they are all displaced: taken out of the table and parked with the versions that they had. Nothing
 * is written back to any stream, so no region's absence can hold it up; every region comes to the same by itself.
 *
 * What a displaced row frees, and what a parked one waits for, is looked at again afterwards (`parked-settler.ts`). A
 * foreground that takes a value between the look and the write shows as a unique violation; the attempt is made again.
 */
import { hash } from 'node:crypto';
import type { Image } from '../../change/change-event.ts';
import type { Position } from '../../change/position.ts';
import { compareVersions, isAbove, VERSION_ZERO, type Version } from '../../change/version.ts';
import { fail } from '../../platform/errors.ts';
import type { ApplyTransaction, ParkedRow, RowKey, TableShape, Tuple, VersionEntry } from '../apply-port.ts';
import type { IsBehind } from '../decide.ts';
import type { KeyedRow, Stand, StandingRow } from '../history/standing-row.ts';
import type { ParkedChange, ParkedKeys } from './parked-keys.ts';

/** How often the rivals of a row are looked for that the foreground changes between look and lock. */
const RACES_MAX = 16;

/** A row on its way into a table. */
export type ArrivingRow = KeyedRow & {
  readonly image: Image;
  readonly version: Version;
  readonly position: Position | null;
  readonly event_id: string | null;
};

/** What stands in the way of a row. */
export type Blocking = { readonly key: RowKey; readonly isUntold: boolean };

/** Whether a tuple is a user's write of which the version is not known before its echo, which is yet to come. */
export type IsUntold = (tuple: Tuple) => boolean;

/**
 * Parked rows of a TRUNCATE's own version that came before it in their transaction. In an echo, one that was parked before is what the
 * transaction left behind the TRUNCATE, and one that the echo itself has parked came before it. Of a TRUNCATE that comes late,
 * each is asked about.
 */
export type RowsOfOne = 'all' | 'parked here' | IsBehind;

type Rival = KeyedRow & {
  readonly row: StandingRow;
  readonly version: Version;
  readonly own: VersionEntry | undefined;
};

/** What parking asks of whoever writes the transaction. */
export type ParkingView = {
  readonly origin: string;
  /** Locks rows and tells how they stand. */
  readonly stand: Stand;
  /** The version of a tuple that this transaction wrote. */
  ownVersion(shape: TableShape, key: RowKey): VersionEntry | undefined;
};

/** Names a row alike in all regions, as a UUID. */
export function parkedId(tableId: string, key: RowKey): string {
  const digest = hash('sha256', `parked ${tableId} ${key}`, 'hex');
  return `${digest.slice(0, 8)}-${digest.slice(8, 12)}-8${digest.slice(13, 16)}-a${digest.slice(17, 20)}-${digest.slice(20, 32)}`;
}

/** As `downwards` in `src/resolve/parking.ts` has it; what one transaction wrote is in the order of its changes. */
function takesPlaceBefore(rival: Rival, arriving: ArrivingRow): boolean {
  const order = compareVersions(rival.version, arriving.version);
  if (order !== 0) return order > 0;
  const isOfOne = rival.own !== undefined && rival.own.position === arriving.position;
  return !isOfOne && rival.key < arriving.key;
}

export class Parking {
  readonly #transaction: ApplyTransaction;
  readonly #known: ParkedKeys;
  readonly #displaced = new Map<string, Tuple>();
  readonly #view: ParkingView;
  /** By table. */
  readonly #changes = new Map<string, ParkedChange>();

  constructor(transaction: ApplyTransaction, known: ParkedKeys, view: ParkingView) {
    this.#transaction = transaction;
    this.#known = known;
    this.#view = view;
  }

  /** What this transaction parks and takes back. */
  get changes(): Iterable<ParkedChange> {
    return this.#changes.values();
  }

  /** The row with that key that this transaction took out of its table to make room. */
  displaced(shape: TableShape, key: RowKey): Tuple | undefined {
    return this.#displaced.get(`${shape.id} ${key}`);
  }

  /** Whether this transaction parked it. */
  isParkedHere(shape: TableShape, key: RowKey): boolean {
    return this.#changes.get(shape.id)?.keys.get(key) === true;
  }

  isParked(shape: TableShape, key: RowKey): boolean {
    return this.#changes.get(shape.id)?.keys.get(key) ?? this.#known.of(shape).has(key);
  }

  /** Whether any row of the table is parked, or was at the transaction's begin. */
  concerns(shape: TableShape): boolean {
    return this.#changes.has(shape.id) || this.#known.of(shape).size > 0;
  }

  async find(shape: TableShape, keys: readonly RowKey[]): Promise<Map<RowKey, ParkedRow>> {
    const parked = keys.filter((key) => this.isParked(shape, key));
    return parked.length === 0 ? new Map() : await this.#transaction.parked(shape, parked);
  }

  async drop(shape: TableShape, key: RowKey): Promise<void> {
    if (!this.isParked(shape, key)) return;
    await this.#transaction.dropParked(shape, [key]);
    this.#change(shape, key, false);
  }

  /** What a TRUNCATE of that version does to parked rows; `ofOne` tells which of those that its own transaction left go as well. */
  async dropBelow(shape: TableShape, version: Version, ofOne: RowsOfOne): Promise<readonly ParkedRow[]> {
    if (!this.concerns(shape)) return [];
    const parkedHere = [...(this.#changes.get(shape.id)?.keys ?? [])].filter(([, isParked]) => isParked);
    const dropped = await this.#transaction.dropParkedBelow(shape, version, ofOne === 'all');
    for (const { key } of dropped) this.#change(shape, key, false);
    if (ofOne === 'all') return dropped;
    const isLate = ofOne !== 'parked here';
    const found = await this.find(shape, isLate ? [...this.#known.of(shape)] : parkedHere.map(([key]) => key));
    const own = [...found.values()].filter(
      (parked) => compareVersions(parked, version) === 0 && (!isLate || ofOne(parked.event_id)),
    );
    for (const { key } of own) await this.drop(shape, key);
    return [...dropped, ...own];
  }

  async park(shape: TableShape, arriving: ArrivingRow, blocker: RowKey): Promise<void> {
    const { version, ...row } = arriving;
    await this.#transaction.putParked(shape, [{ ...row, ...version, blocker }]);
    this.#change(shape, row.key, true);
  }

  /**
   * Null once no visible row conflicts with the row; else the highest that is above it, or one that is still to be told by its
   * echo. SYN-A011 where there is none, and a row would be parked whose time is forgotten.
   */
  async makeRoom(shape: TableShape, arriving: ArrivingRow, isUntold: IsUntold): Promise<Blocking | null> {
    const rivals = await this.#rivals(shape, arriving);
    let blocker: Rival | null = null;
    for (const rival of rivals) {
      if (!takesPlaceBefore(rival, arriving)) continue;
      if (blocker === null || isAbove(rival.version, blocker.version)) blocker = rival;
    }
    if (blocker !== null) return { key: blocker.key, isUntold: false };
    const untold = rivals.find(({ row: { current } }) => current !== null && isUntold(current.tuple));
    if (untold !== undefined) return { key: untold.key, isUntold: true };
    // Parked rows are told apart by their versions: one whose version nobody knows here must not come among others.
    const unknown = rivals.find(({ row }) => row.current?.tuple.forgotten === true);
    if (unknown !== undefined && this.concerns(shape)) throw this.#forgotten(shape, unknown.key);
    for (const rival of rivals) await this.#displace(shape, rival, arriving.key);
    return null;
  }

  /** The rows in the way, locked: what is found is found once more under the locks. */
  async #rivals(shape: TableShape, arriving: ArrivingRow): Promise<Rival[]> {
    const locked = new Map<RowKey, Rival>();
    for (let races = 0; races < RACES_MAX; races += 1) {
      const found = (await this.#transaction.rivals(shape, [arriving])).get(arriving.key) ?? [];
      const unknown = found.filter(({ key }) => !locked.has(key));
      if (unknown.length === 0) return found.flatMap(({ key }) => locked.get(key) ?? []);
      const standing = await this.#view.stand(shape, unknown);
      for (const { key, pk } of unknown) {
        const row = standing.get(key);
        if (row === undefined || row.current === null) continue;
        const own = row.current.tuple.own ? this.#view.ownVersion(shape, key) : undefined;
        locked.set(key, { key, pk, row, own, version: this.#versionOf(row.current, own) });
      }
    }
    throw fail('SYN-A008', `rows of ${shape.id} changed ${RACES_MAX} times while they were looked at`);
  }

  #versionOf(current: NonNullable<StandingRow['current']>, own: VersionEntry | undefined): Version {
    if (!current.tuple.own) return current.version;
    return own === undefined ? VERSION_ZERO : { hlc: own.hlc, origin: this.#view.origin };
  }

  async #displace(shape: TableShape, { key, pk, row, version, own }: Rival, blocker: RowKey): Promise<void> {
    const { current, exact, tombstone } = row;
    if (current === null) return;
    await this.#transaction.erase(shape, { key, pk });
    this.#displaced.set(`${shape.id} ${key}`, current.tuple);
    // A row that was removed elsewhere, or is parked with a later image, may still be on its way out of the table.
    if (tombstone !== undefined && isAbove(tombstone, version)) return;
    const known = own ?? exact;
    const { image } = current.tuple;
    const position = known?.position ?? null;
    await this.park(shape, { key, pk, image, version, position, event_id: known?.event_id ?? null }, blocker);
  }

  #forgotten(shape: TableShape, key: RowKey): Error {
    const { origin } = this.#view;
    const detail = `the row ${key} of ${shape.id} would be parked, and this region has forgotten when it was written`;
    return fail('SYN-A011', detail, { context: { origin, table: shape.id } });
  }

  #change({ id, schema, table }: TableShape, key: RowKey, isParked: boolean): void {
    const known = this.#changes.get(id) ?? { schema, table, keys: new Map<RowKey, boolean>() };
    this.#changes.set(id, known);
    known.keys.set(key, isParked);
  }
}
