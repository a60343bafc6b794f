/**
 * Writing as a replica: with session_replication_role = replica neither triggers nor foreign keys fire again for rows that
 * are applied.
 *
 * From PostgreSQL 15 on a role is granted this one parameter. On 14 only a superuser may set it, so a superuser makes a
 * function that sets it and nothing else, and lets the agent's role alone call it (`syncline doctor` prints how). The
 * obvious ALTER ROLE … SET would make every session of the role a replica, also those in which the agent writes like
 * a user: a conflict's loser that is written again would skip the checks and triggers that it is to pass.
 *
 * Where the function is there it is called, and else the parameter is set, so that nothing depends on the version: some
 * managed services let roles set it on 14 too. The look before keeps a refusal from ending the caller's transaction.
 */

/** How long a session writes so: until its transaction ends, or itself. */
export type ReplicaScope = 'transaction' | 'session';

type Session = { query(text: string): Promise<{ readonly rows: readonly Readonly<Record<string, string | null>>[] }> };

/** What a superuser makes on PostgreSQL 14; its argument is whether it is for one transaction. */
export const REPLICA_FUNCTION = 'syncline.write_as_replica';

const MAY_CALL = `
  select coalesce(has_function_privilege(to_regprocedure('${REPLICA_FUNCTION}(boolean)'), 'EXECUTE'), false) as may
   where has_schema_privilege(to_regnamespace('syncline'), 'USAGE')`;

/** SQLSTATE 42501 where the role may not. */
export async function writeAsReplica(session: Session, scope: ReplicaScope): Promise<void> {
  const { rows } = await session.query(MAY_CALL);
  const isLocal = scope === 'transaction';
  if (rows[0]?.may === 't') await session.query(`select ${REPLICA_FUNCTION}(${isLocal})`);
  else await session.query(`set ${isLocal ? 'local' : 'session'} session_replication_role = 'replica'`);
}
