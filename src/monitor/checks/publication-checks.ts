// Whether slot and publication of a region that ran before are as the agent left them. What someone
// changed is not put right silently: changes that were not published meanwhile are missing elsewhere.

import { captureName } from '../../capture/tables/publication.ts';
import type { Config } from '../../platform/config.ts';
import { type PostgresClient, quoteIdent } from '../../platform/postgres.ts';
import { type Finding, listed } from './finding.ts';

// Columns that a version of the server lacks are read by way of a row's JSON.
const SQL = `
select json_build_object(
  'role', current_user,
  'sendsGenerated', current_setting('server_version_num')::int >= 180000,
  'slot', (select json_build_object(
      'here', coalesce(database = current_database() and plugin = 'pgoutput', false),
      'status', wal_status)
    from pg_replication_slots where slot_name = $1),
  'publication', (select json_build_object(
      'options', not puballtables and pubinsert and pubupdate and pubdelete and pubtruncate and pubviaroot,
      'all', puballtables,
      'generated', coalesce(to_jsonb(p)->>'pubgencols', 's') = 's',
      'members', coalesce((select json_agg(r.prrelid::regclass::text order by r.prrelid)
        from pg_publication_rel r where r.prpubid = p.oid), '[]'),
      'filtered', coalesce((select json_agg(r.prrelid::regclass::text order by r.prrelid)
        from pg_publication_rel r where r.prpubid = p.oid
         and (to_jsonb(r)->>'prqual' is not null or to_jsonb(r)->>'prattrs' is not null)), '[]'))
    from pg_publication p where pubname = $1)
)`;

const SCHEMAS_SQL = `
select coalesce(json_agg(pnnspid::regnamespace::text), '[]')
  from pg_publication_namespace n join pg_publication p on p.oid = n.pnpubid where p.pubname = $1`;

type Found = {
  readonly role: string;
  /** Whether the server can send generated columns, without which it refuses updates of tables that have some. */
  readonly sendsGenerated: boolean;
  readonly slot: { readonly here: boolean; readonly status: string | null } | null;
  readonly publication: {
    readonly options: boolean;
    readonly all: boolean;
    readonly generated: boolean;
    readonly members: readonly string[];
    readonly filtered: readonly string[];
  } | null;
};

export async function checkPublication(client: PostgresClient, config: Config): Promise<Finding[]> {
  const name = captureName(config.region);
  const { rows } = await client.queryArrays(SQL, [name]);
  const { role, sendsGenerated, slot, publication } = JSON.parse(rows[0]?.[0] ?? '') as Found;
  const create = `create publication ${quoteIdent(name)} with (${OPTIONS}${sendsGenerated ? `, ${GENERATED}` : ''});
alter publication ${quoteIdent(name)} owner to ${quoteIdent(role)};`;
  const findings: Finding[] = [];
  if (slot?.here === false) {
    findings.push({
      code: 'SYN-K001',
      severity: 'error',
      what: `The replication slot ${name} belongs to another database, or to another plugin.`,
      why: 'The names of slots are shared by all databases of a server, and this region needs this one.',
      fix: '# in the configuration: give this region a name of its own',
    });
  } else if (slot?.status === 'lost') {
    findings.push({
      code: 'SYN-K001',
      severity: 'error',
      what: `The replication slot ${name} is lost: the server removed WAL that was not read yet.`,
      why: 'Changes of this region are missing in the others.',
      fix: `-- compare the regions with \`syncline verify\`, then, to begin anew:\nselect pg_drop_replication_slot('${name}');`,
    });
  }
  if (publication === null) {
    if (slot?.here === true) findings.push(changed(name, 'is gone', create));
    return findings;
  }
  if (publication.all) {
    const statements = `drop publication ${quoteIdent(name)};\n${create}`;
    return [...findings, changed(name, 'takes in all tables', statements)];
  }
  const alter = `alter publication ${quoteIdent(name)}`;
  if (!publication.options) findings.push(changed(name, 'has other options', `${alter} set (${OPTIONS});`));
  if (!publication.generated) {
    const statement = `${alter} set (${GENERATED});`;
    findings.push(changed(name, 'does not send generated columns', statement));
  }
  if (publication.filtered.length > 0) {
    const what = `has row filters or column lists for ${listed(publication.filtered)}`;
    findings.push(changed(name, what, `${alter} set table only ${publication.members.join(', only ')};`));
  }
  const schemas = await schemasOf(client, name);
  if (schemas.length > 0) {
    const statement = `${alter} drop tables in schema ${schemas.join(', ')};`;
    findings.push(changed(name, `takes in whole schemas (${listed(schemas)})`, statement));
  }
  return findings;
}

const OPTIONS = "publish = 'insert, update, delete, truncate', publish_via_partition_root = true";
const GENERATED = 'publish_generated_columns = stored';

function changed(name: string, what: string, statement: string): Finding {
  return {
    code: 'SYN-K002',
    severity: 'error',
    what: `The publication ${name} ${what}.`,
    why: 'Someone changed it, and what it left out meanwhile is missing in the other regions: compare them with `syncline verify`.',
    fix: `-- as a superuser\n${statement}`,
  };
}

/** From PostgreSQL 15 on. */
async function schemasOf(client: PostgresClient, name: string): Promise<readonly string[]> {
  const known = await client.query("select to_regclass('pg_publication_namespace') is not null as known");
  if (known.rows[0]?.known !== 't') return [];
  const { rows } = await client.queryArrays(SCHEMAS_SQL, [name]);
  return JSON.parse(rows[0]?.[0] ?? '[]') as string[];
}
