// `syncline conflicts reapply`: what lost is written again, as a new write that every region takes.

import type { Command } from 'commander';
import type { Reapplied } from '../api/schemas.ts';
import { fail } from '../platform/errors.ts';
import { type ApiFlags, addApiOptions, clientOf } from './api-client.ts';
import { paint, print, printJson } from './output.ts';
import { shortened } from './text-table.ts';

type Flags = ApiFlags & { readonly json?: boolean };

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const VALUE_WIDTH = 40;

export function addReapply(conflicts: Command): void {
  const command = conflicts
    .command('reapply')
    .description(
      'Write the losing side of a conflict again, as an ordinary write in the region of this agent, which reaches the others like every write. Each call is a new write.',
    )
    .argument('<conflict-id>', 'id of the record')
    .option('--json', 'print what was written');
  addApiOptions(command).action(async (conflictId: string, flags: Flags) => {
    if (!UUID.test(conflictId)) throw fail('SYN-T005', `${conflictId}: is no id of a record`);
    const done = await (await clientOf(flags)).post<Reapplied>(`/conflicts/${conflictId}/reapply`, {});
    if (flags.json === true) printJson(done);
    else print(renderReapplied(done));
  });
}

function renderReapplied({ schema_name, table_name, row_pk, operation, rows, written, left_out }: Reapplied): string {
  const told = (image: Reapplied['written']): string =>
    Object.entries(image ?? {})
      .map(([column, value]) => `${column}=${shortened(value ?? 'NULL', VALUE_WIDTH)}`)
      .join(', ');
  const name = `${paint('bold', `${schema_name}.${table_name}`)} ${told(row_pk)}`;
  if (rows === 0)
    return `${name}: nothing was written, ${operation === 'delete' ? 'there is no such row any more' : 'the row is as it was'}`;
  const lines = [
    `${name}: the row was ${operation === 'delete' ? 'deleted' : 'written'}, as a new version that goes to every region`,
  ];
  if (written !== null) lines.push(`  ${told(written)}`);
  if (left_out.length > 0) lines.push(`  not written: ${left_out.join(', ')}`);
  return lines.join('\n');
}
