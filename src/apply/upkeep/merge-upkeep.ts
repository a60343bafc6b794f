/**
 * What the lane does about rows that merge besides applying events to them: looks again at rows that a look could not tell,
 * forgets what is stable, and reads what came of conflicts.
 *
 * Each goes in transactions of the region's own name: the rows keep what they are, whoever made them so, and no mark moves.
 */
import { type Hlc, hlcFromMicros, hlcMicrosCeil } from '../../change/hlc.ts';
import { isDataFault } from '../../platform/errors.ts';
import { quoteIdent } from '../../platform/postgres.ts';
import type { ApplyPort, ApplyTransaction, MergeKey, TableShape } from '../apply-port.ts';
import type { BatchWriter } from '../batch/batch-writer.ts';
import type { Merged } from '../history/conflicts.ts';
import { type RowLoss, versionOf } from '../history/passed-event.ts';
import type { MergeMemory } from '../merges/merge-memory.ts';
import type { MergeRules } from '../merges/merge-rules.ts';
import type { MergeWriter } from '../merges/merge-writer.ts';
import { rollback } from '../roll-back.ts';
import { stuckEntry } from './stuck-row.ts';

/** Rows that are looked at again in one go. */
const ROWS_PER_TRANSACTION = 500;

export type MergeUpkeepOptions = {
  readonly region: string;
  readonly port: ApplyPort;
  readonly rules: MergeRules;
  readonly memory: MergeMemory;
  readonly makeWriter: (transaction: ApplyTransaction) => BatchWriter;
  /** The highest stamp that was applied here so far. */
  readonly appliedTo: () => Hlc;
  /** A row of that origin's newest write was set aside. */
  readonly onStuck: (origin: string) => void;
};

export class MergeUpkeep {
  readonly #options: MergeUpkeepOptions;
  #trackedFrom: Hlc | null = null;

  constructor(options: MergeUpkeepOptions) {
    this.#options = options;
  }

  /**
   * Everything that was applied before a table was tracked is stamped at or below it; null before the lane is open. Once it
   * is stable everywhere, whatever may be concurrent with an event to come is in the histories.
   */
  get trackedFrom(): Hlc | null {
    return this.#trackedFrom;
  }

  /** Begins anew, with what the database says. */
  async open(): Promise<void> {
    const { rules, memory } = this.#options;
    await rules.reload();
    memory.clear();
    await this.#tracks();
  }

  /** Takes the registry of merge rules as it is now; tables that are tracked from now on are so in every batch to come. */
  async reload(): Promise<void> {
    const { rules, memory } = this.#options;
    const isMore = await rules.reload();
    memory.clear();
    if (isMore) await this.#tracks();
  }

  /**
   * Looks again at rows where the own stream has brought by now what was not captured at the last look; returns how many.
   * One that a constraint here does not take is set aside, so that the others go on.
   */
  async visit(echoedLsn: bigint): Promise<number> {
    const { port, rules } = this.#options;
    if (!rules.areAny) return 0;
    const due = await port.mergesToVisit(echoedLsn, ROWS_PER_TRANSACTION);
    await this.#byTable(due, async (shape, rows) => await this.#visit(shape, rows));
    return due.length;
  }

  /** Drops what only events above it need; returns how many rows were looked at. */
  async prune(upTo: Hlc): Promise<number> {
    const { port, rules } = this.#options;
    if (!rules.areAny) return 0;
    const due = await port.mergesToPrune(upTo, ROWS_PER_TRANSACTION);
    await this.#byTable(
      due,
      async (shape, rows) => await this.#work(rows, async (writer) => await writer.prune(shape, rows, upTo)),
    );
    return due.length;
  }

  /** What came of those of the losses that last writer wins does not settle. */
  async resultsOf(losses: readonly RowLoss[]): Promise<Map<RowLoss, Merged>> {
    const merged = new Map<RowLoss, Merged>();
    const asked = losses.filter(({ winner }) => winner.merge !== undefined);
    if (asked.length === 0) return merged;
    const { port, region, rules, makeWriter } = this.#options;
    const transaction = await port.begin(region, 1n);
    try {
      const { merging } = makeWriter(transaction);
      for (const [shape, ofTable] of Map.groupBy(asked, (loss) => loss.shape)) {
        const rows = ofTable.map(({ key, winner }) => ({ key, version: versionOf(winner) }));
        const results = await merging.results(shape, rows);
        for (const [place, loss] of ofTable.entries()) {
          const strategy = rules.strategy(loss.winner.merge ?? '');
          merged.set(loss, { strategy, result: { image: results[place] ?? null } });
        }
      }
    } finally {
      await rollback(transaction);
    }
    return merged;
  }

  async #tracks(): Promise<void> {
    const { port, appliedTo } = this.#options;
    const now = hlcFromMicros(await port.clockMicros());
    const applied = appliedTo();
    this.#trackedFrom = applied > now ? applied : now;
  }

  async #visit(shape: TableShape, rows: readonly MergeKey[]): Promise<void> {
    try {
      await this.#work(rows, async (writer) => await writer.visit(shape, rows));
    } catch (error) {
      if (!isDataFault(error)) throw error;
      const [first] = rows;
      if (rows.length === 1 && first !== undefined) return await this.#setAside(shape, first, error);
      const half = rows.length >> 1;
      await this.#visit(shape, rows.slice(0, half));
      await this.#visit(shape, rows.slice(half));
    }
  }

  /** It is not looked at again until an event on it comes, or an operator tries it again. */
  async #setAside(shape: TableShape, due: MergeKey, cause: unknown): Promise<void> {
    const { region, onStuck } = this.#options;
    let origin = region;
    await this.#work([due], async (writer, transaction) => {
      const stuck = await writer.unvisited(shape, due);
      const entry = stuckEntry(shape, stuck, region, cause);
      ({ origin } = entry);
      await transaction.recordQuarantine([entry]);
    });
    onStuck(origin);
  }

  async #byTable(
    due: readonly MergeKey[],
    work: (shape: TableShape, rows: readonly MergeKey[]) => Promise<void>,
  ): Promise<void> {
    for (const [, rows] of Map.groupBy(due, ({ schema, table }) => JSON.stringify([schema, table]))) {
      const [first] = rows;
      if (first === undefined) continue;
      const shape = await this.#options.port.shape(first.schema, first.table);
      if (shape === null) await this.#drop(first, rows);
      else await work(shape, rows);
    }
  }

  async #work(
    rows: readonly MergeKey[],
    work: (writer: MergeWriter, transaction: ApplyTransaction) => Promise<void>,
  ): Promise<void> {
    const { port, region, makeWriter } = this.#options;
    const highest = rows.reduce((stamp, { hlc }) => (hlc > stamp ? hlc : stamp), 1n);
    const transaction = await port.begin(region, hlcMicrosCeil(highest));
    const writer = makeWriter(transaction);
    try {
      await work(writer.merging, transaction);
      await writer.record(() => new Set());
      await transaction.commit();
    } catch (error) {
      writer.merging.undo();
      await rollback(transaction);
      throw error;
    }
  }

  /** Of a table that is here no more nothing is kept. */
  async #drop({ schema, table }: MergeKey, rows: readonly MergeKey[]): Promise<void> {
    const { port, region } = this.#options;
    const transaction = await port.begin(region, 1n);
    const name = { id: `${quoteIdent(schema)}.${quoteIdent(table)}`, schema, table };
    try {
      await transaction.dropHistory(
        name,
        rows.map(({ key, hlc }) => ({ key, upTo: { hlc, origin: '' }, whole: true })),
      );
      await transaction.commit();
    } catch (error) {
      await rollback(transaction);
      throw error;
    }
  }
}
