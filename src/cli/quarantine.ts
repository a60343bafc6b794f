// `syncline quarantine`: events that could not be applied, and what an operator does about them.
//
// What is discarded is lost in this region for good (a parked row: in every region), so discarding asks for --yes.

import type { Command } from 'commander';
import type { Quarantined } from '../api/schemas.ts';
import { fail } from '../platform/errors.ts';
import { type ApiClient, type ApiFlags, addApiOptions, clientOf } from './api-client.ts';
import { integer } from './option-values.ts';
import { count, paint, print, printJson } from './output.ts';
import { shortened } from './text-table.ts';

type Page = { readonly items: readonly Quarantined[]; readonly next_cursor: string | null };
type Retried = { readonly event_id: string; readonly applied: boolean; readonly error: string | null };
type ListFlags = ApiFlags & {
  readonly json?: boolean;
  readonly table?: string;
  readonly region?: string;
  readonly limit: number;
  readonly cursor?: string;
};
type ActFlags = ApiFlags & {
  readonly json?: boolean;
  readonly all?: boolean;
  readonly table?: string;
  readonly yes?: boolean;
};

type EditFlags = ApiFlags & {
  readonly json?: boolean;
  readonly set?: readonly string[];
  readonly null?: readonly string[];
};

const BATCH = 500;
const ERROR_WIDTH = 200;

export function registerQuarantine(program: Command): void {
  const quarantine = program.command('quarantine').description('Events that could not be applied.');
  const list = quarantine
    .command('list')
    .description('List them, newest first, with the reason, and the rows that wait for a unique value.')
    .option('--table <name>', 'only of this table: table or schema.table')
    .option('--region <name>', 'only of this origin')
    .option('--limit <n>', 'how many', integer(1, 1_000), 50)
    .option('--cursor <cursor>', 'go on where the page before ended')
    .option('--json', 'print { items, next_cursor }');
  addApiOptions(list).action(showList);
  const retry = quarantine
    .command('retry')
    .description('Apply events again, oldest first. The exit code is 0 only if all could be applied.');
  addActOptions(retry).action(retryEvents);
  const discard = quarantine
    .command('discard')
    .description('Give events up: they are not applied in this region, ever. A parked row is deleted in every region.')
    .option('--yes', 'say that this is meant');
  addActOptions(discard).action(discardEvents);
  const edit = quarantine
    .command('edit')
    .description('Give a parked row other values, in every region.')
    .argument('<event-id>', 'id of the parked row')
    .option(
      '--set <column=value>',
      "a new value, as PostgreSQL prints it; 'column=' is the empty text",
      (pair: string, known: readonly string[] | undefined) => [...(known ?? []), pair],
    )
    .option('--null <column>', 'set a column to NULL', (column: string, known: readonly string[] | undefined) => [
      ...(known ?? []),
      column,
    ])
    .option('--json', 'print what was done');
  addApiOptions(edit).action(editRow);
}

function addActOptions(command: Command): Command {
  command
    .argument('[event-ids...]', 'ids of events')
    .option('--all', 'all that are in the quarantine')
    .option('--table <name>', 'with --all: only of this table')
    .option('--json', 'print what was done');
  return addApiOptions(command);
}

async function showList(flags: ListFlags): Promise<void> {
  const { table, region, limit, cursor } = flags;
  const page = await (await clientOf(flags)).get<Page>('/quarantine', { table, region, limit, cursor });
  if (flags.json === true) return printJson(page);
  if (page.items.length === 0) return print('the quarantine is empty');
  for (const item of page.items) {
    const key = Object.entries(item.row_pk ?? {}).map(
      ([column, value]) => `${column}=${shortened(value ?? 'NULL', 40)}`,
    );
    const table = paint('bold', `${item.schema_name}.${item.table_name}`);
    if (item.kind === 'parked') {
      const values = Object.entries(item.image ?? {}).map(
        ([column, value]) => `${column}=${shortened(value ?? 'NULL', 40)}`,
      );
      print(
        `${item.event_id}  ${table} ${key.join(', ')}  parked, of ${item.region_id}
  ${paint('yellow', 'waits')} for the row ${(item.blocker ?? []).map((value) => value ?? 'NULL').join(', ')}, which has a value that it claims
  ${shortened(values.join(', '), ERROR_WIDTH)}
  ${paint('dim', item.quarantined_at)}`,
      );
      continue;
    }
    print(
      `${item.event_id}  ${table} ${key.join(', ')}  ${item.operation} of ${item.region_id}
  ${paint('red', item.sqlstate)} ${shortened(item.error, ERROR_WIDTH)}
  ${paint('dim', `${item.quarantined_at}, ${count(item.attempts)} ${item.attempts === 1 ? 'attempt' : 'attempts'}`)}`,
    );
  }
  if (page.next_cursor !== null) print(`\nmore: --cursor ${page.next_cursor}`);
}

async function editRow(event_id: string, flags: EditFlags): Promise<void> {
  const values: { [column: string]: string | null } = {};
  for (const pair of flags.set ?? []) {
    const at = pair.indexOf('=');
    if (at < 1) throw fail('SYN-T005', `--set ${pair}: is not column=value`);
    values[pair.slice(0, at)] = pair.slice(at + 1);
  }
  for (const column of flags.null ?? []) values[column] = null;
  if (Object.keys(values).length === 0) throw fail('SYN-T005', 'give a value with --set or --null');
  const edited = await (await clientOf(flags)).post<{ edited: boolean }>('/quarantine/edit', { event_id, values });
  if (flags.json === true) printJson(edited);
  else print('the row has its new values as soon as each region hears of them');
}

async function retryEvents(ids: readonly string[], flags: ActFlags): Promise<void> {
  const client = await clientOf(flags);
  const items: Retried[] = [];
  for (const event_ids of await batches(client, ids, flags)) {
    items.push(...(await client.post<{ items: Retried[] }>('/quarantine/retry', { event_ids })).items);
  }
  const failed = items.filter(({ applied }) => !applied);
  if (flags.json === true) printJson({ items });
  else {
    for (const { event_id, error } of failed)
      print(`${paint('red', '✖')} ${event_id}  ${shortened(error ?? '', ERROR_WIDTH)}`);
    print(`${count(items.length - failed.length)} of ${count(items.length)} events were applied`);
  }
  if (failed.length > 0) process.exitCode = 1;
}

async function discardEvents(ids: readonly string[], flags: ActFlags): Promise<void> {
  if (flags.yes !== true) throw fail('SYN-T012', 'discarded events are never applied in this region');
  const client = await clientOf(flags);
  let discarded = 0;
  for (const event_ids of await batches(client, ids, flags)) {
    discarded += (await client.post<{ discarded: number }>('/quarantine/discard', { event_ids })).discarded;
  }
  if (flags.json === true) printJson({ discarded });
  else print(`${count(discarded)} ${discarded === 1 ? 'event was' : 'events were'} discarded`);
}

/** The events in pieces that a request takes, oldest first: ids begin with the time of the event. */
async function batches(client: ApiClient, ids: readonly string[], flags: ActFlags): Promise<string[][]> {
  if (flags.all !== true && ids.length === 0) throw fail('SYN-T005', 'name events by their ids, or give --all');
  const chosen = flags.all === true ? await allIds(client, flags.table) : [...ids];
  chosen.sort();
  const pieces: string[][] = [];
  for (let from = 0; from < chosen.length; from += BATCH) pieces.push(chosen.slice(from, from + BATCH));
  return pieces;
}

async function allIds(client: ApiClient, table: string | undefined): Promise<string[]> {
  const ids: string[] = [];
  let cursor: string | undefined;
  do {
    const page: Page = await client.get<Page>('/quarantine', { table, limit: 1_000, cursor });
    // A parked row is discarded in all regions, so each has to be named.
    ids.push(...page.items.filter(({ kind }) => kind === 'failed').map(({ event_id }) => event_id));
    cursor = page.next_cursor ?? undefined;
  } while (cursor !== undefined);
  return ids;
}
