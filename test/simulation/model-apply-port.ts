/** The apply port over the model database: what `sql-apply-port.ts` sends, on modelled rows. */
import {
  type ApplyPort,
  type ApplyTransaction,
  type ConflictEntry,
  type ConflictHorizon,
  type ConflictName,
  EVERY_ROW,
  type ExactVersion,
  type Mark,
  type MergeKey,
  type OwnCommit,
  type OwnCommitState,
  type ParkedKey,
  type PrunedTo,
  type QuarantineEntry,
  type RipeLook,
  type TableShape,
} from '../../src/apply/apply-port.ts';
import type { Kept, Moment } from '../../src/apply/rest-watch.ts';
import { type Hlc, hlcFromMicros } from '../../src/change/hlc.ts';
import type { OwnHistory } from '../../src/clock/own-history.ts';
import { ModelApplyTransaction } from './model-apply-transaction.ts';
import type { ModelDatabase } from './model-database.ts';
import { type ModelStore, modelShape, rowName, write } from './model-store.ts';
import { type CommitPause, type Step, sqlError, type Transaction } from './model-transaction.ts';

export class ModelApplyPort implements ApplyPort {
  readonly #database: ModelDatabase;
  readonly #store: ModelStore;
  readonly #step: Step;
  /** Of the server when this connection was made. */
  #generation: number;
  readonly #pause: CommitPause;
  /** Whether transactions are signed, and have no replication origin. */
  readonly #signs: boolean;
  #current: ModelApplyTransaction | null = null;

  constructor(
    database: ModelDatabase,
    store: ModelStore,
    step: Step,
    { pause = async () => {}, signs = false }: { readonly pause?: CommitPause; readonly signs?: boolean } = {},
  ) {
    this.#database = database;
    this.#store = store;
    this.#step = step;
    this.#pause = pause;
    this.#signs = signs;
    this.#generation = database.generation;
  }

  /** Connects anew, after the server was away. */
  connect(): void {
    this.#generation = this.#database.generation;
  }

  /** Whether the server was away since. */
  get isCut(): boolean {
    return this.#generation !== this.#database.generation;
  }

  /** Throws where it was. */
  mustLive(): void {
    if (this.isCut) throw sqlError('57P02', 'the connection is gone');
  }

  async #ask(what: string): Promise<void> {
    await this.#step(what);
    this.mustLive();
  }

  /** The transaction that the lane has open, for crashes and lock timeouts. */
  get transaction(): Transaction | null {
    return this.#current?.model ?? null;
  }

  async begin(origin: string, stampMicros: bigint): Promise<ApplyTransaction> {
    await this.#ask(`apply begin ${origin}`);
    const model = this.#database.begin({ writer: origin, local: false, stampMicros, isSigned: this.#signs });
    if (this.#signs) {
      const lsn = this.#database.nextLsn();
      write(this.#store.authors, model.xid, { origin, stampMicros, lsn }, model);
    }
    model.applies = { origin, mark: null, noteLsn: null, rows: new Map(), unparked: new Set() };
    this.#current = new ModelApplyTransaction(this.#database, this.#store, model, this.#step, this.#pause);
    return this.#current;
  }

  async shape(schema: string, table: string): Promise<TableShape | null> {
    return this.#database.tables.has(table) ? modelShape(schema, table) : null;
  }

  forgetShapes(): void {}

  async loadMarks(): Promise<Mark[]> {
    await this.#ask('load marks');
    return [...this.#store.marks.values()];
  }

  async clockMicros(): Promise<bigint> {
    await this.#ask('clock');
    return this.#database.now();
  }

  async moment(): Promise<Moment> {
    await this.#ask('moment');
    const { xmin, xmax } = this.#database.idsInUse;
    const { inserted } = this.#database.walEnds;
    const open = [...this.#database.open].length;
    return { micros: this.#database.now(), snapshot: `${xmin}:${xmax}:`, lsn: inserted, open };
  }

  async kept(): Promise<Kept> {
    await this.#ask('what is kept');
    const { parked, quarantine, looks, versions, tombstones, merges, holds } = this.#store;
    return {
      parked: parked.size,
      quarantined: quarantine.size,
      looks: looks.size,
      versions: versions.size,
      tombstones: tombstones.size,
      merges: merges.size,
      transfers: holds.size,
    };
  }

  async walEnds(): Promise<{ inserted: bigint; flushed: bigint }> {
    await this.#ask('WAL ends');
    return this.#database.walEnds;
  }

  async mergesToVisit(echoedLsn: bigint, limit: number): Promise<MergeKey[]> {
    const due = [...this.#store.merges.values()].filter(({ visit_at }) => visit_at !== null && visit_at <= echoedLsn);
    return due.slice(0, limit);
  }

  async mergesToPrune(stable: Hlc, limit: number): Promise<MergeKey[]> {
    this.#database.unflushed?.alone();
    const rows = [...this.#store.merges.values()];
    const setAside = [...this.#store.quarantine.values()];
    for (const row of rows) {
      if (row.key !== EVERY_ROW || setAside.some(({ table_name }) => table_name === row.table)) continue;
      const events = row.events.filter(({ version }) => version.hlc > stable);
      const name = rowName(modelShape(row.schema, row.table), row.key);
      if (events.length === 0) this.#store.merges.delete(name);
      else this.#store.merges.set(name, { ...row, events });
    }
    const due = rows.filter(
      ({ table, key, state, events }) =>
        state !== null &&
        events.some(({ version }) => version.hlc <= stable) &&
        !setAside.some((entry) => entry.table_name === table && (entry.key === key || entry.key === EVERY_ROW)),
    );
    return due.slice(0, limit);
  }

  /** The model keeps every time. */
  async forgottenTo(): Promise<null> {
    return null;
  }

  async parkedKeys(): Promise<ParkedKey[]> {
    await this.#ask('parked keys');
    return [...this.#store.parked.values()].map(({ schema, table, key }) => ({ schema, table, key }));
  }

  async ripeLooks(limit: number): Promise<RipeLook[]> {
    await this.#ask('ripe looks');
    const ripe: RipeLook[] = [];
    const snapshot = this.#database.idsInUse;
    for (const { waitsFor, ...look } of this.#store.looks.values()) {
      if (ripe.length < limit && waitsFor.every((transaction) => transaction.ended)) ripe.push({ ...look, snapshot });
    }
    return ripe;
  }

  async ownCommits(commits: readonly OwnCommit[]): Promise<OwnCommitState[]> {
    await this.#ask('own commits');
    return commits.map(({ xid, commitMicros }) => {
      const transaction = this.#database.transactionOf(xid);
      if (transaction?.lsn == null || !transaction.kind.local) return 'elsewhere';
      const { isForgotten } = transaction;
      if (!isForgotten && commitMicros !== null && transaction.stampMicros !== commitMicros) return 'elsewhere';
      return transaction.ended ? 'visible' : 'pending';
    });
  }

  async ownHistory(): Promise<OwnHistory> {
    await this.#ask('own history');
    return this.#store.ownHistory;
  }

  async quarantined(eventIds: readonly string[]): Promise<QuarantineEntry[]> {
    await this.#ask('quarantined');
    return eventIds.flatMap((id) => this.#store.quarantine.get(id) ?? []);
  }

  async finaliseConflicts(records: readonly ConflictName[]): Promise<string[]> {
    await this.#ask(`finalise ${records.length} conflicts`);
    this.#database.unflushed?.alone();
    const { conflicts } = this.#store;
    const left: string[] = [];
    for (const { conflict_id, event_id_a, event_id_b } of records) {
      const known = conflicts.get(conflict_id);
      if (known?.provisional === false) continue;
      const stands = known?.event_id_a === event_id_a && known.event_id_b === event_id_b;
      if (known !== undefined && stands && known.provisional_reason === null) {
        conflicts.set(conflict_id, { ...known, provisional: false });
      } else left.push(conflict_id);
    }
    return left;
  }

  async putConflicts(entries: readonly ConflictEntry[]): Promise<void> {
    await this.#ask(`put ${entries.length} conflicts`);
    this.#database.unflushed?.alone();
    for (const entry of entries) {
      if (this.#store.conflicts.get(entry.conflict_id)?.provisional === false) continue;
      this.#store.conflicts.set(entry.conflict_id, entry);
    }
  }

  async settleConflicts(horizon: ConflictHorizon): Promise<void> {
    await this.#ask(`settle conflicts below ${horizon.undecided_from}`);
    this.#database.unflushed?.alone();
    const { conflicts } = this.#store;
    for (const [id, entry] of conflicts) {
      if (!entry.provisional || entry.provisional_reason === 'forgotten') continue;
      const { hlc } = entry.loser;
      if (hlc < horizon.lost_below) conflicts.set(id, { ...entry, provisional_reason: 'forgotten' });
      else if (hlc < horizon.undecided_from) conflicts.delete(id);
    }
    this.#store.conflictHorizon = horizon;
  }

  async conflictHorizon(): Promise<ConflictHorizon | null> {
    await this.#ask('conflict horizon');
    return this.#store.conflictHorizon;
  }

  async prune(stable: Hlc, { confirmedLsn, echoedLsn }: PrunedTo, _rowsMax: number): Promise<void> {
    await this.#ask(`prune ${stable}`);
    this.#database.unflushed?.alone();
    const { versions, tombstones, looks, quarantine, notes, holds } = this.#store;
    const needed = new Set<string>();
    const setAside: { readonly table: string; readonly row: string; readonly hlc: Hlc }[] = [];
    for (const { schema_name, table_name, key, hlc } of quarantine.values()) {
      const shape = modelShape(schema_name, table_name);
      needed.add(rowName(shape, key));
      setAside.push({ table: rowName(shape, EVERY_ROW), row: rowName(shape, key), hlc });
    }
    const wholeTables: string[] = [];
    for (const { table, key } of looks.values()) {
      const shape = modelShape(table.schema, table.table);
      needed.add(rowName(shape, key)).add(rowName(shape, EVERY_ROW));
      if (key === EVERY_ROW) wholeTables.push(rowName(shape, EVERY_ROW));
    }
    const isNeeded = (row: string): boolean => needed.has(row) || wholeTables.some((table) => row.startsWith(table));
    for (const [xid, { stampMicros, byRow }] of versions) {
      if (hlcFromMicros(stampMicros) > stable) continue;
      const isHeld = (row: string): boolean => {
        return [...holds].some(([id, { above }]) => row.startsWith(`${id} `) && hlcFromMicros(stampMicros) > above);
      };
      const kept = new Map<string, ExactVersion>();
      // What a batch wrote in one table is kept or forgotten together.
      for (const ofTable of Map.groupBy(byRow, ([row]) => row.slice(0, row.indexOf(' '))).values()) {
        const versionsOfTable = { stampMicros, byRow: new Map(ofTable) };
        const straddles =
          this.#store.straddlesParked(versionsOfTable) ||
          this.#store.straddlesPutBack(versionsOfTable) ||
          this.#store.straddlesQuarantined(versionsOfTable);
        if (!straddles && !ofTable.some(([row]) => isNeeded(row) || isHeld(row))) continue;
        for (const [row, exact] of ofTable) kept.set(row, exact);
      }
      if (kept.size === 0) versions.delete(xid);
      else versions.set(xid, { stampMicros, byRow: kept });
    }
    for (const [row, tombstone] of tombstones) {
      const isKept =
        needed.has(row) ||
        setAside.some(
          (event) =>
            row.startsWith(event.table) &&
            event.hlc <= tombstone.hlc &&
            (event.row === event.table || row === event.table),
        );
      if (tombstone.hlc <= stable && !isKept) tombstones.delete(row);
    }
    const commitMicros = (xid: number): bigint | null => this.#database.transactionOf(xid)?.stampMicros ?? null;
    this.#store.pruneAuthors(stable, echoedLsn, commitMicros);
    const newest = notes.findLastIndex((note) => note.lsn < confirmedLsn);
    if (newest > 0) notes.splice(0, newest);
  }
}
