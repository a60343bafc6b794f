// What a merge function made of one sample, for people: the columns in which the two sides or the result differ; pure.

import type { MergeInput, Row } from '../resolve/merge-types.ts';
import { paint } from './output.ts';
import { shortened, textTable } from './text-table.ts';

const VALUE_WIDTH = 36;

/** What became of one sample. */
export type Trial = {
  readonly input: MergeInput;
  /** Null where the function failed. */
  readonly result: Row | null;
  /** Why the later event's row would be taken instead. */
  readonly fallback: string | null;
  readonly deterministic: boolean;
};

export function renderTrial({ input, result, fallback, deterministic }: Trial): string {
  const { base, a, b, meta } = input;
  const key = Object.entries(meta.key).map(([column, value]) => `${column}=${shown(value)}`);
  const lines = [`${paint('bold', meta.table)} ${key.join(', ')}`.trimEnd()];
  if (fallback !== null) lines.push(paint('red', `  the function failed (${fallback}): the later row would be taken`));
  if (!deterministic) lines.push(paint('red', '  the function gives another result when it is asked again'));
  const rows = [base, a, b, result];
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row ?? {})))];
  const differing = columns.filter((column) => new Set([a, b, result].map((row) => row?.[column] ?? null)).size > 1);
  const cells = differing.map((column) => [
    `  ${column}`,
    ...rows.map((row) => (row === null ? paint('dim', 'no row') : shown(row[column]))),
  ]);
  if (cells.length === 0) return [...lines, '  both sides and the result are equal', ''].join('\n');
  const titles = ['  column', 'base', `a (${meta.a.region})`, `b (${meta.b.region})`, 'result'];
  return [
    ...lines,
    ...textTable(
      titles.map((title) => ({ title })),
      cells,
    ),
    '',
  ].join('\n');
}

function shown(value: string | null | undefined): string {
  return value === null || value === undefined ? paint('dim', 'NULL') : shortened(value, VALUE_WIDTH);
}
