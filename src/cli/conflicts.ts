// `syncline conflicts`: writes that lost against others that did not know of them, newest first.

import type { Command } from 'commander';
import type { Conflict } from '../api/schemas.ts';
import { type ApiFlags, addApiOptions, clientOf } from './api-client.ts';
import { renderConflict } from './conflict-view.ts';
import { addReapply } from './conflicts-reapply.ts';
import { integer, keyPart } from './option-values.ts';
import { print, printJson } from './output.ts';

type Flags = ApiFlags & {
  readonly json?: boolean;
  readonly table?: string;
  readonly from?: string;
  readonly to?: string;
  readonly strategy?: string;
  readonly region?: string;
  readonly pk?: Readonly<Record<string, string>>;
  readonly provisional?: boolean;
  readonly final?: boolean;
  readonly limit: number;
  readonly cursor?: string;
};

type Page = { readonly items: readonly Conflict[]; readonly next_cursor: string | null };

export function registerConflicts(program: Command): void {
  const command = program
    // Else what stands behind the subcommand would be taken for an option of this one.
    .enablePositionalOptions()
    .command('conflicts')
    .enablePositionalOptions()
    .description(
      'Show writes that lost against others that did not know of them: which columns differ, who won; and rows whose parent was removed elsewhere.',
    )
    .option('--table <name>', 'only of this table: table or schema.table')
    .option('--from <time>', 'resolved at or after this time, ISO 8601')
    .option('--to <time>', 'resolved before this time, ISO 8601')
    .option('--strategy <name>', 'only those resolved by this strategy: lww, or orphan for rows without a parent')
    .option('--region <name>', 'only those in which this region lost or won')
    .option('--pk <column=value>', 'only of the row with this key; repeat it for each column of the key', keyPart)
    .option('--provisional', 'only those that may still change')
    .option('--final', 'only those that are final')
    .option('--limit <n>', 'how many', integer(1, 1_000), 20)
    .option('--cursor <cursor>', 'go on where the page before ended')
    .option('--json', 'print { items, next_cursor }');
  addReapply(command);
  addApiOptions(command).action(async (flags: Flags) => {
    const { table, from, to, strategy, region, limit, cursor } = flags;
    const client = await clientOf(flags);
    const pk = flags.pk === undefined ? undefined : JSON.stringify(flags.pk);
    const provisional = flags.final === true ? 'false' : flags.provisional === true ? 'true' : undefined;
    const filters = { table, from, to, strategy, region, pk, provisional };
    const page = await client.get<Page>('/conflicts', { ...filters, limit, cursor });
    if (flags.json === true) return printJson(page);
    if (page.items.length === 0) return print('no conflicts');
    print(page.items.map(renderConflict).join('\n'));
    if (page.next_cursor !== null) print(`\nmore: --cursor ${page.next_cursor}`);
  });
}
