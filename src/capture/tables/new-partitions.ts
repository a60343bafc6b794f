/**
 * Partitions that came to a published table with rows in them, as ATTACH PARTITION brings them.
 *
 * What was written to a table before it became a partition is in no stream, and nothing that is published afterwards tells of
 * it. So the partitions of published tables are remembered, and one that is new is looked into for rows that are earlier than what
 * made it one: in the first pages, where rows stand that were loaded before. Of a table that was published by itself before, the
 * stream has them under its name.
 *
 * PostgreSQL's own functions about partitions lock every one of them, so they are found in the catalog. A user who has one to
 * himself is not waited for: it is looked into another time.
 */
import { sqlStateOf } from '../../platform/errors.ts';
import { OWN_ORIGIN_PREFIX } from '../../platform/own-origins.ts';
import { type PostgresClient, quoteIdent } from '../../platform/postgres.ts';

const LOCK_TIMEOUT_MS = 300;
/** Enough for any load, and read within moments. */
const PAGES_MAX = 1_024;
const UNDEFINED_TABLE = '42P01';
const LOCK_NOT_AVAILABLE = '55P03';
const INSUFFICIENT_PRIVILEGE = '42501';

type TableName = { readonly schema: string; readonly table: string };

export type NewPartition = TableName & {
  /** The published table, as SQL names it. */
  readonly root: string;
  /** `hidden`: the role may not read it. */
  readonly kind: 'unheard' | 'hidden';
};

export type NewPartitions = {
  readonly found: readonly NewPartition[];
  /** Locked by somebody, and to be looked into. */
  readonly waiting: readonly TableName[];
};

/**
 * The partitions below all published tables that are no partitioned tables themselves; with the transactions that made them so, on
 * each level, and the place of the command in each.
 */
const PARTITIONS = `
with recursive member (oid) as (
  select r.prrelid from pg_publication_rel r join pg_publication p on p.oid = r.prpubid where p.pubname = $1
), below (root, oid, xids, commands) as (
  select oid, oid, '{}'::xid[], '{}'::bigint[] from member
  union all
  select b.root, i.inhrelid, b.xids || i.xmin, b.commands || i.cmin::text::bigint
    from below b join pg_inherits i on i.inhparent = b.oid join pg_class c on c.oid = i.inhrelid and c.relispartition
), partition as (
  select b.root, b.oid, b.xids, b.commands, c.relname, n.nspname
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
export async function findNewPartitions(client: PostgresClient, publication: string): Promise<NewPartitions> {
  await client.query(
    `${PARTITIONS}
     delete from syncline.meta m
      where starts_with(m.key, 'partition:') and m.key not in (select 'partition:' || oid from partition)
         or starts_with(m.key, 'partitions_of:') and m.key not in (select 'partitions_of:' || oid from member)`,
    [publication],
  );
  // Where a table was published before partitions were remembered, they have been that for as long as is known.
  await client.query(
    `${PARTITIONS}, known as (
       select p.* from partition p
        where exists (select from member where oid = p.oid)
           or not exists (select from syncline.meta m where m.key = 'partitions_of:' || p.root))
     insert into syncline.meta (key, value)
     select 'partition:' || oid, '' from known union select 'partitions_of:' || root, '' from known
     on conflict (key) do nothing`,
    [publication],
  );
  const { rows } = await client.query(
    `${PARTITIONS}
     select p.oid, p.xids, p.commands, p.nspname as schema, p.relname as table, p.root::regclass::text as root
       from partition p
      where not exists (select from syncline.meta m where m.key = 'partition:' || p.oid)
      order by p.oid`,
    [publication],
  );
  const found: NewPartition[] = [];
  const waiting: TableName[] = [];
  for (const { oid, xids, commands, schema, table, root } of rows) {
    const name = { schema: schema ?? '', table: table ?? '' };
    const held = await look(client, name, xids ?? '{}', commands ?? '{}');
    if (held === 'locked') {
      waiting.push(name);
      continue;
    }
    if (held !== 'heard') found.push({ ...name, root: root ?? '', kind: held });
    // It may be granted later.
    if (held === 'hidden') continue;
    await client.query(
      `insert into syncline.meta (key, value) values ('partition:' || $1, '') on conflict do nothing`,
      [oid ?? ''],
    );
  }
  return { found, waiting };
}

/** Whether it has rows of users from before the last of these transactions, or from before that command in one of them. */
async function look(
  client: PostgresClient,
  { schema, table }: TableName,
  xids: string,
  commands: string,
): Promise<'heard' | 'unheard' | 'hidden' | 'locked'> {
  const work = async (): Promise<boolean> => {
    await client.query(`set local lock_timeout = ${LOCK_TIMEOUT_MS}`);
    const { rows } = await client.query(
      `with made as (select x as xid, c as command from unnest($1::xid[], $2::bigint[]) as each (x, c)),
            last as (
         select case when bool_and(at is not null) then max(at) end as at
           from made, pg_xact_commit_timestamp(made.xid) as at)
       select exists (
         select from only ${quoteIdent(schema)}.${quoteIdent(table)} as t
          where t.ctid < '(${PAGES_MAX},0)'::tid
            and case when exists (select from made where made.xid = t.xmin)
                     then exists (select from made where made.xid = t.xmin and t.cmin::text::bigint < made.command)
                     else coalesce(pg_xact_commit_timestamp(t.xmin) <= (select at from last), true) end
            and not coalesce((pg_xact_commit_timestamp_origin(t.xmin)).roident in (
              select r.roident from pg_replication_origin r where starts_with(r.roname, ${OWN_ORIGIN_PREFIX})), false)
            and not exists (select from syncline.author a where a.tuple_xid = t.xmin)) as found`,
      [xids, commands],
    );
    return rows[0]?.found === 't';
  };
  try {
    return (await client.transaction(work)) ? 'unheard' : 'heard';
  } catch (error) {
    const state = sqlStateOf(error);
    if (state === UNDEFINED_TABLE) return 'heard';
    if (state === LOCK_NOT_AVAILABLE) return 'locked';
    if (state === INSUFFICIENT_PRIVILEGE) return 'hidden';
    throw error;
  }
}
