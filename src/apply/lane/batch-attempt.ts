/**
 * One attempt to apply a batch: one transaction that holds its rows, what is kept of it, its note and its mark, or nothing.
 *
 * The ledger is told of the batch before its note can exist, so that capture never stamps a transaction from a guess. Once
 * the note is on its way, only an error that the server tells of itself shows that the transaction is rolled back: where the
 * connection broke in mid-commit nobody knows the outcome, and the batch stays in flight in the ledger until the
 * lane has read the database again. What is remembered of a batch is remembered once it is committed, and not before.
 */
import { type Hlc, hlcMicrosCeil } from '../../change/hlc.ts';
import type { Seen } from '../../change/position.ts';
import type { BatchToken, NotesLedger } from '../../clock/notes-ledger.ts';
import type { Stability } from '../../clock/stability.ts';
import { invariant } from '../../platform/assert.ts';
import { sqlStateOf } from '../../platform/errors.ts';
import type { ApplyPort, ApplyTransaction, QuarantineEntry, TableShape } from '../apply-port.ts';
import type { BatchPlanner } from '../batch/batch-planner.ts';
import type { BatchWriter } from '../batch/batch-writer.ts';
import { EchoWriter } from '../batch/echo-writer.ts';
import { ForgottenTimes } from '../batch/forgotten-times.ts';
import type { ParkedKeys } from '../batch/parked-keys.ts';
import { writeOneByOne } from '../event-failure.ts';
import { hlcOf, type LaneItem } from '../lane-item.ts';
import type { LaneMarks } from '../lane-marks.ts';
import type { SourceTransaction, Step } from '../net-change.ts';
import type { Poison } from '../quarantine-entry.ts';
import { rollback } from '../roll-back.ts';
import type { PassedMemory, Passing } from './passed-memory.ts';
import type { QuarantinedKeys } from './quarantined-keys.ts';
import type { WriterMaker } from './writer-maker.ts';

export type AppliedReport = {
  readonly origin: string;
  readonly events: number;
  readonly written: number;
  readonly conflicts: { readonly [table: string]: number };
  readonly quarantined: number;
};

export type BatchAttemptOptions = {
  readonly region: string;
  readonly port: ApplyPort;
  readonly ledger: NotesLedger;
  readonly stability: Stability;
  readonly planner: BatchPlanner;
  readonly writers: WriterMaker;
  readonly marks: LaneMarks;
  readonly passed: PassedMemory;
  readonly parked: ParkedKeys;
  readonly quarantined: QuarantinedKeys;
  readonly onApplied: ((report: AppliedReport) => void) | undefined;
};

/** A batch on its way. */
type Batch = {
  readonly origin: string;
  readonly items: readonly LaneItem[];
  /** Those of its items that are transactions. */
  readonly sources: readonly SourceTransaction[];
  readonly poisoned: ReadonlyMap<string, Poison>;
  /** Whether it goes change by change. */
  readonly exact: boolean;
  readonly isEcho: boolean;
  /** The highest of its stamps. */
  readonly stamp: Hlc;
  /** What is applied here once it is committed. */
  readonly seen: Seen;
  readonly transaction: ApplyTransaction;
  readonly writer: BatchWriter;
  readonly rows: BatchWriter | EchoWriter;
  readonly passing: Passing;
  readonly written: Set<TableShape>;
  readonly quarantine: QuarantineEntry[];
};

export class BatchAttempt {
  readonly #options: BatchAttemptOptions;
  readonly #forgotten: ForgottenTimes;

  constructor(options: BatchAttemptOptions) {
    this.#options = options;
    this.#forgotten = new ForgottenTimes(options.port, options.region);
  }

  /**
   * Applies items of one kind, which follow the mark; `poisoned` has the events to be set aside. Throws where nothing is
   * applied, or nobody knows.
   */
  async run(
    origin: string,
    items: readonly LaneItem[],
    poisoned: ReadonlyMap<string, Poison>,
    exact: boolean,
  ): Promise<void> {
    const batch = await this.#begin(origin, items, poisoned, exact);
    let token: BatchToken | null = null;
    try {
      await this.#write(batch);
      await this.#commit(batch, (open) => {
        token = open;
      });
    } catch (error) {
      batch.writer.merging.undo();
      if (token === null || isKnownToHaveRolledBack(error)) {
        await rollback(batch.transaction);
        if (token !== null) this.#options.ledger.batchAborted(token);
      }
      throw error;
    }
    this.#remember(batch);
  }

  async #begin(
    origin: string,
    items: readonly LaneItem[],
    poisoned: ReadonlyMap<string, Poison>,
    exact: boolean,
  ): Promise<Batch> {
    const { region, port, stability, writers, marks, passed } = this.#options;
    let stamp: Hlc = 0n;
    for (const item of items) {
      const hlc = hlcOf(item);
      if (hlc > stamp) stamp = hlc;
    }
    const [first] = items;
    invariant(first !== undefined, 'a batch has at least one item');
    const isEcho = origin === region && !marks.isLost(origin, first);
    stability.enters(origin, first.position);
    const transaction = await port.begin(origin, hlcMicrosCeil(stamp));
    const seen = marks.seenBehind(origin, items);
    const sources = sourcesOf(items);
    const writer = writers.make(transaction, origin, { seen: sources[0]?.seen ?? {}, applied: seen, isEcho, exact });
    return {
      origin,
      items,
      sources,
      poisoned,
      exact,
      isEcho,
      stamp,
      seen,
      transaction,
      writer,
      rows: isEcho ? new EchoWriter(writer, region, passed.unsettled.lostBelow) : writer,
      passing: passed.begin(origin, items),
      written: new Set(),
      quarantine: [],
    };
  }

  async #write(batch: Batch): Promise<void> {
    for (const item of batch.items) if (item.kind === 'giant') await this.#writePieces(batch, item);
    const normal = batch.sources.filter((source) => source.events.length > 0);
    if (normal.length > 0) await this.#writeSources(batch, normal, false);
    if (batch.rows instanceof EchoWriter) await batch.rows.finish();
  }

  /** What is kept of a piece goes out behind it, and is answered while the next one is read and planned. */
  async #writePieces(batch: Batch, giant: Extract<LaneItem, { kind: 'giant' }>): Promise<void> {
    const { source } = giant;
    let recorded: Promise<void> = Promise.resolve();
    for await (const events of readingAhead(giant.chunks())) {
      await this.#writeSources(batch, [{ ...source, events }], true);
      await recorded;
      const waiting = await this.#options.quarantined.among(batch.transaction, batch.writer.kept.shapes);
      recorded = batch.writer.recordPiece(source, waiting);
      // Whoever awaits it is told.
      recorded.catch(() => undefined);
    }
    await recorded;
  }

  async #writeSources(batch: Batch, sources: readonly SourceTransaction[], arePieces: boolean): Promise<void> {
    const { planner, passed } = this.#options;
    const { transaction, poisoned, exact, rows, written, quarantine } = batch;
    const planned = await planner.plan(transaction, sources, poisoned, exact);
    quarantine.push(...planned.quarantine);
    for (const shape of shapesOf(planned.steps)) written.add(shape);
    const checked = await this.#forgotten.check(transaction, batch, sources, planned.steps);
    const writing = exact ? writeOneByOne(rows, planned.steps) : rows.write(planned.steps);
    // Whoever awaits it below is told.
    writing.catch(() => undefined);
    try {
      // While the server is at work. What is set aside here counts in the other regions, so it does in conflicts.
      const all = poisoned.size === 0 ? planned.steps : await planner.replan(transaction, sources);
      if (arePieces) passed.takePiece(batch.passing, all);
      else passed.take(batch.passing, all, true);
    } finally {
      await writing;
    }
    await this.#forgotten.confirm(checked, batch.origin);
  }

  /** `starts` is told the ledger's token before the note can exist. */
  async #commit(batch: Batch, starts: (token: BatchToken) => void): Promise<void> {
    const { ledger, marks, quarantined } = this.#options;
    const { origin, items, transaction, writer, seen, quarantine } = batch;
    const known = ledger.newest.max_hlc;
    const max_hlc = !batch.isEcho && batch.stamp > known ? batch.stamp : known;
    const mark = marks.behind(origin, items);
    const expected = marks.of(origin)?.position ?? null;
    const waiting = await quarantined.among(transaction, writer.kept.shapes);
    const open = ledger.batchStarts();
    starts(open);
    const recorded = writer.record(waiting);
    const sidelined = quarantine.length === 0 ? null : transaction.recordQuarantine(quarantine);
    const advanced = transaction.advanceMark(expected, mark);
    const noted = transaction.note({ origin, seen, max_hlc });
    const noticed = noted.then((note) => ledger.batchNoted(open, note.lsn));
    const committed = transaction.commit();
    const [note, end] = await Promise.all([noted, committed, recorded, sidelined, advanced, noticed]);
    // Of an echo no other region is told.
    ledger.batchCommitted(open, note.lsn, { seen, max_hlc }, batch.isEcho ? note.lsn : end);
    marks.move(mark);
  }

  #remember({ origin, items, sources, writer, written, passing, quarantine }: Batch): void {
    const { passed, parked, quarantined } = this.#options;
    parked.changed(writer.parking.changes);
    for (const table of written) parked.touched(table.schema, table.table);
    passed.keepRemoved(passing);
    passed.learn(origin, items);
    passed.unsettled.add(passing.batch);
    if (quarantine.length > 0) quarantined.changed();
    const conflicts = writer.judge.counts;
    let events = 0;
    for (const { events: ofSource } of sources) events += ofSource.length;
    const report = { origin, events, written: writer.kept.written, conflicts, quarantined: quarantine.length };
    this.#options.onApplied?.(report);
  }
}

/** Asks for the next piece before it gives one out, so that it is read while the database is at work. */
async function* readingAhead<Piece>(pieces: AsyncIterable<Piece>): AsyncGenerator<Piece> {
  const iterator = pieces[Symbol.asyncIterator]();
  let next = iterator.next();
  try {
    for (let piece = await next; piece.done !== true; piece = await next) {
      next = iterator.next();
      // Whoever comes to it is told.
      next.catch(() => undefined);
      yield piece.value;
    }
  } finally {
    await iterator.return?.();
  }
}

function sourcesOf(items: readonly LaneItem[]): SourceTransaction[] {
  const sources: SourceTransaction[] = [];
  for (const item of items) if (item.kind !== 'heartbeat') sources.push(item.source);
  return sources;
}

/** The tables that steps write to. */
function shapesOf(steps: readonly Step[]): TableShape[] {
  return steps.flatMap((step) =>
    step.kind === 'truncate' ? [step.shape] : [...step.tables.values()].map(({ shape }) => shape),
  );
}

/** A statement's own error aborts the transaction for certain; an error of the connection may hide a commit. */
function isKnownToHaveRolledBack(error: unknown): boolean {
  const state = sqlStateOf(error);
  return state !== undefined && !state.startsWith('08') && !state.startsWith('57P');
}
