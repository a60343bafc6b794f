// Whether the role may do what the agent does. No superuser is needed: LOGIN, REPLICATION, the right
// to write as a replica, the functions of replication origins, and the tables themselves.
//
// What PostgreSQL decides by more than one rule is tried instead of derived: managed services let
// roles set session_replication_role by grants of their own.

import { captureName } from '../../capture/tables/publication.ts';
import type { Config } from '../../platform/config.ts';
import { sqlStateOf } from '../../platform/errors.ts';
import { type PostgresClient, quoteIdent } from '../../platform/postgres.ts';
import { REPLICA_FUNCTION, writeAsReplica } from '../../platform/replica-role.ts';
import type { Finding } from './finding.ts';

/** The functions of pg_catalog that apply, capture and uninstall call, and that only superusers may call by default. */
const ORIGIN_FUNCTIONS = [
  'pg_replication_origin_create',
  'pg_replication_origin_drop',
  'pg_replication_origin_session_is_setup',
  'pg_replication_origin_session_reset',
  'pg_replication_origin_session_setup',
  'pg_replication_origin_xact_reset',
  'pg_replication_origin_xact_setup',
];

const SQL = `
select json_build_object(
  'name', r.rolname,
  'is_superuser', r.rolsuper,
  'may_replicate', r.rolsuper or r.rolreplication or exists (
    select from pg_roles m where m.rolname = 'rds_replication' and pg_has_role(m.oid, 'USAGE')),
  'read_only', current_setting('default_transaction_read_only') = 'on',
  'version_num', current_setting('server_version_num')::int,
  'database', current_database(),
  'may_create', has_database_privilege(current_database(), 'CREATE'),
  'has_schema', exists (select from pg_class where relnamespace = to_regnamespace('syncline') and relname = 'meta'),
  'has_publication', exists (select from pg_publication where pubname = $2),
  'foreign_objects', (
    select json_agg(statement order by statement) from (
      select format('alter schema %I owner to %I;', nspname, r.rolname) as statement
        from pg_namespace where nspname = 'syncline' and not pg_has_role(nspowner, 'USAGE')
      union all
      select format('alter table %s owner to %I;', c.oid::regclass, r.rolname)
        from pg_class c where c.relnamespace = to_regnamespace('syncline') and c.relkind in ('r', 'p')
         and not pg_has_role(c.relowner, 'USAGE')
      union all
      select format('alter function %s owner to %I;', p.oid::regprocedure, r.rolname)
        from pg_proc p where p.pronamespace = to_regnamespace('syncline') and not pg_has_role(p.proowner, 'USAGE')
         and 'syncline.' || p.proname <> '${REPLICA_FUNCTION}'
      union all
      select format('alter publication %I owner to %I;', pubname, r.rolname)
        from pg_publication where pubname = $2 and not pg_has_role(pubowner, 'USAGE')
    ) as foreign_object),
  'forbidden_functions', (
    select json_agg('pg_catalog.' || p.oid::regprocedure::text order by p.oid)
      from pg_proc p
     where p.pronamespace = 'pg_catalog'::regnamespace and p.proname = any ($1::text[])
       and not has_function_privilege(p.oid, 'EXECUTE'))
)
from pg_roles r where r.rolname = current_user`;

type Role = {
  readonly name: string;
  readonly is_superuser: boolean;
  readonly may_replicate: boolean;
  readonly read_only: boolean;
  readonly version_num: number;
  readonly database: string;
  readonly may_create: boolean;
  readonly has_schema: boolean;
  readonly has_publication: boolean;
  readonly foreign_objects: readonly string[] | null;
  readonly forbidden_functions: readonly string[] | null;
};

export async function checkRole(client: PostgresClient, config: Config): Promise<Finding[]> {
  const { rows } = await client.queryArrays(SQL, [`{${ORIGIN_FUNCTIONS.join(',')}}`, captureName(config.region)]);
  const role = JSON.parse(rows[0]?.[0] ?? '') as Role;
  const findings: Finding[] = [];
  const name = quoteIdent(role.name);
  const add = (finding: Omit<Finding, 'severity'>): void => {
    findings.push({ severity: 'error', ...finding });
  };
  if (!role.may_replicate) {
    add({
      code: 'SYN-P004',
      what: `The role ${role.name} has no REPLICATION attribute.`,
      why: 'Changes are read from a logical replication slot, which only such a role may use.',
      fix: `-- as a superuser\nalter role ${name} replication;`,
    });
  }
  if (!(await maySetReplicaRole(client))) {
    add({
      code: 'SYN-P005',
      what: `The role ${role.name} may not set session_replication_role.`,
      why: 'Applied rows must not fire triggers or foreign-key checks again: their effects come from the source.',
      fix: replicaGrant(role),
    });
  }
  if (role.forbidden_functions !== null && config.apply.replication_origins) {
    add({
      code: 'SYN-P006',
      what: `The role ${role.name} may not execute ${role.forbidden_functions.length} functions of replication origins in ${role.database}.`,
      why: 'The origin says which region wrote a row, and keeps applied rows from being captured again.',
      fix: `-- as a superuser, in the database ${role.database}; where nobody may, set apply.replication_origins to false instead\ngrant execute on function ${role.forbidden_functions.join(', ')} to ${name};`,
    });
  }
  if (!role.may_create && !(role.has_schema && role.has_publication)) {
    add({
      code: 'SYN-P011',
      what: `The role ${role.name} may not create anything in the database ${role.database}.`,
      why: 'The agent keeps its state in the schema syncline, and names the tables to capture in a publication.',
      fix: `-- as the owner of the database or a superuser\ngrant create on database ${quoteIdent(role.database)} to ${name};`,
    });
  }
  if (role.foreign_objects !== null) {
    add({
      code: 'SYN-P011',
      what: `${role.foreign_objects.length} objects of Syncline in the database belong to another role than ${role.name}.`,
      why: 'The agent reads, writes and upgrades them.',
      fix: `-- as a superuser\n${role.foreign_objects.join('\n')}`,
    });
  }
  if (role.read_only) {
    add({
      code: 'SYN-P029',
      what: `default_transaction_read_only is on for the role ${role.name} in ${role.database}.`,
      why: 'Applying changes is writing.',
      fix: `-- as a superuser\nalter role ${name} in database ${quoteIdent(role.database)} set default_transaction_read_only = off;`,
    });
  }
  return findings;
}

/** PostgreSQL 14 has no grant for a parameter, so there a function of a superuser sets it. */
export function replicaGrant({ name, version_num, database }: Pick<Role, 'name' | 'version_num' | 'database'>): string {
  const role = quoteIdent(name);
  if (version_num >= 150_000) return `-- as a superuser\ngrant set on parameter session_replication_role to ${role};`;
  const body = "$$ select pg_catalog.set_config('session_replication_role', 'replica', is_local) $$";
  return [
    `-- as a superuser, in the database ${database}; PostgreSQL 14 has no grant for it, but a function of a superuser may`,
    `create schema if not exists syncline authorization ${role};`,
    `create or replace function ${REPLICA_FUNCTION}(is_local boolean) returns text language sql security definer set search_path = pg_catalog as ${body};`,
    `revoke all on function ${REPLICA_FUNCTION}(boolean) from public;`,
    `grant execute on function ${REPLICA_FUNCTION}(boolean) to ${role};`,
  ].join('\n');
}

async function maySetReplicaRole(client: PostgresClient): Promise<boolean> {
  try {
    await client.transaction(async () => {
      await writeAsReplica(client, 'transaction');
    });
    return true;
  } catch (error) {
    if (sqlStateOf(error) === '42501') return false;
    throw error;
  }
}
