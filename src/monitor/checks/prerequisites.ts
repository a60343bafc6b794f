// Whether a database can serve a region: the server, the role and the tables, each with what is
// wrong, why it matters and the exact SQL that mends it. The agent asks before it starts; `syncline
// doctor` shows everything at once.

import type { Config } from '../../platform/config.ts';
import { fail } from '../../platform/errors.ts';
import type { PostgresClient } from '../../platform/postgres.ts';
import type { CheckCode, Severity } from './check-list.ts';
import { checkCollations } from './collation-checks.ts';
import type { Finding } from './finding.ts';
import { checkNeighbours } from './neighbour-checks.ts';
import { checkPublication } from './publication-checks.ts';
import { checkRole } from './role-checks.ts';
import { checkServer } from './server-checks.ts';
import { checkSession } from './session-checks.ts';
import { checkTables } from './table-checks.ts';

const ORDER: Readonly<Record<Severity, number>> = { error: 0, warning: 1, info: 2 };

/** Everything that is found, errors first. Reads the catalog and changes nothing. */
export async function findProblems(client: PostgresClient, config: Config): Promise<Finding[]> {
  const server = await checkServer(client, config);
  // An unsupported server may lack what the other checks read.
  if (server.some(({ code }) => code === 'SYN-P007')) return server;
  const findings = [
    ...server,
    ...(await checkRole(client, config)),
    ...(await checkPublication(client, config)),
    ...(await checkSession(client)),
    ...(await checkNeighbours(client, config)),
    ...(await checkCollations(client)),
    ...(await checkTables(client, config)),
  ];
  return findings.sort((a, b) => ORDER[a.severity] - ORDER[b.severity]);
}

/**
 * Faults that keep one table out of replication, and nothing else: the agent serves all others and shows these. A table
 * is never replicated by halves.
 */
export const LEAVES_OUT_TABLE: ReadonlySet<CheckCode> = new Set([
  'SYN-P012',
  'SYN-P013',
  'SYN-P017',
  'SYN-P021',
  'SYN-P024',
  'SYN-P031',
  'SYN-P058',
]);

/** Faults that hold capture up for as long as they last, and nothing else: apply goes on beside it. */
const HOLDS_CAPTURE: ReadonlySet<CheckCode> = new Set(['SYN-P055']);

/** Throws the first error as a SynclineError; returns the rest, for the log. */
export async function checkPrerequisites(client: PostgresClient, config: Config): Promise<Finding[]> {
  const findings = await findProblems(client, config);
  const errors = findings.filter(({ severity, code }) => severity === 'error' && !isServedWith(code));
  const [first] = errors;
  if (first === undefined) return findings;
  const more = errors.length > 1 ? ` (and ${errors.length - 1} more: \`syncline doctor\` lists all)` : '';
  throw fail(first.code, `${first.what} ${first.why}\n${first.fix}${more}`, { context: { findings: errors } });
}

const isServedWith = (code: CheckCode): boolean => LEAVES_OUT_TABLE.has(code) || HOLDS_CAPTURE.has(code);
