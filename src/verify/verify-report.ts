// What a comparison of regions found, as data and as text.

import { ERRORS, type ErrorCode } from '../platform/errors.ts';
import type { TextValue } from '../platform/postgres.ts';

/** Column → value. */
export type ReportedRow = Readonly<Record<string, TextValue>>;

export interface RowDifference {
  readonly key: ReportedRow;
  readonly kind: 'missing' | 'different';
  /** Region → the columns that are not the same everywhere; null where the row is missing. */
  readonly regions: Readonly<Record<string, ReportedRow | null>>;
}

export interface RowInFlight {
  readonly key: ReportedRow;
  /** Regions in which the row changed while it was looked at. */
  readonly changed_in: readonly string[];
}

export interface TableReport {
  readonly table: string;
  readonly status: 'equal' | 'different' | 'in-flight' | 'not-compared';
  /** Region → rows read. */
  readonly rows: Readonly<Record<string, number>>;
  /** Rows that differed at first and became equal while they were watched. */
  readonly settled: number;
  /** Equal rows whose key is one value written in two ways, as 1.0 and 1.00. */
  readonly keys_spelled_differently: number;
  readonly differing: number;
  /** The first of the differing rows. */
  readonly differences: readonly RowDifference[];
  readonly in_flight: readonly RowInFlight[];
  /** Why the table was not compared, or not to its end. */
  readonly problem: { readonly code: ErrorCode; readonly detail: string } | null;
}

export interface VerifyReport {
  readonly equal: boolean;
  readonly regions: readonly string[];
  readonly tables: readonly TableReport[];
  readonly duration_ms: number;
}

/** 0: equal. 1: rows truly differ. 2: something could not be compared, or was still in flight at the limit. */
export function exitCodeOf(report: VerifyReport): 0 | 1 | 2 {
  if (report.tables.some(({ differing }) => differing > 0)) return 1;
  return report.equal ? 0 : 2;
}

const VALUE_CHARACTERS_MAX = 60;
const ROWS_SHOWN_MAX = 20;

/** The report for a person. */
export function renderReport(report: VerifyReport): string {
  const lines: string[] = [];
  const width = Math.max(5, ...report.tables.map(({ table }) => table.length));
  for (const table of report.tables) lines.push(...renderTable(table, width));
  const compared = report.tables.reduce((sum, table) => sum + Math.max(0, ...Object.values(table.rows)), 0);
  const seconds = report.duration_ms / 1_000;
  const speed = seconds > 0 ? `, ${count(Math.round(compared / seconds))} rows/s` : '';
  lines.push(
    '',
    `${count(compared)} rows in ${count(report.tables.length)} tables of ${report.regions.join(', ')} in ${seconds.toFixed(1)} s${speed}`,
    verdict(report),
  );
  return `${lines.join('\n')}\n`;
}

function verdict(report: VerifyReport): string {
  const differing = report.tables.reduce((sum, table) => sum + table.differing, 0);
  const problem = (code: ErrorCode, what: string): string => `${code} ${what}\n  ${ERRORS[code].remedy}`;
  if (differing > 0) return problem('SYN-V001', rows(differing, 'differs', 'differ'));
  const first = report.tables.find((table) => table.problem !== null)?.problem;
  if (first != null) return problem(first.code, 'not everything could be compared');
  const moving = report.tables.reduce((sum, table) => sum + table.in_flight.length, 0);
  if (moving > 0) return problem('SYN-V003', `${rows(moving, 'was', 'were')} still changing at the limit`);
  return 'All regions are equal.';
}

function renderTable(table: TableReport, width: number): string[] {
  const counts = [...new Set(Object.values(table.rows))].map(count).join(' / ');
  const notes = [
    table.differing > 0 ? rows(table.differing, 'differs', 'differ') : '',
    table.in_flight.length > 0 ? `${count(table.in_flight.length)} still changing` : '',
    table.settled > 0 ? `${count(table.settled)} were in flight and settled` : '',
    table.keys_spelled_differently > 0 ? `${count(table.keys_spelled_differently)} keys spelled differently` : '',
  ].filter((note) => note !== '');
  const head = `${table.table.padEnd(width)}  ${table.status.padEnd(12)}  ${(counts || '-').padStart(12)} rows`;
  const lines = [notes.length === 0 ? head : `${head}  (${notes.join('; ')})`];
  if (table.problem !== null) lines.push(`  ${table.problem.code} ${table.problem.detail}`);
  for (const difference of table.differences.slice(0, ROWS_SHOWN_MAX)) lines.push(...renderDifference(difference));
  for (const { key, changed_in } of table.in_flight.slice(0, ROWS_SHOWN_MAX)) {
    lines.push(`  ${renderRow(key)} is still changing in ${changed_in.join(', ') || 'some region'}`);
  }
  const hidden = table.differing - Math.min(table.differences.length, ROWS_SHOWN_MAX);
  if (hidden > 0) lines.push(`  and ${count(hidden)} more`);
  return lines;
}

function renderDifference(difference: RowDifference): string[] {
  const regions = Object.entries(difference.regions);
  const lines = [`  ${renderRow(difference.key)}`];
  for (const [region, row] of regions) {
    lines.push(`    ${region}: ${row === null ? 'no such row' : renderRow(row) || 'the row is there'}`);
  }
  return lines;
}

const renderRow = (row: ReportedRow): string =>
  Object.entries(row)
    .map(([column, value]) => `${column} = ${renderValue(value)}`)
    .join(', ');

/** NULL and the empty string look different, and so does a text that reads NULL. */
function renderValue(value: TextValue): string {
  if (value === null) return 'NULL';
  const cut = value.length > VALUE_CHARACTERS_MAX ? `${value.slice(0, VALUE_CHARACTERS_MAX)}…` : value;
  return `'${cut.replaceAll("'", "''")}'`;
}

const rows = (value: number, one: string, several: string): string =>
  value === 1 ? `1 row ${one}` : `${count(value)} rows ${several}`;

const count = (value: number): string => value.toLocaleString('en-US');
