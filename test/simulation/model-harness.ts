/** The model of PostgreSQL as the contract suite of the apply port wants a database. */

import type { ApplyPort, ConflictEntry } from '../../src/apply/apply-port.ts';
import type { Image } from '../../src/change/change-event.ts';
import type { Hlc } from '../../src/change/hlc.ts';
import {
  type ApplyPortHarness,
  type Foreground,
  type HarnessOptions,
  type KvRow,
  type KvTuple,
  UNSTAMPED_ROW,
} from '../support/apply-port-harness.ts';
import { ModelApplyPort } from './model-apply-port.ts';
import { ModelDatabase, type Slot } from './model-database.ts';
import { ModelSession } from './model-foreground.ts';
import { EPOCH, ModelStore, modelShape } from './model-store.ts';
import { type Step, sqlError, type Transaction } from './model-transaction.ts';

const REGION = 'home';
const TABLE = 'kv';
/** A clock that starts in 2026 and moves on whenever it is read; Unix µs. */
const START_MICROS = 1_767_225_600_000_000n;
const TURNS_MAX = 1_000;

/** Nothing is scheduled: every statement runs on as far as locks let it. */
const unscheduled: Step = async () => {};

class ModelUser implements Foreground {
  readonly session: ModelSession;
  #isInTransaction = false;

  constructor(session: ModelSession) {
    this.session = session;
  }

  async begin(): Promise<void> {
    this.#isInTransaction = true;
  }

  async insert(row: KvRow): Promise<void> {
    await this.#statement(() => this.session.insert(TABLE, String(row.id), toImage(row)));
  }

  async update(id: number, change: Partial<Omit<KvRow, 'id'>>): Promise<number> {
    return await this.#statement(() => this.session.update(TABLE, String(id), (image) => ({ ...image, ...change })));
  }

  async changeKey(id: number, to: number): Promise<number> {
    return await this.#statement(() => this.session.changeKey(TABLE, String(id), String(to)));
  }

  async delete(id: number): Promise<number> {
    return await this.#statement(() => this.session.delete(TABLE, String(id)));
  }

  async truncate(): Promise<void> {
    await this.#statement(() => this.session.truncate(TABLE));
  }

  async lock(id: number, strength: 'update' | 'key share'): Promise<void> {
    await this.#statement(() => this.session.lockRow(TABLE, String(id), strength));
  }

  async foreignOrigin(stampMicros: bigint): Promise<void> {
    this.session.foreignOrigin(stampMicros);
  }

  async savepoint(name: string): Promise<void> {
    this.session.savepoint(name);
  }

  async rollbackTo(name: string): Promise<void> {
    this.session.rollbackTo(name);
  }

  async commit(): Promise<void> {
    this.#isInTransaction = false;
    await this.session.commit();
  }

  async rollback(): Promise<void> {
    this.#isInTransaction = false;
    this.session.rollback();
  }

  async xid(): Promise<number> {
    const xid = this.session.transaction?.xid;
    if (xid === undefined) throw new Error('the session has no transaction open');
    return xid;
  }

  async #statement<T>(run: () => Promise<T>): Promise<T> {
    const result = await run();
    if (!this.#isInTransaction) await this.session.commit();
    return result;
  }
}

class ModelHarness implements ApplyPortHarness {
  readonly region = REGION;
  readonly #database: ModelDatabase;
  readonly #store = new ModelStore();
  readonly #port: ModelApplyPort;

  constructor(signs: boolean) {
    let now = START_MICROS;
    this.#database = new ModelDatabase(REGION, () => {
      now += 1n;
      return now;
    });
    this.#database.table(TABLE);
    this.#port = new ModelApplyPort(this.#database, this.#store, unscheduled, { signs });
  }

  get port(): ApplyPort {
    return this.#port;
  }

  /** A row whose commit timestamp is gone. */
  addUnstamped(row: KvRow): void {
    const transaction = this.#database.begin({ writer: REGION, local: true, stampMicros: null });
    const slot = this.#slot(row.id);
    this.#database.hold(slot, transaction, 'write');
    this.#database.put(slot, transaction, toImage(row));
    this.#database.enterWal(transaction);
    this.#database.becomeVisible(transaction);
  }

  async foreground(): Promise<Foreground> {
    return new ModelUser(new ModelSession(this.#database, unscheduled));
  }

  async rows(): Promise<KvRow[]> {
    const rows: KvRow[] = [];
    for (const { tuple } of this.#database.table(TABLE).slots.values()) {
      if (tuple !== null) rows.push(toRow(tuple.image));
    }
    return rows.sort((a, b) => a.id - b.id);
  }

  async tuple(id: number): Promise<KvTuple | null> {
    const { tuple } = this.#slot(id);
    if (tuple === null) return null;
    return { xid: tuple.xid, ...this.#store.written(tuple.writer, REGION) };
  }

  async walPosition(): Promise<bigint> {
    return this.#database.nextLsn();
  }

  async beginStream(): Promise<void> {
    this.#database.beginStream();
  }

  async tellRows(above: Hlc | null): Promise<void> {
    const { id } = modelShape('public', TABLE);
    if (above === null) this.#store.holds.delete(id);
    else this.#store.holds.set(id, { above, generation: 1, epoch: EPOCH });
  }

  async blocked(who: 'port' | Foreground): Promise<void> {
    const transaction = (): Transaction | null =>
      who instanceof ModelUser ? who.session.transaction : this.#port.transaction;
    for (let turns = 0; transaction()?.waitsFor == null; turns += 1) {
      if (turns === TURNS_MAX) throw new Error(`${who === 'port' ? who : 'the session'} waits for no lock`);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async expireLockWait(): Promise<void> {
    // A wait that ended by itself, as in a deadlock, needs no end.
    await new Promise((resolve) => setImmediate(resolve));
    this.#port.transaction?.expire?.(sqlError('55P03', 'canceling statement due to lock timeout'));
  }

  async conflicts(): Promise<ConflictEntry[]> {
    return [...this.#store.conflicts.values()].sort((a, b) => (a.conflict_id < b.conflict_id ? -1 : 1));
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  #slot(id: number): Slot {
    return this.#database.table(TABLE).slot(String(id));
  }
}

function toImage({ id, v, u }: KvRow): Image {
  return { id: String(id), v, u };
}

function toRow(image: Image): KvRow {
  return { id: Number(image.id), v: image.v ?? null, u: image.u ?? null };
}

export async function makeModelHarness(options: HarnessOptions): Promise<ApplyPortHarness> {
  const harness = new ModelHarness(options.signs === true);
  if (options.unstamped === true) harness.addUnstamped(UNSTAMPED_ROW);
  return harness;
}
