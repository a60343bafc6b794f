// A conflict, as a person would tell it. Pure.

import type { Conflict, Image } from './agent-client.ts';

const VALUE_CHARACTERS_MAX = 60;
/** These change with every write and tell nothing about what the writer wanted. */
const NOISE = new Set(['updated_at', 'created_at', 'placed_at']);

/** The lines that tell the conflict. */
export function tellConflict(conflict: Conflict): string[] {
  const { table_name: table, row_pk: pk, image_a: lost, image_b: won } = conflict;
  const columns = differingColumns(lost, won);
  const key = Object.entries(pk ?? {})
    .map(([column, value]) => `${column} ${shown(value)}`)
    .join(', ');
  return [
    `${table}, ${key}`,
    `  ${conflict.loser_region} ${told(lost, columns)}`,
    `  ${conflict.winner_region} ${told(won, columns)}, later, and won`,
  ];
}

/** Up to `max` of them, from as many tables as there are, those whose writes differ visibly first. */
export function pickConflicts(conflicts: readonly Conflict[], max: number): Conflict[] {
  const telling = conflicts.filter(({ image_a: lost, image_b: won }) => differingColumns(lost, won).length > 0);
  const byTable = Map.groupBy(telling, ({ table_name }) => table_name);
  const picked: Conflict[] = [];
  for (let place = 0; picked.length < max; place += 1) {
    const round = [...byTable.values()].flatMap((list) => list[place] ?? []);
    if (round.length === 0) break;
    picked.push(...round.slice(0, max - picked.length));
  }
  return picked;
}

function differingColumns(one: Image | null, other: Image | null): string[] {
  const columns = Object.keys(one ?? other ?? {}).filter((column) => !NOISE.has(column));
  if (one === null || other === null) return columns;
  return columns.filter((column) => one[column] !== other[column]);
}

function told(image: Image | null, columns: readonly string[]): string {
  if (image === null) return 'deleted the row';
  const values = columns.map((column) => `${column} = ${shown(image[column] ?? null)}`).join(', ');
  return `wrote ${values || 'the same values'}`;
}

function shown(value: string | null): string {
  if (value === null) return 'NULL';
  const cut = value.length > VALUE_CHARACTERS_MAX ? `${value.slice(0, VALUE_CHARACTERS_MAX)}…` : value;
  return `'${cut}'`;
}
