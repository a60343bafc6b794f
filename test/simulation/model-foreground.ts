/** A user's session on the model: statements one by one, as an application sends them. */
import type { RowChange } from '../../src/capture/publish/decoded-transaction.ts';
import type { Image } from '../../src/change/change-event.ts';
import { type Hlc, hlcToText } from '../../src/change/hlc.ts';
import type { RowClaim } from '../../src/transfer/row-claim.ts';
import type { LockStrength, ModelDatabase, ModelTable, Slot } from './model-database.ts';
import type { KeptParked } from './model-store.ts';
import { type CommitPause, type ModelTuple, type Step, sqlError, type Transaction } from './model-transaction.ts';

export class ModelSession {
  readonly #database: ModelDatabase;
  readonly #step: Step;
  readonly #generation: number;
  #transaction: Transaction | null = null;
  #ending: Transaction | null = null;
  #foreignMicros = 0n;

  constructor(database: ModelDatabase, step: Step) {
    this.#database = database;
    this.#step = step;
    this.#generation = database.generation;
  }

  get transaction(): Transaction | null {
    return this.#transaction;
  }

  /** The client dies: a COMMIT whose record is written is carried out, everything else is rolled back. */
  abandon(): void {
    const transaction = this.#transaction ?? this.#ending;
    if (transaction === null) return;
    if (transaction.state === 'committing') this.#database.becomeVisible(transaction);
    else this.#database.abort(transaction);
  }

  async insert(table: string, key: string, image: Image): Promise<void> {
    await this.#run('insert', table, async (transaction, model) => {
      const slot = model.slot(key);
      await this.#insertAt(slot, transaction);
      await this.#database.checkUnique(slot, image, transaction, this.#resumed);
      this.#database.put(slot, transaction, image);
      this.#changed(transaction, { table, operation: 'INSERT', before: null, after: image });
    });
  }

  /** How many rows were updated: one, or none where the row is absent. */
  async update(table: string, key: string, change: (image: Image) => Image): Promise<number> {
    return await this.#run('update', table, async (transaction, model) => {
      const slot = await this.#lockExisting(model, key, transaction, 'write');
      if (slot === null) return 0;
      const before = this.#database.newest(slot, transaction)?.image ?? {};
      const after = change(before);
      await this.#database.checkUnique(slot, after, transaction, this.#resumed);
      this.#database.put(slot, transaction, after);
      this.#changed(transaction, { table, operation: 'UPDATE', before, after });
      return 1;
    });
  }

  async changeKey(table: string, key: string, to: string): Promise<number> {
    return await this.#run('change key', table, async (transaction, model) => {
      const from = await this.#lockExisting(model, key, transaction, 'key');
      if (from === null) return 0;
      const before = this.#database.newest(from, transaction)?.image ?? {};
      const after = { ...before, id: to };
      const target = model.slot(to);
      if (target !== from) {
        await this.#insertAt(target, transaction);
        this.#database.put(from, transaction, null);
      }
      this.#database.put(target, transaction, after);
      this.#changed(transaction, { table, operation: 'UPDATE', before, after });
      return 1;
    });
  }

  async delete(table: string, key: string): Promise<number> {
    return await this.#run('delete', table, async (transaction, model) => {
      const slot = await this.#lockExisting(model, key, transaction, 'key');
      if (slot === null) return 0;
      const before = this.#database.newest(slot, transaction)?.image ?? {};
      this.#database.put(slot, transaction, null);
      this.#changed(transaction, { table, operation: 'DELETE', before, after: null });
      return 1;
    });
  }

  async truncate(table: string): Promise<void> {
    await this.#run('truncate', table, async (transaction, model) => {
      await this.#database.lockTable(model, transaction, this.#resumed);
      for (const slot of model.slots.values()) {
        if (this.#database.newest(slot, transaction) === null) continue;
        await this.#database.lock(slot, transaction, 'key', this.#resumed);
        this.#database.put(slot, transaction, null);
      }
      this.#changed(transaction, { table, operation: 'TRUNCATE', before: null, after: null });
    });
  }

  /** What an operator decides about a row that is parked in this region: it has other values, or is none any more. */
  async decide(parked: KeptParked, after: Image | null): Promise<void> {
    await this.#run('decide', parked.table, async (transaction) => {
      const { table, image: before } = parked;
      const operation = after === null ? 'DELETE' : 'UPDATE';
      this.#changed(transaction, { table, operation, before, after, operator: true });
    });
  }

  async lockTable(table: string): Promise<void> {
    await this.#run('lock table', table, async (transaction, model) => {
      await this.#database.lockTable(model, transaction, this.#resumed);
    });
  }

  /** Tells of a row as it is, under a lock, or writes it anew. */
  async tellRow(table: string, key: string, since: Hlc, claimOf: (tuple: ModelTuple) => RowClaim): Promise<void> {
    await this.#run('tell row', table, async (transaction, model) => {
      const slot = await this.#lockExisting(model, key, transaction, 'write');
      const tuple = slot === null ? null : this.#database.newest(slot, transaction);
      const claim = tuple === null ? null : claimOf(tuple);
      if (slot === null || tuple === null || claim === null) return;
      const { image } = tuple;
      if (claim.kind === 'rewrite') {
        this.#database.put(slot, transaction, image);
        this.#changed(transaction, { table, operation: 'UPDATE', before: image, after: image });
        return;
      }
      const told = { version: hlcToText(claim.version), since: hlcToText(since) };
      this.#changed(transaction, { table, operation: 'INSERT', before: null, after: image, claim: told });
    });
  }

  /** Does something that is undone with the transaction. */
  willCommit(work: () => () => void): void {
    this.#begun().willUndo(work());
  }

  async lockRow(table: string, key: string, strength: 'update' | 'key share'): Promise<void> {
    await this.#run('lock', table, async (transaction, model) => {
      await this.#lockExisting(model, key, transaction, strength === 'update' ? 'key' : 'share');
    });
  }

  savepoint(name: string): void {
    const transaction = this.#begun();
    transaction.savepoints.push({ name, undoTo: transaction.undoDepth, changesTo: transaction.changes.length });
    transaction.currentXid = this.#database.nextXid();
  }

  rollbackTo(name: string): void {
    const transaction = this.#begun();
    const savepoint = transaction.savepoints.findLast((each) => each.name === name);
    if (savepoint === undefined) throw sqlError('3B001', `no such savepoint: ${name}`);
    this.#database.rollbackTo(transaction, savepoint.undoTo);
    transaction.changes = transaction.changes.slice(0, savepoint.changesTo);
    transaction.currentXid = this.#database.nextXid();
  }

  heartbeat(members: readonly string[]): void {
    this.#begun().heartbeat = { members };
  }

  /** Writes the region's own activation row: what is behind it in the WAL names that version. */
  activate(version: number): void {
    this.#begun().activates = version;
  }

  /** Makes the transaction another tool's: it carries that tool's origin, and a commit timestamp of its choice. */
  foreignOrigin(commitMicros: bigint): void {
    this.#begun().foreign = true;
    this.#foreignMicros = commitMicros;
  }

  async commit(pause: CommitPause = async () => {}): Promise<void> {
    const transaction = this.#transaction;
    this.#transaction = null;
    if (transaction === null) return;
    this.#ending = transaction;
    await this.#step('commit');
    this.#mustLive(transaction);
    // The commit timestamp is taken before the commit record is in the WAL.
    transaction.stampMicros = transaction.foreign ? this.#foreignMicros : this.#database.now();
    await this.#step('commit record');
    this.#mustLive(transaction);
    this.#database.enterWal(transaction);
    await pause();
    this.#database.becomeVisible(transaction);
  }

  rollback(): void {
    if (this.#transaction !== null) this.#database.abort(this.#transaction);
    this.#transaction = null;
  }

  readonly #resumed: Step = async (what) => {
    await this.#step(what);
    if (this.#transaction !== null) this.#mustLive(this.#transaction);
  };

  #begun(): Transaction {
    if (this.#generation !== this.#database.generation) throw sqlError('57P02', 'the server has ended this connection');
    this.#transaction ??= this.#database.begin({ writer: this.#database.region, local: true, stampMicros: null });
    return this.#transaction;
  }

  /** Takes the place of a key that nobody has; the key's index waits for one who might. */
  async #insertAt(slot: Slot, transaction: Transaction): Promise<void> {
    await this.#database.settled(slot, transaction, this.#resumed);
    if (this.#database.newest(slot, transaction) !== null) {
      throw sqlError('23505', `duplicate key value violates unique constraint: id = ${slot.key}`);
    }
    this.#database.hold(slot, transaction, 'key');
  }

  /** Finds a row by its snapshot, waits for its lock and looks whether it is still the same row. */
  async #lockExisting(
    model: ModelTable,
    key: string,
    transaction: Transaction,
    strength: LockStrength,
  ): Promise<Slot | null> {
    const slot = model.slot(key);
    const seen = this.#database.newest(slot, transaction);
    if (seen === null) return null;
    await this.#database.free(slot, transaction, strength, this.#resumed);
    if (this.#database.newest(slot, transaction)?.birth !== seen.birth) return null;
    this.#database.hold(slot, transaction, strength);
    return slot;
  }

  #changed(transaction: Transaction, change: Omit<RowChange, 'schema' | 'key'>): void {
    if (this.#database.unpublished.has(change.table)) {
      transaction.isUnpublished = true;
      return;
    }
    transaction.changes.push({ schema: 'public', key: ['id'], ...change });
  }

  /** Runs one statement; an error aborts the whole transaction. */
  async #run<T>(
    what: string,
    table: string,
    statement: (transaction: Transaction, model: ModelTable) => Promise<T>,
  ): Promise<T> {
    await this.#step(what);
    const transaction = this.#begun();
    this.#mustLive(transaction);
    try {
      const model = this.#database.table(table);
      await this.#database.use(model, transaction, this.#resumed);
      return await statement(transaction, model);
    } catch (error) {
      this.rollback();
      throw error;
    }
  }

  #mustLive(transaction: Transaction): void {
    if (this.#generation !== this.#database.generation || transaction.ended) {
      throw sqlError('57P02', 'the server has ended this connection');
    }
  }
}
