// Who else replicates to or from this database: subscriptions of PostgreSQL, other publications and
// slots, prepared transactions that somebody left open.
//
// What another tool writes is a local write to Syncline and is published, which is right where it
// feeds this region from outside, and a circle where its source gets our changes.

import { captureName } from '../../capture/tables/publication.ts';
import type { Config } from '../../platform/config.ts';
import { type PostgresClient, quoteIdent, quoteLiteral } from '../../platform/postgres.ts';
import { isTableIncluded } from '../../platform/table-filter.ts';
import { type Finding, listed } from './finding.ts';

/** How long a transaction may stay prepared before it is taken for forgotten. */
const PREPARED_MINUTES = 10;
const MIB = 1024 ** 2;

const SQL = `
select json_build_object(
  'subscriptions', coalesce((
    select json_agg(json_build_object('name', s.subname, 'tables', (
        select json_agg(json_build_array(n.nspname, c.relname) order by 1)
          from pg_subscription_rel r join pg_class c on c.oid = r.srrelid join pg_namespace n on n.oid = c.relnamespace
         where r.srsubid = s.oid)) order by s.subname)
      from pg_subscription s join pg_database d on d.oid = s.subdbid
     where d.datname = current_database() and s.subenabled), '[]'),
  'publications', coalesce((select json_agg(pubname order by pubname) from pg_publication where pubname <> $1), '[]'),
  'slots', coalesce((
    select json_agg(json_build_object('name', slot_name, 'active', active, 'bytes',
        case when not pg_is_in_recovery() then pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) end) order by slot_name)
      from pg_replication_slots
     where database = current_database() and slot_name <> $1 and not temporary), '[]'),
  'origins', coalesce((select json_agg(roname order by roname) from pg_replication_origin
     where not starts_with(roname, 'syncline_') and roname !~ '^pg_[0-9]+'), '[]'),
  'prepared', coalesce((
    select json_agg(json_build_object('gid', gid, 'owner', owner,
        'minutes', floor(extract(epoch from now() - prepared) / 60)) order by prepared)
      from pg_prepared_xacts where database = current_database()), '[]')
)`;

type Found = {
  readonly subscriptions: readonly { readonly name: string; readonly tables: [string, string][] | null }[];
  readonly publications: readonly string[];
  readonly slots: readonly { readonly name: string; readonly active: boolean; readonly bytes: number | null }[];
  readonly origins: readonly string[];
  readonly prepared: readonly PreparedTransaction[];
};
export type PreparedTransaction = { readonly gid: string; readonly owner: string; readonly minutes: number };

export async function checkNeighbours(client: PostgresClient, config: Config): Promise<Finding[]> {
  const { rows } = await client.queryArrays(SQL, [captureName(config.region)]);
  const found = JSON.parse(rows[0]?.[0] ?? '') as Found;
  return [
    ...found.subscriptions.flatMap((each) => subscriptionFindings(each, config)),
    ...found.slots.flatMap(unusedSlotFindings),
    ...otherFindings(found),
    ...found.prepared.map(preparedFinding),
  ];
}

function subscriptionFindings({ name, tables }: Found['subscriptions'][number], { tables: filter }: Config): Finding[] {
  const ours = (tables ?? []).filter(([schema, table]) => isTableIncluded(filter, schema, table));
  if (ours.length === 0) return [];
  return [
    {
      code: 'SYN-P033',
      severity: 'warning',
      what: `The subscription ${name} writes into ${listed(ours.map((each) => each.join('.')))}.`,
      why: 'What it writes is a local write here and goes to all regions. If its source gets their changes too, every change goes round in circles.',
      fix: `-- as its owner, unless its source is no region and is meant to feed this one\nalter subscription ${quoteIdent(name)} disable;`,
    },
  ];
}

function unusedSlotFindings({ name, active, bytes }: Found['slots'][number]): Finding[] {
  if (active) return [];
  return [
    {
      code: 'SYN-P034',
      severity: 'warning',
      what: `Nobody reads the replication slot ${name}, which keeps ${Math.round((bytes ?? 0) / MIB)} MB of WAL back.`,
      why: 'It keeps WAL and old catalog rows for as long as nobody reads it, until the disk is full and no region can write here.',
      fix: `-- as a superuser, if its reader does not come back\nselect pg_drop_replication_slot(${quoteLiteral(name)});`,
    },
  ];
}

function otherFindings({ publications, slots, origins }: Found): Finding[] {
  const named = (what: string, names: readonly string[]): string[] =>
    names.length === 0 ? [] : [`${what} ${listed(names)}`];
  const others = [
    ...named('publications', publications),
    ...named(
      'slots',
      slots.filter(({ active }) => active).map(({ name }) => name),
    ),
    ...named('replication origins', origins),
  ];
  if (others.length === 0) return [];
  return [
    {
      code: 'SYN-P034',
      severity: 'info',
      what: `Others replicate from or to this server: ${others.join('; ')}.`,
      why: 'Who reads them gets the changes of all regions, each under its origin; what they write is a local write.',
      fix: '-- none is needed if you know them',
    },
  ];
}

export function preparedFinding({ gid, owner, minutes }: PreparedTransaction): Finding {
  return {
    code: 'SYN-P035',
    severity: minutes >= PREPARED_MINUTES ? 'warning' : 'info',
    what: `The transaction ${gid} of ${owner} has been prepared for ${minutes} minutes.`,
    why: 'Until it ends, the slot keeps WAL, its row locks hold up links, and nothing that it might see is cleaned up.',
    fix: `-- as ${owner}, in this database, if nobody will decide it any more (or: commit prepared)\nrollback prepared ${quoteLiteral(gid)};`,
  };
}
