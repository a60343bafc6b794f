// What a comparison of regions found, as data and as text.

import { ERRORS, type ErrorCode } from '../platform/errors.ts';
import type { TextValue } from '../platform/postgres.ts';

/** Column → value. */
export type ReportedRow = Readonly<Record<string, TextValue>>;

export interface Difference<Row> {
  /** Of the table. */
  readonly key: ReportedRow;
  readonly kind: 'missing' | 'different';
  /** Region → what it has of the row; null where the row is missing. */
  readonly regions: Readonly<Record<string, Row | null>>;
}

/** By the columns that are not the same everywhere. */
export type RowDifference = Difference<ReportedRow>;

/** A row that is parked in some regions and not in others, or not the same. */
export type ParkedDifference = Difference<ParkedVersion>;

export interface ParkedVersion {
  readonly hlc: string;
  readonly origin: string;
  /** The columns that are not the same everywhere. */
  readonly row: ReportedRow;
}

export interface RowInFlight {
  readonly key: ReportedRow;
  /** Regions in which the row changed while it was looked at. */
  readonly changed_in: readonly string[];
}

export interface ComparedRows<Differing> {
  /** Region → rows read. */
  readonly rows: Readonly<Record<string, number>>;
  /** Rows that differed at first and became equal while they were watched. */
  readonly settled: number;
  readonly differing: number;
  /** The first of the differing rows. */
  readonly differences: readonly Differing[];
  readonly in_flight: readonly RowInFlight[];
}

export interface TableReport extends ComparedRows<RowDifference> {
  readonly table: string;
  readonly status: 'equal' | 'different' | 'in-flight' | 'not-compared';
  /** Equal rows whose key is one value written in two ways, as 1.0 and 1.00. */
  readonly keys_spelled_differently: number;
  /** Rows that lost a unique value, which are kept beside the table. */
  readonly parked: ComparedRows<ParkedDifference>;
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
  if (report.tables.some(({ differing, parked }) => differing + parked.differing > 0)) return 1;
  return report.equal ? 0 : 2;
}

const VALUE_CHARACTERS_MAX = 60;
const ROWS_SHOWN_MAX = 20;

/** The report for a person. */
export function renderReport(report: VerifyReport): string {
  const lines: string[] = [];
  const width = Math.max(5, ...report.tables.map(({ table }) => table.length));
  for (const table of report.tables) lines.push(...renderTable(table, width));
  const compared = report.tables.reduce((sum, table) => sum + most(table), 0);
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
  const parked = report.tables.reduce((sum, table) => sum + table.parked.differing, 0);
  const problem = (code: ErrorCode, what: string): string => `${code} ${what}\n  ${ERRORS[code].remedy}`;
  const differences = [differ(differing, 'row'), differ(parked, 'parked row')].filter(isSaid);
  if (differences.length > 0) return problem('SYN-V001', differences.join(', '));
  const first = report.tables.find((table) => table.problem !== null)?.problem;
  if (first != null) return problem(first.code, 'not everything could be compared');
  const moving = report.tables.reduce((sum, table) => sum + table.in_flight.length + table.parked.in_flight.length, 0);
  if (moving > 0) return problem('SYN-V003', `${rows(moving, 'row')} ${were(moving)} still changing at the limit`);
  return 'All regions are equal.';
}

function renderTable(table: TableReport, width: number): string[] {
  const { parked } = table;
  const notes = [
    differ(table.differing, 'row'),
    table.in_flight.length > 0 ? `${count(table.in_flight.length)} still changing` : '',
    table.settled > 0 ? `${count(table.settled)} were in flight and settled` : '',
    table.keys_spelled_differently > 0 ? `${count(table.keys_spelled_differently)} keys spelled differently` : '',
    most(parked) > 0 ? `${counts(parked)} parked` : '',
    differ(parked.differing, 'parked row'),
    parked.in_flight.length > 0 ? `${rows(parked.in_flight.length, 'parked row')} still changing` : '',
    parked.settled > 0 ? `${rows(parked.settled, 'parked row')} ${were(parked.settled)} in flight and settled` : '',
  ].filter(isSaid);
  const head = `${table.table.padEnd(width)}  ${table.status.padEnd(12)}  ${(counts(table) || '-').padStart(12)} rows`;
  const lines = [notes.length === 0 ? head : `${head}  (${notes.join('; ')})`];
  if (table.problem !== null) lines.push(`  ${table.problem.code} ${table.problem.detail}`);
  lines.push(...renderCompared(table, '', renderVisible), ...renderCompared(parked, 'parked row ', renderParked));
  return lines;
}

/** `what` stands before each key. */
function renderCompared<Row>(
  { differing, differences, in_flight }: ComparedRows<Difference<Row>>,
  what: string,
  render: (row: Row | null) => string,
): string[] {
  const lines: string[] = [];
  for (const { key, regions } of differences.slice(0, ROWS_SHOWN_MAX)) {
    lines.push(`  ${what}${renderRow(key)}`);
    for (const [region, row] of Object.entries(regions)) lines.push(`    ${region}: ${render(row)}`);
  }
  for (const { key, changed_in } of in_flight.slice(0, ROWS_SHOWN_MAX)) {
    lines.push(`  ${what}${renderRow(key)} is still changing in ${changed_in.join(', ') || 'some region'}`);
  }
  const hidden = differing - Math.min(differences.length, ROWS_SHOWN_MAX);
  if (hidden > 0) lines.push(`  and ${count(hidden)} more`);
  return lines;
}

const renderVisible = (row: ReportedRow | null): string =>
  row === null ? 'no such row' : renderRow(row) || 'the row is there';

/** What was there before replication began has no origin. */
function renderParked(parked: ParkedVersion | null): string {
  if (parked === null) return 'not parked';
  const version = `parked with version ${parked.hlc} ${parked.origin}`.trimEnd();
  return [version, renderRow(parked.row)].filter(isSaid).join(', ');
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

const isSaid = (text: string): boolean => text !== '';

const most = (compared: ComparedRows<unknown>): number => Math.max(0, ...Object.values(compared.rows));

const counts = (compared: ComparedRows<unknown>): string =>
  [...new Set(Object.values(compared.rows))].map(count).join(' / ');

const rows = (value: number, what: string): string => (value === 1 ? `1 ${what}` : `${count(value)} ${what}s`);

const differ = (value: number, what: string): string =>
  value === 0 ? '' : `${rows(value, what)} ${value === 1 ? 'differs' : 'differ'}`;

const were = (value: number): string => (value === 1 ? 'was' : 'were');

const count = (value: number): string => value.toLocaleString('en-US');
