// `syncline merge register|list|promote|rollback|shadow|test`: how rows merge where regions write them at once, and which version of
// that is in effect. Any region's agent takes it for all.

import { readFile } from 'node:fs/promises';
import { type Command, Option } from 'commander';
import type { MergeVersion } from '../api/merge-schemas.ts';
import { ROLLOUT_MODES } from '../change/merge-registry.ts';
import { fail } from '../platform/errors.ts';
import { type ApiClient, type ApiFlags, addApiOptions, clientOf } from './api-client.ts';
import { addMergeShadow } from './merge-shadow.ts';
import { addMergeTest } from './merge-test.ts';
import { renderMerges, renderVersion } from './merge-view.ts';
import { integer, keyPart } from './option-values.ts';
import { print, printJson } from './output.ts';

type Common = ApiFlags & { readonly json?: boolean };
type RolloutFlags = { readonly mode?: string; readonly percent?: number };
type RegisterFlags = Common &
  RolloutFlags & {
    readonly table: string;
    readonly strategy?: string;
    readonly function?: string;
    readonly column?: Readonly<Record<string, string>>;
    readonly deletes?: string;
  };
type ListFlags = Common & { readonly table?: string; readonly limit: number; readonly cursor?: string };
type RollbackFlags = Common & { readonly to?: string };
type Page = { readonly items: readonly MergeVersion[]; readonly next_cursor: string | null };

const ID_LENGTH = 64;
const ID_LENGTH_MIN = 6;
const PAGE_MAX = 1_000;

export function registerMerge(program: Command): void {
  const merge = program
    .command('merge')
    .description('Decide how rows merge that several regions write at once, and roll that out.');
  addRegister(merge);
  addList(merge);
  addPromote(merge);
  addRollback(merge);
  addMergeShadow(merge, idOf);
  addMergeTest(merge);
}

function addRegister(merge: Command): void {
  const command = merge
    .command('register')
    .description('Register a merge rule for a table; every region takes it in, and then its events go by it.')
    .requiredOption('--table <name>', 'schema.table')
    .addOption(new Option('--strategy <name>', 'of rows: whose columns are taken').choices(['lww', 'lww-columns']))
    .option('--function <file>', 'a function for rows, in TypeScript or JavaScript')
    .option('--column <column=strategy>', 'of one column; repeat it for others', keyPart)
    .addOption(
      new Option('--deletes <policy>', 'a removal against a concurrent write').choices([
        'latest',
        'delete-wins',
        'update-wins',
      ]),
    );
  addRollout(command)
    .option('--json', 'print the version')
    .action(async (flags: RegisterFlags) => {
      const { table, strategy, column: columns, deletes } = flags;
      const source = flags.function === undefined ? undefined : await readSource(flags.function);
      const options = deletes === undefined ? undefined : { deletes };
      const rollout = flags.mode === undefined && flags.percent === undefined ? undefined : rolloutOf(flags);
      const client = await clientOf(flags);
      const body = { table, strategy, source, columns, options, rollout };
      tell(flags, await client.post<MergeVersion>('/merge-functions', body));
    });
}

function addList(merge: Command): void {
  const command = merge
    .command('list')
    .description('List versions of merge rules, the newest first, with how far each region is.')
    .option('--table <name>', 'only of this table: table or schema.table')
    .option('--limit <n>', 'how many', integer(1, PAGE_MAX), 50)
    .option('--cursor <cursor>', 'go on where the page before ended')
    .option('--json', 'print { items, next_cursor }');
  addApiOptions(command).action(async (flags: ListFlags) => {
    const { table, limit, cursor } = flags;
    const client = await clientOf(flags);
    const page = await client.get<Page>('/merge-functions', { table, limit, cursor });
    if (flags.json === true) return printJson(page);
    if (page.items.length === 0) return print('no merge rules: every table goes by last writer wins');
    print(renderMerges(page.items));
    if (page.next_cursor !== null) print(`\nmore: --cursor ${page.next_cursor}`);
  });
}

function addPromote(merge: Command): void {
  const command = merge
    .command('promote')
    .description('Want a version in all regions: for all rows, for a share of them, or in shadow.')
    .argument('<version>', 'its id, or the beginning of it');
  addRollout(command)
    .option('--json', 'print the version')
    .action(async (version: string, flags: Common & RolloutFlags) => {
      const client = await clientOf(flags);
      const id = await idOf(client, version);
      tell(flags, await client.post<MergeVersion>(`/merge-functions/${id}/promote`, rolloutOf(flags)));
    });
}

function addRollback(merge: Command): void {
  const command = merge
    .command('rollback')
    .description('Go back to what was in effect before a version, in all regions.')
    .argument('<version>', 'its id, or the beginning of it')
    .option('--to <version>', 'to that version of the table, or lww for last writer wins')
    .option('--json', 'print the version that was rolled back');
  addApiOptions(command).action(async (version: string, flags: RollbackFlags) => {
    const client = await clientOf(flags);
    const id = await idOf(client, version);
    const to = flags.to === undefined ? {} : { to: flags.to === 'lww' ? null : await idOf(client, flags.to) };
    tell(flags, await client.post<MergeVersion>(`/merge-functions/${id}/rollback`, to));
  });
}

function addRollout(command: Command): Command {
  return addApiOptions(
    command
      .addOption(new Option('--mode <mode>', 'immediate unless --percent is given').choices([...ROLLOUT_MODES]))
      .option('--percent <n>', 'only for this share of the rows, the same ones everywhere', integer(0, 100)),
  );
}

function rolloutOf({ mode, percent }: RolloutFlags): { mode: string; percent?: number } {
  if (percent === undefined) return { mode: mode ?? 'immediate' };
  if (mode !== undefined && mode !== 'percent') throw fail('SYN-T005', '--percent is for --mode percent');
  return { mode: 'percent', percent };
}

async function readSource(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw fail('SYN-T101', `${path} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`, {
      cause,
    });
  }
}

/** The whole id of the one version that begins so. */
async function idOf(client: ApiClient, text: string): Promise<string> {
  if (text.length === ID_LENGTH) return text;
  const { items } = await client.get<Page>('/merge-functions', { limit: PAGE_MAX });
  const found = items.filter(({ version_id }) => text.length >= ID_LENGTH_MIN && version_id.startsWith(text));
  const [only] = found;
  if (only !== undefined && found.length === 1) return only.version_id;
  const least = text.length < ID_LENGTH_MIN ? `, of which at least ${ID_LENGTH_MIN} characters are needed` : '';
  throw fail('SYN-T103', `${found.length === 0 ? 'no' : 'more than one'} version begins with ${text}${least}`);
}

function tell({ json }: Common, version: MergeVersion): void {
  if (json === true) printJson(version);
  else print(renderVersion(version));
}
