/** Brings a region's database to where an agent can work with it: it has what is needed, and this version's schema. */
import type { Finding } from '../monitor/finding.ts';
import { checkPrerequisites } from '../monitor/prerequisites.ts';
import type { Config } from '../platform/config.ts';
import type { Logger } from '../platform/logger.ts';
import { migrate } from '../platform/migrations.ts';
import { connect } from '../platform/postgres.ts';

/** Rejects with what the operator has to mend. */
export async function prepareDatabase(config: Config, logger: Logger): Promise<void> {
  const client = await connect(config.database, { applicationName: `syncline ${config.region} start` });
  try {
    tellWarnings(await checkPrerequisites(client, config), logger);
    await migrate(client);
  } finally {
    await client.end();
  }
}

/** By code alone: there may be one for each of a thousand tables. */
function tellWarnings(findings: readonly Finding[], logger: Logger): void {
  const codes = findings.filter(({ severity }) => severity !== 'info').map(({ code }) => code);
  if (codes.length > 0) logger.warn({ codes: [...new Set(codes)] }, '`syncline doctor` warns of this region');
}
