// Gathers what the comparison of one table finds, and describes the rows that differ as they are in the
// end. Details are read only for the first of them: a report that lists a table helps nobody.

import { isInfrastructure, SynclineError, sqlStateOf } from '../platform/errors.ts';
import type { TextValue } from '../platform/postgres.ts';
import { type Key, keyText } from './key-range.ts';
import type { RegionTable } from './region-connection.ts';
import type { TableDefinition } from './table-definition.ts';
import type { InFlightRow, Settled } from './unsettled-rows.ts';
import type { ReportedRow, RowDifference, TableReport } from './verify-report.ts';

/** A table in one of the regions. */
export interface TablePart {
  readonly region: string;
  readonly definition: TableDefinition;
  readonly rows: RegionTable;
}

type Problem = NonNullable<TableReport['problem']>;

const REPORTED_MAX = 100;
const DETAILS_AT_ONCE = 10;
const DIFFERING_MAX = 10_000;
const VALUE_CHARACTERS_MAX = 10_000;

export class TableTally {
  readonly #table: string;
  readonly #parts: readonly TablePart[];
  readonly #rows: number[];
  readonly #different = new Map<string, Key>();
  readonly #inFlight = new Map<string, InFlightRow>();
  #settled = 0;
  #spelledDifferently = 0;
  problem: Problem | null = null;

  constructor(table: string, parts: readonly TablePart[]) {
    this.#table = table;
    this.#parts = parts;
    this.#rows = parts.map(() => 0);
  }

  get rowsMost(): number {
    return Math.max(...this.#rows);
  }

  /** So many rows differ that looking at the others tells nothing new. */
  get isHopeless(): boolean {
    return this.#different.size >= DIFFERING_MAX;
  }

  addRows(rows: readonly number[]): void {
    for (const [index, each] of rows.entries()) this.#rows[index] = (this.#rows[index] ?? 0) + each;
  }

  add(settled: Settled): void {
    this.#settled += settled.settled;
    this.#spelledDifferently += settled.spelledDifferently;
    for (const key of settled.different) this.#different.set(keyText(key), key);
    for (const row of settled.inFlight) this.#inFlight.set(keyText(row.key), row);
  }

  async report(): Promise<TableReport> {
    const differences: RowDifference[] = [];
    try {
      const keys = [...this.#different.values()].slice(0, REPORTED_MAX);
      for (let from = 0; from < keys.length; from += DETAILS_AT_ONCE) {
        differences.push(...(await this.#describe(keys.slice(from, from + DETAILS_AT_ONCE))));
      }
    } catch (error) {
      this.problem ??= problemOfError(error);
    }
    if (this.isHopeless)
      this.problem ??= problemOf('SYN-V001', `more than ${DIFFERING_MAX} rows differ; stopped there`);
    const differing = this.#different.size;
    const { problem } = this;
    const rest = this.#inFlight.size > 0 ? 'in-flight' : problem === null ? 'equal' : 'not-compared';
    return {
      table: this.#table,
      status: differing > 0 ? 'different' : rest,
      rows: Object.fromEntries(this.#parts.map(({ region }, index) => [region, this.#rows[index] ?? 0])),
      settled: this.#settled,
      keys_spelled_differently: this.#spelledDifferently,
      differing,
      differences,
      in_flight: [...this.#inFlight.values()].slice(0, REPORTED_MAX).map(({ key, changedIn }) => ({
        key: this.#nameKey(key),
        changed_in: changedIn.flatMap((index) => this.#parts[index]?.region ?? []),
      })),
      problem,
    };
  }

  /** The rows as they are now in every region: the columns in which they differ. */
  async #describe(keys: readonly Key[]): Promise<RowDifference[]> {
    const lists = await Promise.all(this.#parts.map(({ rows }) => rows.details(keys)));
    return keys.map((key, place) => {
      const rows = lists.map((list) => list[place] ?? null);
      const present = rows.filter((row) => row !== null);
      const columns = [...(present[0]?.keys() ?? [])];
      const differing = columns.filter((column) => new Set(present.map((row) => row.get(column))).size > 1);
      const shown = (row: ReadonlyMap<string, TextValue> | null): ReportedRow | null =>
        row === null ? null : Object.fromEntries(differing.map((column) => [column, cut(row.get(column) ?? null)]));
      return {
        key: this.#nameKey(key),
        kind: present.length < rows.length ? 'missing' : 'different',
        regions: Object.fromEntries(this.#parts.map(({ region }, index) => [region, shown(rows[index] ?? null)])),
      };
    });
  }

  #nameKey(key: Key): ReportedRow {
    const columns = this.#parts[0]?.definition.key ?? [];
    return Object.fromEntries(columns.map(({ name }, index) => [name, key[index] ?? null]));
  }
}

const cut = (value: TextValue): TextValue =>
  value === null || value.length <= VALUE_CHARACTERS_MAX ? value : `${value.slice(0, VALUE_CHARACTERS_MAX)}…`;

export const problemOf = (code: Problem['code'], detail: string): Problem => ({ code, detail });

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
