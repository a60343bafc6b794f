/**
 * Partitions that came to a published table with rows in them, as ATTACH PARTITION brings them.
 *
 * What was written to a table before it became a partition is in no stream, and nothing that is published afterwards tells of
 * it. So the partitions of published tables are remembered, and one that is new is looked into for rows that are not later
 * than the transaction that made it one. Of a table that was published by itself before, the stream has them under its name.
 *
 * PostgreSQL's own functions about partitions lock every one of them, so they are found in the catalog.
 */
import { sqlStateOf } from '../platform/errors.ts';
import { OWN_ORIGIN_PREFIX } from '../platform/own-origins.ts';
import { type PostgresClient, quoteIdent } from '../platform/postgres.ts';

const QUERY_CANCELED = '57014';
const UNDEFINED_TABLE = '42P01';

export type NewPartition = { readonly schema: string; readonly table: string; readonly root: string };

/** The partitions below all published tables, or below the one with the oid $2, that are no partitioned tables themselves. */
const PARTITIONS = `
with recursive below (root, oid, attached) as (
  select r.prrelid, r.prrelid, '{}'::xid[] from pg_publication_rel r join pg_publication p on p.oid = r.prpubid
   where p.pubname = $1
  union all
  select b.root, i.inhrelid, b.attached || i.xmin
    from below b join pg_inherits i on i.inhparent = b.oid join pg_class c on c.oid = i.inhrelid and c.relispartition
), partition as (
  select b.root, b.oid, b.attached, c.relname, n.nspname
    from below b join pg_class c on c.oid = b.oid join pg_namespace n on n.oid = c.relnamespace
   where c.relkind = 'r' and b.oid <> b.root
)`;

/** Remembers all that there are of a table that is being published; its writers, and ATTACH PARTITION, are held off meanwhile. */
export async function notePartitions(client: PostgresClient, publication: string, root: number): Promise<void> {
  await client.query(
    `${PARTITIONS}
     insert into syncline.meta (key, value)
     select 'partition:' || oid, '' from partition where root = $2::oid
     union all select 'partitions_of:' || $2, ''
     on conflict (key) do nothing`,
    [publication, String(root)],
  );
}

/** Remembers those that are new since the last look, and tells which of them hold rows that are in no stream. */
export async function findNewPartitions(client: PostgresClient, publication: string): Promise<NewPartition[]> {
  await client.query(
    `${PARTITIONS}
     delete from syncline.meta m where starts_with(m.key, 'partition:')
        and not exists (select from partition where m.key = 'partition:' || oid)`,
    [publication],
  );
  const { rows } = await client.query(
    `${PARTITIONS}
     select p.oid, p.attached, p.nspname as schema, p.relname as table, p.root, p.root::regclass::text as root_name,
            exists (select from syncline.meta m where m.key = 'partitions_of:' || p.root)
              and not exists (select from below b where b.root = p.oid) as is_new
       from partition p
      where not exists (select from syncline.meta m where m.key = 'partition:' || p.oid)
      order by p.oid`,
    [publication],
  );
  const found: NewPartition[] = [];
  for (const { oid, attached, schema, table, root, root_name, is_new } of rows) {
    const name = { schema: schema ?? '', table: table ?? '' };
    // Where its table was published before partitions were remembered, it has been one for as long as is known.
    const hasRows = is_new === 't' && (await hasUnheard(client, name, attached ?? ''));
    if (hasRows) found.push({ ...name, root: root_name ?? '' });
    await client.query(
      `insert into syncline.meta (key, value) values ('partition:' || $1, ''), ('partitions_of:' || $2, '')
       on conflict (key) do nothing`,
      [oid ?? '', root ?? ''],
    );
  }
  return found;
}

/**
 * Rows of users from before the last of these transactions, or of one of them. Where that is not told, or not in time, any row
 * may be one.
 */
async function hasUnheard(
  client: PostgresClient,
  { schema, table }: { readonly schema: string; readonly table: string },
  attached: string,
): Promise<boolean> {
  try {
    const { rows } = await client.query(
      `with made as (
         select case when bool_and(at is not null) then max(at) end as at
           from (select pg_xact_commit_timestamp(x) as at from unnest($1::xid[]) as x) as each)
       select exists (
         select from only ${quoteIdent(schema)}.${quoteIdent(table)} as t
          where (t.xmin = any ($1::xid[])
              or coalesce(pg_xact_commit_timestamp(t.xmin) <= (select at from made), true))
            and not coalesce((pg_xact_commit_timestamp_origin(t.xmin)).roident in (
              select r.roident from pg_replication_origin r where starts_with(r.roname, ${OWN_ORIGIN_PREFIX})), false)
            and not exists (select from syncline.author a where a.tuple_xid = t.xmin)) as found`,
      [attached],
    );
    return rows[0]?.found === 't';
  } catch (error) {
    const state = sqlStateOf(error);
    if (state === UNDEFINED_TABLE) return false;
    if (state === QUERY_CANCELED) return true;
    throw error;
  }
}
