// Whether the role's sessions live as long as an agent needs them, and as many as it needs.
//
// statement_timeout, lock_timeout and what decides how text looks are set by every session itself, so
// what the role has there does not matter. The timeouts here are left to the operator, because they
// also end a session that hangs with locks in its hands: only what hits a healthy agent is told.

import { type PostgresClient, quoteIdent } from '../../platform/postgres.ts';
import type { Finding } from './finding.ts';

/** Lease, control, notes, apply, capture, its heartbeat and publication, and the API. */
const CONNECTIONS_MIN = 8;
/** Besides, three that read the baseline, and one each for late tables, sequences and a loser that is written again. */
const CONNECTIONS_MAX = CONNECTIONS_MIN + 6;
/** One for who looks. */
const CONNECTIONS = CONNECTIONS_MAX + 1;
const EXPIRY_DAYS = 30;

/** What each timeout has to allow, in ms. */
const TIMEOUTS = [
  ['idle_in_transaction_session_timeout', 10_000, 'A batch that waits for the log or a busy processor would be cut.'],
  ['idle_session_timeout', 60_000, 'Connections rest while nothing happens, and would be cut again and again.'],
  ['transaction_timeout', 600_000, 'A large transaction of another region is applied in one, and would never end.'],
] as const;

const SQL = `
select json_build_object(
  'role', r.rolname,
  'database', d.datname,
  'isSuperuser', r.rolsuper,
  'roleLimit', r.rolconnlimit,
  'databaseLimit', d.datconnlimit,
  'daysLeft', case when isfinite(r.rolvaliduntil)
                   then floor(extract(epoch from r.rolvaliduntil - now()) / 86400) end,
  'timeouts', (select json_object_agg(name, setting::bigint) from pg_settings where name = any ($1::text[]))
) from pg_roles r, pg_database d where r.rolname = current_user and d.datname = current_database()`;

type Session = {
  readonly role: string;
  readonly database: string;
  readonly isSuperuser: boolean;
  readonly roleLimit: number;
  readonly databaseLimit: number;
  readonly daysLeft: number | null;
  readonly timeouts: Readonly<Record<string, number>>;
};

export async function checkSession(client: PostgresClient): Promise<Finding[]> {
  const names = TIMEOUTS.map(([name]) => name);
  const { rows } = await client.queryArrays(SQL, [`{${names.join(',')}}`]);
  const session = JSON.parse(rows[0]?.[0] ?? '') as Session;
  return [...timeoutFindings(session), ...limitFindings(session)];
}

function timeoutFindings({ role, database, timeouts }: Session): Finding[] {
  return TIMEOUTS.filter(([name, minimumMs]) => {
    const setMs = timeouts[name] ?? 0;
    return setMs > 0 && setMs < minimumMs;
  }).map(([name, , why]) => ({
    code: 'SYN-P036',
    severity: 'warning',
    what: `${name} is ${timeouts[name]} ms for the role ${role}.`,
    why,
    fix: `-- as a superuser\nalter role ${quoteIdent(role)} in database ${quoteIdent(database)} set ${name} = 0;`,
  }));
}

function limitFindings({ role, database, isSuperuser, roleLimit, databaseLimit, daysLeft }: Session): Finding[] {
  const findings: Finding[] = [];
  const tooFew = (limit: number): boolean => limit >= 0 && limit < CONNECTIONS && !isSuperuser;
  const limits = [
    [roleLimit, `role ${role}`, `alter role ${quoteIdent(role)}`],
    [databaseLimit, `database ${database}`, `alter database ${quoteIdent(database)}`],
  ] as const;
  for (const [limit, what, alter] of limits) {
    if (!tooFew(limit)) continue;
    findings.push({
      code: 'SYN-P037',
      severity: limit < CONNECTIONS_MIN ? 'error' : 'warning',
      what: `The ${what} admits ${limit} connections.`,
      why: `An agent holds ${CONNECTIONS_MIN} all the time and up to ${CONNECTIONS_MAX} now and then, and doctor takes one more. An agent that cannot connect again stops replicating.`,
      fix: `-- as a superuser\n${alter} connection limit -1;`,
    });
  }
  if (daysLeft !== null && daysLeft < EXPIRY_DAYS) {
    findings.push({
      code: 'SYN-P037',
      severity: 'warning',
      what: `The password of the role ${role} expires in ${Math.max(0, daysLeft)} days.`,
      why: 'From then on the agent cannot connect again.',
      fix: `-- as a superuser\nalter role ${quoteIdent(role)} valid until 'infinity';`,
    });
  }
  return findings;
}
