// `syncline prepare-upgrade`: serves a region until it is at rest, so that pg_upgrade may take its server to a new major version.

import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { Command } from 'commander';
import { Agent } from '../agent.ts';
import { captureName } from '../capture/tables/publication.ts';
import { loadConfig } from '../platform/config.ts';
import { fail, type SynclineError } from '../platform/errors.ts';
import { createLogger } from '../platform/logger.ts';
import type { Readiness } from '../region/server-upgrade.ts';
import { integer } from './option-values.ts';
import { print } from './output.ts';

const LOOK_PERIOD_MS = 500;
const LIMIT_S = 120;
const SIGNALS = ['SIGTERM', 'SIGINT'] as const;

type Flags = { readonly config: string; readonly wait: number };
type Wait = Extract<Readiness, { kind: 'unrest' }>['waits'][number];

const WAITS: Readonly<Record<Wait, string>> = {
  baseline: 'the baseline is not known yet (the log tells if it cannot be read)',
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
  const over = new AbortController();
  const limit = setTimeout(() => over.abort(`${wait} s are over`), wait * 1_000);
  for (const signal of SIGNALS) process.once(signal, () => over.abort(`it was ended by ${signal}`));
  let told = 'the agent starts';
  const unready = (cause?: unknown): SynclineError =>
    fail('SYN-K033', `region ${config.region}: ${over.signal.reason}, and ${told}`, { cause });
  try {
    await using agent = await Agent.start(config, logger, over.signal).catch((cause: unknown) => {
      throw over.signal.aborted ? unready(cause) : cause;
    });
    const ended = Promise.race([agent.ended, once(over.signal, 'abort')]).then(() => null);
    for (;;) {
      const readiness = over.signal.aborted ? null : await Promise.race([agent.rest(), ended]);
      if (readiness === null) throw unready();
      if (readiness.kind === 'rest') break;
      const waits = readiness.waits.map((what) => WAITS[what]).join('; ');
      if (waits !== told) print(`${config.region} is not at rest yet: ${waits}`);
      told = waits;
      await Promise.race([delay(LOOK_PERIOD_MS), ended]);
    }
  } finally {
    clearTimeout(limit);
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
