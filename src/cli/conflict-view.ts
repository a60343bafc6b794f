// A conflict for people: only the columns in which the images differ, side by side; pure.

import type { Conflict } from '../api/schemas.ts';
import { paint } from './output.ts';
import { shortened, textTable } from './text-table.ts';

const VALUE_WIDTH = 36;

export function renderConflict(conflict: Conflict): string {
  if (conflict.resolution_strategy === 'orphan') return renderOrphan(conflict);
  const { row_pk, image_a, image_b, base_image, result_image, redacted } = conflict;
  const key = Object.entries(row_pk ?? {})
    .map(([column, value]) => `${column}=${shown(value)}`)
    .join(', ');
  const reason = conflict.provisional_reason === null ? '' : ` (${conflict.provisional_reason})`;
  const state = conflict.provisional ? paint('yellow', `provisional${reason}`) : 'final';
  const lines = [
    `${paint('bold', `${conflict.schema_name}.${conflict.table_name}`)} ${key}  ${conflict.resolution_strategy}, ${state}  ${paint('dim', conflict.resolved_at)}`,
    `  lost ${paint('red', conflict.loser_region)} ${paint('dim', conflict.event_id_a ?? 'event unknown')}`,
    `  won  ${paint('green', conflict.winner_region)} ${paint('dim', conflict.event_id_b ?? 'event unknown')}`,
    paint('dim', `  record ${conflict.conflict_id}`),
  ];
  const images = [base_image, image_a, image_b, result_image];
  // Whether those that are withheld differ is not known.
  const known = new Set(images.flatMap((image) => Object.keys(image ?? {})));
  const columns = [...known].filter((column) => !redacted.includes(column));
  const withheld = redacted.length === 0 ? [] : [paint('dim', `  withheld: ${redacted.join(', ')}`)];
  const differing = columns.filter((column) => new Set(images.flatMap((image) => valueIn(image, column))).size > 1);
  // A row that one side deleted differs as a whole.
  const gone = [image_a, image_b].some((image) => image === null);
  const rows = (gone ? columns : differing).map((column) => [
    `  ${column}`,
    ...images.map((image) => {
      const [value] = valueIn(image, column);
      return image === null ? paint('dim', 'no row') : value === undefined ? paint('dim', 'not sent') : shown(value);
    }),
  ]);
  if (rows.length === 0) {
    const same = withheld.length === 0 ? '  both wrote the same values' : '  what is shown is the same on both sides';
    return [...lines, same, ...withheld, ''].join('\n');
  }
  const titles = ['  column', 'before', `${conflict.loser_region} (lost)`, `${conflict.winner_region} (won)`, 'result'];
  lines.push(
    ...textTable(
      titles.map((title) => ({ title })),
      rows,
    ),
  );
  const equal = columns.length - rows.length;
  if (equal > 0) lines.push(paint('dim', `  ${equal} more ${equal === 1 ? 'column is' : 'columns are'} equal`));
  return [...lines, ...withheld, ''].join('\n');
}

function renderOrphan({ schema_name, table_name, row_pk, image_a, ...conflict }: Conflict): string {
  const told = (image: Conflict['image_a']): string =>
    Object.entries(image ?? {})
      .map(([column, value]) => `${column}=${shown(value)}`)
      .join(', ');
  const names = Object.entries(image_a ?? {}).filter(([column]) => !Object.hasOwn(row_pk ?? {}, column));
  // A key that is a foreign key as well is all that there is to show.
  const image = names.length === 0 ? image_a : Object.fromEntries(names);
  return [
    `${paint('bold', `${schema_name}.${table_name}`)} ${told(row_pk)}  orphan, final  ${paint('dim', conflict.resolved_at)}`,
    `  ${told(image)} names no row of ${conflict.parent_table} (constraint ${conflict.constraint_name})`,
    `  removed by ${paint('green', conflict.winner_region)} ${paint('dim', conflict.event_id_b ?? 'event unknown')}`,
    '',
  ].join('\n');
}

/** The value in a list, or none where the image does not tell. */
function valueIn(image: Conflict['image_a'], column: string): (string | null)[] {
  return image === null || !Object.hasOwn(image, column) ? [] : [image[column] ?? null];
}

/** Text and NULL can be told apart, and so can a text that looks like nothing. */
function shown(value: string | null | undefined): string {
  if (value === null || value === undefined) return paint('dim', 'NULL');
  const isPlain = value !== '' && value !== 'NULL' && value === value.trim();
  return shortened(isPlain ? value : JSON.stringify(value), VALUE_WIDTH);
}
