/**
 * The role that agents of a cluster connect as: the superuser, or with SYNCLINE_ROLE=plain one that has nothing but a login and
 * what `syncline doctor` prints for it.
 *
 * The statements are run as an operator runs them: as they are printed, by a superuser, until doctor is content, and again
 * when a table was made. What doctor forgets to print therefore fails the tests that need it.
 */

import { CHECKS } from '../../src/monitor/checks/check-list.ts';
import { findProblems } from '../../src/monitor/checks/prerequisites.ts';
import { loadConfig } from '../../src/platform/config.ts';
import type { ErrorCode } from '../../src/platform/errors.ts';
import { connect } from '../../src/platform/postgres.ts';
import type { EmbeddedPostgres } from '../../src/platform/servers/embedded-postgres.ts';

export type AgentRole = 'superuser' | 'plain';

const asked = process.env.SYNCLINE_ROLE ?? 'superuser';
if (asked !== 'superuser' && asked !== 'plain') {
  throw new Error(`SYNCLINE_ROLE is ${asked}; there are superuser and plain`);
}

/** The role of agents whose test does not name one. */
export const DEFAULT_ROLE: AgentRole = asked;

const origins = process.env.SYNCLINE_ORIGINS ?? 'used';
if (origins !== 'used' && origins !== 'none')
  throw new Error(`SYNCLINE_ORIGINS is ${origins}; there are used and none`);

/** Whether agents whose test does not tell write under replication origins; with SYNCLINE_ORIGINS=none they do without. */
export const HAS_ORIGINS = origins === 'used';

const PLAIN = { user: 'plain agent', password: 'plain' };
const NAME = { applicationName: 'operator' };
/** A grant can show what else is missing: what is in a schema shows once the schema may be used. */
const ROUNDS_MAX = 4;
/** A schema of ours that is dropped takes along what PostgreSQL 14 has in the place of a grant. */
const CREATES = /(?:^|;)\s*(create|alter|drop schema)\s/i;
/** What a table looks like is for the test to say. */
const isOfTables = (code: ErrorCode): boolean =>
  Object.entries(CHECKS).some(([each, { area }]) => each === code && area === 'tables');

/** Makes the role, which may log in and nothing else; the URL that its agent connects with. */
export async function makePlainRole(server: EmbeddedPostgres, database: string): Promise<string> {
  await using superuser = await connect(server.url(), NAME);
  await superuser.query(`create role "${PLAIN.user}" login password '${PLAIN.password}'`);
  return server.url(database, PLAIN);
}

/** By server: grants of two databases can touch one row of a shared catalog at once, which PostgreSQL refuses (XX000). */
const granting = new Map<string, Promise<void>>();

/** Runs what doctor prints for errors of this region, as the superuser of the server. */
export async function runDoctorsStatements(superuserUrl: string, configPath: string): Promise<void> {
  const server = new URL(superuserUrl).host;
  const before = granting.get(server) ?? Promise.resolve();
  const running = before.then(async () => await runStatements(superuserUrl, configPath));
  granting.set(
    server,
    running.catch(() => undefined),
  );
  await running;
}

async function runStatements(superuserUrl: string, configPath: string): Promise<void> {
  const config = await loadConfig(configPath);
  await using superuser = await connect(superuserUrl, NAME);
  for (let round = 1; round <= ROUNDS_MAX; round += 1) {
    await using agent = await connect(config.database, NAME);
    const errors = (await findProblems(agent, config)).filter(
      ({ code, severity }) => severity === 'error' && !isOfTables(code),
    );
    const statements = errors.flatMap(({ fix }) => fix.split('\n')).filter((line) => !/^(--|#)|^$/.test(line));
    if (statements.length === 0) return;
    for (const statement of statements) await superuser.query(statement);
  }
  throw new Error(`doctor is not content with what it printed, after ${ROUNDS_MAX} rounds`);
}

/** Whether a statement may have made what the role needs another grant for. */
export const mayNeedGrants = (sql: string): boolean => CREATES.test(sql);
