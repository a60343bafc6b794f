/**
 * Brings parked rows back once nothing above them is in their way.
 *
 * A parked row names the visible row that blocked it. As long as that row still conflicts with it, it stays: versions of a
 * row only grow. Else it is suspect, and is applied again as it was when it came: it may find another row above it, or take
 * its place and displace lower ones, which are looked at in turn. Changing whether a row is visible affects lower rows only,
 * and the highest suspect goes first, so it comes to an end, and the end is the same in every region.
 *
 * A row comes back in a transaction of its own origin, under its own version: within another origin's batch its tuple
 * would pass for that one's. It needs no note, since the marks cover it since it was parked. Where a foreground takes the value
 * in the same moment the table stays unsettled, and its turn comes again. A row that a constraint of this region alone does not
 * take is set aside like an event that cannot be applied, so that the others go on.
 */
import { hlcMicrosCeil } from '../../change/hlc.ts';
import { VERSION_ZERO } from '../../change/version.ts';
import { SynclineError, sqlStateOf } from '../../platform/errors.ts';
import type { ApplyPort, ApplyTransaction, ParkedRow, RowKey, TableShape } from '../apply-port.ts';
import type { BatchWriter } from '../batch/batch-writer.ts';
import type { ParkedKeys } from '../batch/parked-keys.ts';
import { isDataFault } from '../event-failure.ts';
import { isYielding } from '../yielding.ts';
import { stuckParkedEntry } from './stuck-row.ts';

/** Unique and exclusion constraints: what two rows that claim one value run into. */
const CLAIM_STATES = new Set(['23505', '23P01']);
/** Rows that are looked at, and that come back, at once. */
const PAGE_ROWS = 500;
const RELEASE_ROWS_MAX = 100;
/** How often a user can have been quicker than one row. */
const RACES_MAX = 16;
/** Transactions of one turn: then other streams have theirs. */
const RELEASES_MAX = 20;

export function isClaimViolation(error: unknown): boolean {
  return CLAIM_STATES.has(sqlStateOf(error) ?? '');
}

export type MakeWriter = (transaction: ApplyTransaction, origin: string) => BatchWriter;

export class ParkedSettler {
  readonly #port: ApplyPort;
  readonly #region: string;
  readonly #parked: ParkedKeys;
  readonly #makeWriter: MakeWriter;
  readonly #onStuck: (origin: string) => void;
  /** By row, how often in a row a user was quicker. */
  readonly #races = new Map<string, number>();

  /** `onStuck` is told whose row was set aside. */
  constructor(
    port: ApplyPort,
    region: string,
    parked: ParkedKeys,
    makeWriter: MakeWriter,
    onStuck: (origin: string) => void,
  ) {
    this.#onStuck = onStuck;
    this.#port = port;
    this.#region = region;
    this.#parked = parked;
    this.#makeWriter = makeWriter;
  }

  /**
   * Looks at the tables that are unsettled; returns how many parked rows were looked at closely. Throws what is wrong with a table, or
   * that a foreground lock is in the way, once all others are done.
   */
  async run(): Promise<number> {
    let released = 0;
    let refused: unknown = null;
    for (const { schema, table } of this.#parked.unsettled) {
      try {
        released += await this.#settleAnew(schema, table);
      } catch (error) {
        if (!isYielding(error) && !(error instanceof SynclineError && error.class === 'config')) throw error;
        if (refused === null || isYielding(refused)) refused = error;
      }
    }
    if (refused !== null) throw refused;
    return released;
  }

  /** The table may be another one than it was: what fails once is tried again with what it is now. */
  async #settleAnew(schema: string, table: string): Promise<number> {
    try {
      return await this.#settle(schema, table, false);
    } catch (error) {
      if (!isDataFault(error)) throw error;
      this.#port.forgetShapes();
      return await this.#settle(schema, table, true);
    }
  }

  /** `isAnew`: rows are set aside that a constraint does not take. */
  async #settle(schema: string, table: string, isAnew: boolean): Promise<number> {
    const shape = await this.#port.shape(schema, table);
    if (shape === null) {
      this.#parked.settled(schema, table);
      return 0;
    }
    let released = 0;
    // Whose key a user has inserted waits for the echo of that, which unsettles the table again.
    const waiting = new Set<RowKey>();
    for (let turn = 0; turn < RELEASES_MAX; turn += 1) {
      const suspects = await this.#suspects(shape, waiting, isAnew);
      if (suspects.length === 0) {
        this.#parked.settled(shape.schema, shape.table);
        break;
      }
      const together = withFirst(suspects);
      try {
        for (const key of await this.#release(shape, together)) waiting.add(key);
      } catch (error) {
        if (!isDataFault(error) || (!isAnew && !isClaimViolation(error))) throw error;
        if (await this.#setAsideStuck(shape, together, waiting)) break;
      }
      released += together.length;
    }
    return released;
  }

  /** Parked rows, the highest first, that the row named as their blocker is not in the way of. */
  async #suspects(shape: TableShape, waiting: ReadonlySet<RowKey>, isAnew: boolean): Promise<ParkedRow[]> {
    for (let above: ParkedRow | null = null; ; ) {
      const from: ParkedRow | null = above;
      let asked: ParkedRow[] = [];
      const looked = this.#asking(async (transaction) => {
        const page = await transaction.parkedBelow(shape, from, PAGE_ROWS);
        above = page.at(-1) ?? null;
        asked = page.filter(({ key }) => !waiting.has(key));
        return await suspectsAmong(transaction, shape, asked);
      });
      const suspects = isAnew ? await looked.catch((error) => this.#narrow(shape, asked, error)) : await looked;
      if (suspects.length > 0 || above === null) return suspects;
    }
  }

  /** One that cannot even be compared with the table as it is now is suspect: what releases it tells why. */
  async #narrow(shape: TableShape, rows: readonly ParkedRow[], error: unknown): Promise<ParkedRow[]> {
    if (!isDataFault(error)) throw error;
    if (rows.length <= 1) return [...rows];
    const half = rows.length >> 1;
    for (const part of [rows.slice(0, half), rows.slice(half)]) {
      const looked = this.#asking(async (transaction) => await suspectsAmong(transaction, shape, part));
      const suspects = await looked.catch((cause) => this.#narrow(shape, part, cause));
      if (suspects.length > 0) return suspects;
    }
    return [];
  }

  /** In a transaction that changes nothing. */
  async #asking<T>(ask: (transaction: ApplyTransaction) => Promise<T>): Promise<T> {
    const transaction = await this.#port.begin(this.#region, 1n);
    try {
      return await ask(transaction);
    } finally {
      await transaction.rollback();
    }
  }

  /** Somebody who is quicker every time is a row that cannot be seen: a constraint of one partition, or of an index made just now. */
  #isOutraced(name: string): boolean {
    const count = (this.#races.get(name) ?? 0) + 1;
    this.#races.set(name, count);
    return count > RACES_MAX;
  }

  /** Returns the keys of those that wait for an echo. */
  async #release(shape: TableShape, rows: readonly ParkedRow[]): Promise<RowKey[]> {
    const waiting: RowKey[] = [];
    const [first] = rows;
    if (first === undefined) return waiting;
    // What was there before replication began is nobody's event, and below all.
    const origin = first.origin === VERSION_ZERO.origin ? this.#region : first.origin;
    const transaction = await this.#port.begin(origin, first.hlc === VERSION_ZERO.hlc ? 1n : hlcMicrosCeil(first.hlc));
    const writer = this.#makeWriter(transaction, origin);
    try {
      for (const row of rows) if (!(await writer.rows.release(shape, row))) waiting.push(row.key);
      await writer.record(() => new Set());
      await transaction.commit();
    } catch (error) {
      await transaction.rollback();
      throw error;
    }
    this.#parked.changed(writer.parking.changes);
    return waiting;
  }

  /** Releases one after the other, for one of them at least is not taken; returns whether a user was quicker, who is looked for later. */
  async #setAsideStuck(shape: TableShape, rows: readonly ParkedRow[], waiting: Set<RowKey>): Promise<boolean> {
    for (const row of rows) {
      const name = `${shape.id} ${row.key}`;
      try {
        for (const key of await this.#release(shape, [row])) waiting.add(key);
      } catch (error) {
        if (isClaimViolation(error) && !this.#isOutraced(name)) return true;
        if (!isDataFault(error)) throw error;
        await this.#setAside(shape, row, error);
      }
      this.#races.delete(name);
    }
    return false;
  }

  async #setAside(shape: TableShape, row: ParkedRow, cause: unknown): Promise<void> {
    const entry = stuckParkedEntry(shape, row, this.#region, cause);
    const transaction = await this.#port.begin(this.#region, 1n);
    try {
      await transaction.dropParked(shape, [row.key]);
      await transaction.recordQuarantine([entry]);
      await transaction.commit();
    } catch (error) {
      await transaction.rollback();
      throw error;
    }
    const { schema, table } = shape;
    this.#parked.changed([{ schema, table, keys: new Map([[row.key, false]]) }]);
    this.#onStuck(entry.origin);
  }
}

async function suspectsAmong(
  transaction: ApplyTransaction,
  shape: TableShape,
  rows: readonly ParkedRow[],
): Promise<ParkedRow[]> {
  if (rows.length === 0) return [];
  const rivals = await transaction.rivals(shape, rows);
  return rows.filter(({ key, blocker }) => !rivals.get(key)?.some((rival) => rival.key === blocker));
}

/**
 * The first with those that follow it of the same origin. The transaction's stamp is that of the first, which is the
 * highest; a row whose exact version cannot be kept needs one that is exact.
 */
function withFirst(suspects: readonly ParkedRow[]): ParkedRow[] {
  const [first] = suspects;
  if (first === undefined) return [];
  if (first.position === null) return [first];
  const end = suspects.findIndex(({ origin, position }) => origin !== first.origin || position === null);
  return suspects.slice(0, Math.min(end < 0 ? suspects.length : end, RELEASE_ROWS_MAX));
}
