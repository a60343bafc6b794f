// What Syncline leaves in a database, and how it is taken out again.
//
// Everything but the slot goes in one transaction, so a failure leaves all of it. The lease's table is
// locked first: an agent that starts meanwhile waits there and finds nothing to serve. The slot is
// dropped last, as the one step that no rollback brings back.
//
// Replica identities go back to what the agent noted when it set them; one that somebody changed
// since is left alone. Sequences keep their shares, because the other regions may go on with theirs, and
// how they were before is told.

import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { LEASE_LIMITS } from '../capture/lease.ts';
import { captureName } from '../capture/tables/publication.ts';
import type { Config } from '../platform/config.ts';
import { fail, sqlStateOf } from '../platform/errors.ts';
import { OWN_ORIGIN_PREFIX } from '../platform/own-origins.ts';
import { type PostgresClient, quoteIdent } from '../platform/postgres.ts';

export type Identity = {
  /** Schema-qualified and quoted. */
  readonly table: string;
  /** The identity before, as ALTER TABLE writes it. */
  readonly was: string;
};

/** A sequence that the agent gave a share of the numbers. It stays as it is: others may hold what it would draw again. */
export type SharedSequence = {
  /** Schema-qualified and quoted. */
  readonly sequence: string;
  readonly increment: number;
  /** The statement that lets it count as before, once no other region draws numbers for these tables. */
  readonly back: string;
};

export type Remains = {
  readonly slot: string | null;
  readonly publication: string | null;
  readonly schema: string | null;
  readonly origins: readonly string[];
  /** Origins that the role may not drop. */
  readonly origins_kept: readonly string[];
  readonly identities: readonly Identity[];
  /** What is left as it is. */
  readonly sequences: readonly SharedSequence[];
};

const LOCK_TIMEOUT_MS = 10_000;

const SQL = `
select json_build_object(
  'slot', (select slot_name from pg_replication_slots where slot_name = $1 and database = current_database()),
  'publication', (select pubname from pg_publication where pubname = $1),
  'schema', (select nspname from pg_namespace where nspname = 'syncline'),
  'origins', coalesce((select json_agg(roname order by roname) from pg_replication_origin
    where starts_with(roname, ${OWN_ORIGIN_PREFIX})), '[]'),
  'may_drop_origins', has_function_privilege('pg_replication_origin_drop(text)', 'EXECUTE'))`;

/** An index that is gone since cannot be the identity again: then it is the key. */
const IDENTITIES_SQL = `
select c.oid::regclass::text as table,
       case when m.value = 'n' then 'nothing'
            when m.value like 'i %' and exists (
              select from pg_index i join pg_class x on x.oid = i.indexrelid
               where i.indrelid = c.oid and x.relname = substr(m.value, 3))
            then 'using index ' || quote_ident(substr(m.value, 3))
            else 'default' end as was
  from syncline.meta m join pg_class c on c.oid = substr(m.key, length('identity_before:') + 1)::oid
 where m.key like 'identity\\_before:%' and c.relreplident = 'f'
 order by 1`;

const SEQUENCES_SQL = `
select s.seqrelid::regclass::text as sequence, s.seqincrement::text as increment,
       format('alter sequence %s increment by %s%s start with %s;', s.seqrelid::regclass, m.value::json->>'increment',
         case when s.seqmin::text <> m.value::json->>'minimum' then ' minvalue ' || (m.value::json->>'minimum') end,
         m.value::json->>'start') as back
  from syncline.meta m join pg_sequence s on s.seqrelid = substr(m.key, length('sequence_before:') + 1)::oid
 where m.key like 'sequence\\_before:%'
 order by 1`;

export async function findRemains(client: PostgresClient, config: Config): Promise<Remains> {
  const { rows } = await client.queryArrays(SQL, [captureName(config.region)]);
  const { may_drop_origins, ...all } = JSON.parse(rows[0]?.[0] ?? '') as Omit<Remains, 'identities' | 'sequences'> & {
    readonly may_drop_origins: boolean;
  };
  const found = may_drop_origins ? { ...all, origins_kept: [] } : { ...all, origins: [], origins_kept: all.origins };
  const meta = await client.query("select to_regclass('syncline.meta') is not null as known");
  if (meta.rows[0]?.known !== 't') return { ...found, identities: [], sequences: [] };
  const identities = await client.query<{ table: string; was: string }>(IDENTITIES_SQL);
  const sequences = await client.query<{ sequence: string; increment: string; back: string }>(SEQUENCES_SQL);
  return {
    ...found,
    identities: identities.rows,
    sequences: sequences.rows.map((each) => ({ ...each, increment: Number(each.increment) })),
  };
}

/** Removes all of it; SYN-K005 while an agent is at work. */
export async function removeRemains(client: PostgresClient, config: Config): Promise<void> {
  try {
    await client.transaction(async () => {
      await client.query(`set local lock_timeout = ${LOCK_TIMEOUT_MS}`);
      await assertNoAgent(client, config);
      const { slot, publication, schema, origins, identities } = await findRemains(client, config);
      for (const { table, was } of identities) await client.query(`alter table only ${table} replica identity ${was}`);
      if (publication !== null) await client.query(`drop publication ${quoteIdent(publication)}`);
      if (schema !== null) await client.query(`drop schema ${quoteIdent(schema)} cascade`);
      for (const origin of origins) await client.query('select pg_replication_origin_drop($1)', [origin]);
      if (slot !== null) await client.query('select pg_drop_replication_slot($1)', [slot]);
    });
  } catch (cause) {
    if (sqlStateOf(cause) === '55006') throw fail('SYN-K004', messageOf(cause), { cause });
    if (sqlStateOf(cause) === '42501') throw fail('SYN-P011', messageOf(cause), { cause });
    throw cause;
  }
}

/** From here to the end of the transaction no agent can take the lease. */
async function assertNoAgent(client: PostgresClient, { region }: Config): Promise<void> {
  const known = await client.query("select to_regclass('syncline.lease') is not null as known");
  if (known.rows[0]?.known !== 't') return;
  await client.query('lock table syncline.lease in access exclusive mode');
  const { rows } = await client.query(
    `select holder from syncline.lease where renewed_at > clock_timestamp() - $1::interval`,
    [`${LEASE_LIMITS.expiryMs} milliseconds`],
  );
  if (rows[0] !== undefined) throw fail('SYN-K005', `region ${region} is served by ${rows[0].holder}: stop it first`);
}

/** Removes the region's own stream, a folder with its name; null where there is none. Topics of Kafka are left to its owner. */
export async function removeStream({ log, region }: Config): Promise<string | null> {
  if (log.type !== 'embedded') return null;
  const folder = join(log.path, region);
  const isStream = await stat(join(folder, 'records.sqlite')).then(
    (file) => file.isFile(),
    () => false,
  );
  if (!isStream) return null;
  await rm(folder, { recursive: true });
  return folder;
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
