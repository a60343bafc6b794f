// `syncline prepare-upgrade`: serves a region until it is at rest, so that pg_upgrade may take its server to a new major version.

import { setTimeout as delay } from 'node:timers/promises';
import type { Command } from 'commander';
import { Agent } from '../agent.ts';
import { captureName } from '../capture/publication.ts';
import { loadConfig } from '../platform/config.ts';
import { fail } from '../platform/errors.ts';
import { createLogger } from '../platform/logger.ts';
import type { Readiness } from '../region/server-upgrade.ts';
import { integer } from './option-values.ts';
import { print } from './output.ts';

const LOOK_PERIOD_MS = 500;
const LIMIT_S = 120;

type Flags = { readonly config: string; readonly wait: number };
type Wait = Extract<Readiness, { kind: 'unrest' }>['waits'][number];

const WAITS: Readonly<Record<Wait, string>> = {
  baseline: 'the baseline is still being read',
  written: 'a write has just been applied',
  unpublished: 'writes are on their way into the stream',
  open: 'transactions are open on the server',
  unstable: 'not all regions have told yet that they have applied everything',
  parked: 'rows are parked',
  quarantined: 'events are in the quarantine',
  looks: 'removals are still to be looked at again',
  versions: 'versions of rows are still kept',
  tombstones: 'removals are still kept',
  merges: 'rows that merge are not settled yet',
  transfers: 'rows of a table that came later are still being told',
};

export function registerPrepareUpgrade(program: Command): void {
  program
    .command('prepare-upgrade')
    .description(
      'Bring a region to rest before pg_upgrade: in the place of its agent, while no region writes. Ends once that is noted in the database.',
    )
    .requiredOption('-c, --config <file>', 'configuration of the region')
    .option('--wait <seconds>', 'how long to wait for rest', integer(1, 86_400), LIMIT_S)
    .action(prepareUpgrade);
}

async function prepareUpgrade({ config: path, wait }: Flags): Promise<void> {
  const config = await loadConfig(path);
  // The lines below tell what goes on; the log is for what goes wrong.
  const logger = createLogger({ level: 'warn', fields: { region: config.region } });
  const limitMs = Date.now() + wait * 1_000;
  await using agent = await Agent.start(config, logger);
  const ended = agent.ended.then(() => undefined);
  let told = '';
  for (;;) {
    const readiness = await Promise.race([agent.rest(), ended]);
    if (readiness?.kind === 'rest') break;
    const waits = (readiness?.waits ?? []).map((what) => WAITS[what]).join('; ');
    if (Date.now() >= limitMs) throw fail('SYN-K033', `region ${config.region}: after ${wait} s, ${waits}`);
    if (waits !== told) print(`${config.region} is not at rest yet: ${waits}`);
    told = waits;
    await Promise.race([delay(LOOK_PERIOD_MS), ended]);
  }
  print(
    [
      `${config.region} is at rest, and notes it in its database. The other regions may write again; this one may not, until its`,
      'agent is at work on the new server. Now stop the server, and upgrade it. From PostgreSQL 17 on pg_upgrade wants to',
      'take slots along; this one is made anew in any case:',
      `  select pg_drop_replication_slot('${captureName(config.region)}');`,
      'On the new server set wal_level = logical and track_commit_timestamp = on, start it, start the agent, then let users in.',
    ].join('\n'),
  );
}
