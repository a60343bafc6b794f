// Makes the report on one table, and describes the rows that differ as they are in the end: those of the table, and those
// that are parked.

import { isInfrastructure, SynclineError, sqlStateOf } from '../platform/errors.ts';
import type { TextValue } from '../platform/postgres.ts';
import type { Key } from './key-range.ts';
import { toParkedRow } from './parked-rows.ts';
import type { RegionConnection } from './region-connection.ts';
import { DIFFERING_MAX, type DifferingRow, type RowDetails, RowTally } from './row-tally.ts';
import type { TableDefinition } from './table-definition.ts';
import type { ComparedRows, ParkedDifference, ReportedRow, RowDifference, TableReport } from './verify-report.ts';

/** A table in one of the regions. */
export interface TablePart {
  readonly connection: RegionConnection;
  readonly definition: TableDefinition;
}

type Problem = NonNullable<TableReport['problem']>;

const VALUE_CHARACTERS_MAX = 10_000;

export class TableTally {
  readonly #table: string;
  readonly #parts: readonly TablePart[];
  readonly rows: RowTally;
  /** None before they can be read. */
  parked = new RowTally([]);
  problem: Problem | null = null;

  constructor(table: string, parts: readonly TablePart[]) {
    this.#table = table;
    this.#parts = parts;
    this.rows = new RowTally(parts.map(({ connection, definition }) => connection.table(definition)));
  }

  async report(): Promise<TableReport> {
    const rows = await this.#compared(this.rows, (key) => key, this.#rowDifference);
    const parked = await this.#compared(this.parked, ([key = '[]']) => JSON.parse(key) as Key, this.#parkedDifference);
    if (this.rows.isHopeless) this.problem ??= tooMany('rows');
    if (this.parked.isHopeless) this.problem ??= tooMany('parked rows');
    const { problem } = this;
    const isMoving = rows.in_flight.length + parked.in_flight.length > 0;
    const rest = isMoving ? 'in-flight' : problem === null ? 'equal' : 'not-compared';
    return {
      table: this.#table,
      status: rows.differing + parked.differing > 0 ? 'different' : rest,
      ...rows,
      keys_spelled_differently: this.rows.spelledDifferently,
      parked,
      problem,
    };
  }

  /** `toKey` tells the values of the table's own key. */
  async #compared<Difference>(
    tally: RowTally,
    toKey: (key: Key) => Key,
    describe: (key: ReportedRow, row: DifferingRow) => Difference,
  ): Promise<ComparedRows<Difference>> {
    const differences: Difference[] = [];
    try {
      for await (const row of tally.different()) differences.push(describe(this.#nameKey(toKey(row.key)), row));
    } catch (error) {
      this.problem ??= problemOfError(error);
    }
    return {
      rows: this.#byRegion(tally.rows),
      settled: tally.settled,
      differing: tally.differing,
      differences,
      in_flight: tally.inFlight.map(({ key, changedIn }) => ({
        key: this.#nameKey(toKey(key)),
        changed_in: changedIn.flatMap((index) => this.#parts[index]?.connection.region ?? []),
      })),
    };
  }

  readonly #rowDifference = (key: ReportedRow, { rows }: DifferingRow): RowDifference => {
    return { key, kind: kindOf(rows), regions: this.#byRegion(inWhatTheyDiffer(rows)) };
  };

  readonly #parkedDifference = (key: ReportedRow, { rows }: DifferingRow): ParkedDifference => {
    const parked = rows.map((row) => (row === null ? null : toParkedRow(row)));
    const differing = inWhatTheyDiffer(parked.map((row) => row?.columns ?? null));
    const shown = parked.map((row, index) =>
      row === null ? null : { hlc: row.hlc, origin: row.origin, row: differing[index] ?? {} },
    );
    return { key, kind: kindOf(rows), regions: this.#byRegion(shown) };
  };

  #byRegion<T>(values: readonly T[]): Record<string, T> {
    return Object.fromEntries(values.map((value, index) => [this.#parts[index]?.connection.region ?? '', value]));
  }

  #nameKey(key: Key): ReportedRow {
    const columns = this.#parts[0]?.definition.key ?? [];
    return Object.fromEntries(columns.map(({ name }, index) => [name, key[index] ?? null]));
  }
}

const kindOf = (rows: readonly RowDetails[]): RowDifference['kind'] => (rows.includes(null) ? 'missing' : 'different');

/** Of each row the columns that are not the same in all that are there. */
function inWhatTheyDiffer(rows: readonly RowDetails[]): (ReportedRow | null)[] {
  const present = rows.filter((row) => row !== null);
  const columns = [...new Set(present.flatMap((row) => [...row.keys()]))];
  const differing = columns.filter((column) => new Set(present.map((row) => row.get(column))).size > 1);
  return rows.map((row) => {
    if (row === null) return null;
    const own = differing.filter((column) => row.has(column));
    return Object.fromEntries(own.map((column) => [column, cut(row.get(column) ?? null)]));
  });
}

const cut = (value: TextValue): TextValue =>
  value === null || value.length <= VALUE_CHARACTERS_MAX ? value : `${value.slice(0, VALUE_CHARACTERS_MAX)}…`;

export const problemOf = (code: Problem['code'], detail: string): Problem => ({ code, detail });

const tooMany = (what: string): Problem =>
  problemOf('SYN-V001', `more than ${DIFFERING_MAX} ${what} differ; stopped there`);

/** What kept the rows from being read; rethrows what is nobody's fault but the program's. */
export function problemOfError(error: unknown): Problem {
  if (error instanceof SynclineError) return problemOf(error.code, error.detail);
  const message = error instanceof Error ? error.message : String(error);
  if (isInfrastructure(error)) return problemOf('SYN-P009', message);
  const state = sqlStateOf(error);
  if (state === undefined) throw error;
  if (state === '42501') return problemOf('SYN-P011', message);
  return problemOf('SYN-V002', `the table cannot be read any more: ${message}`);
}
