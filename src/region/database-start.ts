/**
 * Brings a region's database to where an agent can work with it: it has what is needed, and this version's schema.
 *
 * A schema that is there is upgraded by the holder of the lease alone. Until it is his, an agent of the version before may be at
 * work, whose statements are about the schema as it was; what he is refused by is the lease, so that table never changes.
 * Who lost the lease is refused by it, and who is started anew by the version of the schema.
 */
import type { Lease } from '../capture/lease.ts';
import type { Finding } from '../monitor/checks/finding.ts';
import { checkPrerequisites } from '../monitor/checks/prerequisites.ts';
import type { Config } from '../platform/config.ts';
import type { Logger } from '../platform/logger.ts';
import { checkVersion, migrate } from '../platform/migrations.ts';
import { connect } from '../platform/postgres.ts';
import { adaptPublication } from './server-upgrade.ts';

/** The lease can be taken then. Rejects with what the operator has to mend. */
export async function prepareDatabase(config: Config, logger: Logger, signal: AbortSignal): Promise<void> {
  const client = await connect(config.database, { applicationName: `syncline ${config.region} start`, signal });
  try {
    await adaptPublication(client, config.region);
    tellWarnings(await checkPrerequisites(client, config), logger);
    if ((await checkVersion(client)) === 0) await migrate(client);
  } finally {
    await client.end();
  }
}

export async function upgradeDatabase(
  config: Config,
  lease: Lease,
  logger: Logger,
  signal: AbortSignal,
): Promise<void> {
  const client = await connect(config.database, { applicationName: lease.applicationName('upgrade'), signal });
  try {
    await lease.assertHeld();
    const { from, to } = await migrate(client);
    if (from < to) logger.info({ from, to }, 'the schema syncline is upgraded');
  } finally {
    await client.end();
  }
}

/** By code alone: there may be one for each of a thousand tables. */
function tellWarnings(findings: readonly Finding[], logger: Logger): void {
  const codes = findings.filter(({ severity }) => severity !== 'info').map(({ code }) => code);
  if (codes.length > 0) logger.warn({ codes: [...new Set(codes)] }, '`syncline doctor` warns of this region');
}
