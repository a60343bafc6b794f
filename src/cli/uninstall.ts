// `syncline uninstall`: takes everything of Syncline out of a region's database, once it is confirmed.

import type { Command } from 'commander';
import { loadConfig } from '../platform/config.ts';
import { fail } from '../platform/errors.ts';
import { connect, quoteLiteral } from '../platform/postgres.ts';
import { print, printJson } from './output.ts';
import { findRemains, type Remains, removeRemains, removeStream } from './uninstall-steps.ts';

type Flags = { readonly config: string; readonly yes?: boolean; readonly log?: boolean; readonly json?: boolean };

export function registerUninstall(program: Command): void {
  program
    .command('uninstall')
    .description("Remove everything of Syncline from a region's database: the agent has to be stopped before.")
    .requiredOption('-c, --config <file>', 'configuration of the region')
    .option('--yes', 'say that this is meant; without it, what would be removed is listed')
    .option('--log', "remove the region's own stream from the log as well: what peers have not applied yet is lost")
    .option('--json', 'print what was removed')
    .action(uninstall);
}

async function uninstall({ config: path, yes, log, json }: Flags): Promise<void> {
  const config = await loadConfig(path);
  await using client = await connect(config.database, { applicationName: 'syncline uninstall' });
  const remains = await findRemains(client, config);
  if (yes !== true) {
    if (json === true) printJson({ removed: false, ...remains });
    else print(['this would be removed:', ...lines(remains), ...staying(remains)].join('\n'));
    throw fail('SYN-T012', `nothing was removed from the database of ${config.region}`);
  }
  await removeRemains(client, config);
  const stream = log === true ? await removeStream(config) : null;
  if (json === true) printJson({ removed: true, ...remains, stream });
  else {
    const removed = [...lines(remains), ...(stream === null ? [] : [`  the stream ${stream}`])];
    print(['removed:', ...removed, ...staying(remains)].join('\n'));
  }
}

/** What the agent changed and nobody can take back without knowing the other regions. */
function staying({ sequences, origins_kept }: Remains): string[] {
  const kept =
    origins_kept.length === 0
      ? []
      : [
          '',
          'this stays, since the role may not drop it; a superuser can:',
          ...origins_kept.map((origin) => `  select pg_replication_origin_drop(${quoteLiteral(origin)});`),
        ];
  if (sequences.length === 0) return kept;
  return [
    ...kept,
    '',
    'this stays as it is: sequences that hand out a share of the numbers. Where no other region draws',
    'numbers for these tables any more, they can be set back:',
    ...sequences.map(({ back }) => `  ${back}`),
  ];
}

function lines({ slot, publication, schema, origins, identities }: Remains): string[] {
  const found = [
    ...(slot === null ? [] : [`the replication slot ${slot}`]),
    ...(publication === null ? [] : [`the publication ${publication}`]),
    ...(schema === null ? [] : [`the schema ${schema} with its tables`]),
    ...origins.map((origin) => `the replication origin ${origin}`),
    ...identities.map(({ table, was }) => `the replica identity FULL of ${table}, which was ${was} before`),
  ];
  return (found.length === 0 ? ['nothing: there is nothing of Syncline here'] : found).map((each) => `  ${each}`);
}
