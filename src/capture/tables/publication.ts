/**
 * Keeps the publication as the configuration wants it: one publication that lists its tables.
 *
 * It lists them, rather than taking all tables, because a table without a key would refuse updates once it is
 * published, and that must never happen to a table that Syncline cannot replicate anyway.
 *
 * A table is added in one transaction that holds off its writers: what they commit afterwards is in the stream, and
 * nothing can fall in between. What the table holds by then is told to the other regions by and by (`src/transfer/`), or, where
 * that cannot be and the table is new, sent with it (see `late-rows.ts`); rows that are not are reported. The wait for the lock is short, because everybody else queues behind it; a table that is busy comes in with
 * a later look.
 *
 * A look costs one small query as long as the catalog is as it was.
 */
import { type Hlc, hlcFromText } from '../../change/hlc.ts';
import { isRegistryTable } from '../../change/merge-registry.ts';
import { fail, sqlStateOf } from '../../platform/errors.ts';
import { type PostgresClient, quoteIdent } from '../../platform/postgres.ts';
import { readHistory } from '../slot/slot.ts';
import { type HeldRows, resendLateRows } from './late-rows.ts';
import { sayLeft, sayPublished, sayRenamed } from './late-tables.ts';
import { findNewPartitions, type NewPartition, notePartitions } from './new-partitions.ts';
import {
  lackingIdentity,
  type PublicationPlan,
  type PublicationSpec,
  type PublicationState,
  planPublication,
  type TableProblem,
} from './publication-plan.ts';
import { type CatalogTable, type Leaf, readTables } from './table-catalog.ts';

/** How long writers of a table may be held up by the wait for its lock. */
const LOCK_TIMEOUT_MS = 300;
/** The same where that was not enough: beyond a second the server cancels a vacuum that is in the way. */
const LOCK_TIMEOUT_LONG_MS = 2_000;
const UNSENT = 'SYN-K011';
const INSUFFICIENT_PRIVILEGE = '42501';
const UNDEFINED_TABLE = '42P01';
const LOCK_NOT_AVAILABLE = '55P03';

type TableName = { readonly schema: string; readonly table: string };

export type AddedTable = TableName & {
  /** Whether it holds rows that are in no stream. */
  readonly heldRows: boolean;
  /** Rows of a new table that were written before it was published, and are sent with it. */
  readonly resent: number;
};

/** What a look found and did; the next look starts from it. */
export type PublicationReport = {
  /** Oids of the published tables. */
  readonly members: ReadonlySet<number>;
  readonly tables: readonly TableName[];
  readonly added: readonly AddedTable[];
  /** Tables that are to be added or identified, and whose lock was not to be had. */
  readonly waiting: readonly TableName[];
  /** Whether all changes were left to the next look. */
  readonly isPutOff: boolean;
  readonly problems: readonly TableProblem[];
  readonly fingerprint: string;
};

/** Publication and slot of a region: both share its name, in the alphabet of slots. */
export function captureName(region: string): string {
  return `syncline_${region.replaceAll('-', '_')}`;
}

/**
 * Brings the publication into the wanted shape at start. It is created only where `mayCreate`: once there is a slot, a
 * publication that is missing was dropped, and what the slot holds since then is lost.
 */
export async function ensurePublication(
  client: PostgresClient,
  spec: PublicationSpec,
  options: { readonly mayCreate: boolean; readonly mayChange?: boolean },
): Promise<PublicationReport> {
  const exists = (await readState(client, spec.name)) !== null;
  if (!exists && options.mayCreate) await create(client, spec);
  // What tables hold before the very first start is the baseline of the region, and no surprise.
  const { mayCreate, mayChange = true } = options;
  return await look(client, spec, { known: null, unsent: [], waited: [], isBaseline: mayCreate, mayChange });
}

/** Looks whether anything has changed since the last look, and adds new tables. Throws SYN-K002 and SYN-K008. */
export async function reconcilePublication(
  client: PostgresClient,
  spec: PublicationSpec,
  last: PublicationReport,
): Promise<PublicationReport> {
  const { isPutOff } = last;
  const isSame =
    !isPutOff && last.waiting.length === 0 && (await fingerprintOf(client, spec.name)) === last.fingerprint;
  if (isSame) return { ...last, added: [] };
  const unsent = last.problems.filter(({ code }) => code === UNSENT);
  return await look(client, spec, {
    known: isPutOff ? null : last.members,
    unsent,
    waited: last.waiting,
    isBaseline: false,
    mayChange: true,
  });
}

type Before = {
  readonly known: ReadonlySet<number> | null;
  readonly unsent: readonly TableProblem[];
  /** Tables whose lock was not to be had. */
  readonly waited: readonly TableName[];
  /** Whether rows that a table holds when it is published are expected. */
  readonly isBaseline: boolean;
  /** Else tables come and go with the next look. */
  readonly mayChange: boolean;
};

async function look(
  client: PostgresClient,
  spec: PublicationSpec,
  { known, unsent, waited, isBaseline, mayChange }: Before,
): Promise<PublicationReport> {
  // Taken first: what changes while this look works is seen by the next one.
  const before = await fingerprintOf(client, spec.name);
  const tables = await readTables(client);
  const state = await readState(client, spec.name);
  if (state === null) throw missing(spec.name);
  const plan = planPublication(spec, tables, state, known);
  if (plan.fault !== null) throw plan.fault;
  const history = isBaseline ? null : await readHistory(client);
  const began = history === null ? null : hlcFromText(history.began);
  if (mayChange && spec.transfers !== undefined)
    await sayRenamed(
      client,
      spec.transfers,
      tables.filter(({ oid }) => state.members.includes(oid)),
    );
  const done = await carryOut(client, spec, plan, { waited: new Set(waited.map(nameOf)), began, mayChange });
  const partitions = mayChange ? await findNewPartitions(client, spec.name) : { found: [], waiting: [] };
  const members = new Set([...state.members, ...done.added.map(({ oid }) => oid)]);
  if (mayChange) for (const { oid } of plan.drop) members.delete(oid);
  const isChanged = done.added.length > 0 || plan.drop.length > 0 || plan.identify.length > 0;
  return {
    members,
    tables: tables.filter(({ oid }) => members.has(oid)).map(({ schema, table }) => ({ schema, table })),
    added: done.added.map(({ oid: _, ...table }) => table),
    waiting: [...new Map([...done.waiting, ...partitions.waiting].map((table) => [nameOf(table), table])).values()],
    isPutOff: !mayChange,
    problems: [
      ...plan.problems,
      ...done.problems,
      ...unsent,
      ...done.added.filter(({ heldRows }) => heldRows && !isBaseline).map(toUnsent),
      ...partitions.found.map(toUnheard),
    ],
    // Our own changes are looked at once more, together with whatever else happened meanwhile.
    fingerprint: isChanged ? '' : before,
  };
}

/** Stays among the problems for as long as the agent runs: nobody else would tell. */
function toUnsent({ schema, table }: AddedTable): TableProblem {
  const detail = `${schema}.${table} held rows when it was published; they are not in the stream`;
  return { code: UNSENT, schema, table, detail };
}

function toUnheard({ schema, table, root, kind }: NewPartition): TableProblem {
  const name = `${schema}.${table}`;
  if (kind === 'unheard') {
    const detail = `${name} held rows when it became a partition of ${root}; they are not in the stream`;
    return { code: UNSENT, schema, table, detail };
  }
  const detail = `${name}, a partition of ${root}, cannot be read, so whether it came with rows is not known`;
  return { code: 'SYN-P011', schema, table, detail };
}

type Done = {
  readonly added: (AddedTable & { readonly oid: number })[];
  readonly waiting: TableName[];
  readonly problems: TableProblem[];
};

async function carryOut(
  client: PostgresClient,
  spec: PublicationSpec,
  plan: PublicationPlan,
  {
    waited,
    began,
    mayChange,
  }: { readonly waited: ReadonlySet<string>; readonly began: Hlc | null; readonly mayChange: boolean },
): Promise<Done> {
  const done: Done = { added: [], waiting: [], problems: [] };
  if (!mayChange) return done;
  const publication = quoteIdent(spec.name);
  for (const table of plan.drop) {
    await underLock(client, LOCK_TIMEOUT_LONG_MS, async () => {
      if (spec.transfers !== undefined) await sayLeft(client, spec.transfers, table);
      await client.query(`alter publication ${publication} drop table only ${nameOf(table)}`);
    });
  }
  const attempt = async (table: TableName, work: () => Promise<void>): Promise<void> => {
    const timeoutMs = waited.has(nameOf(table)) ? LOCK_TIMEOUT_LONG_MS : LOCK_TIMEOUT_MS;
    try {
      await underLock(client, timeoutMs, work);
    } catch (error) {
      const state = sqlStateOf(error);
      const { schema, table: name } = table;
      if (state === LOCK_NOT_AVAILABLE) done.waiting.push({ schema, table: name });
      else if (state === INSUFFICIENT_PRIVILEGE) {
        const detail = `${schema}.${name}: ${error instanceof Error ? error.message : String(error)}`;
        done.problems.push({ code: 'SYN-P011', schema, table: name, detail });
      } else if (state !== UNDEFINED_TABLE) throw error;
    }
  };
  for (const leaf of plan.identify) await attempt(leaf, () => identify(client, [leaf]));
  for (const table of plan.add) {
    await attempt(table, async () => {
      if (spec.identity === 'full') await identify(client, lackingIdentity(table));
      const isTold = began !== null && (await willBeTold(client, spec, table));
      const held = await add(client, publication, table, { began: spec.identity === 'full' ? began : null, isTold });
      if (table.kind === 'p') await notePartitions(client, spec.name, table.oid);
      const { schema, table: name, oid } = table;
      done.added.push({ schema, table: name, oid, heldRows: held.unsent, resent: held.resent });
    });
  }
  return done;
}

/** Says, in the transaction that publishes the table, that its rows are to be told, where they can be. */
async function willBeTold(
  client: PostgresClient,
  { transfers, identity }: PublicationSpec,
  table: CatalogTable,
): Promise<boolean> {
  if (transfers === undefined || identity !== 'full' || isRegistryTable(table.schema, table.table)) return false;
  return await sayPublished(client, transfers, table);
}

async function underLock(client: PostgresClient, timeoutMs: number, work: () => Promise<void>): Promise<void> {
  await client.transaction(async () => {
    await client.query(`set local lock_timeout = ${timeoutMs}`);
    await work();
  });
}

type Adding = {
  /** Null where nothing of what the table holds is to be sent. */
  readonly began: Hlc | null;
  /** Whether its rows are told to the others by and by. */
  readonly isTold: boolean;
};

async function add(
  client: PostgresClient,
  publication: string,
  table: CatalogTable,
  { began, isTold }: Adding,
): Promise<HeldRows> {
  const relation = `${table.kind === 'p' ? '' : 'only '}${nameOf(table)}`;
  // Writers that are under way end first; partitions are locked with their root.
  await client.query(`lock table ${relation} in share row exclusive mode`);
  await client.query(`alter publication ${publication} add table only ${nameOf(table)}`);
  if (isTold) return { resent: 0, unsent: false };
  if (began !== null) return await resendLateRows(client, relation, table.oid, began);
  const { rows } = await client.query(`select exists (select from ${relation}) as held`);
  return { resent: 0, unsent: rows[0]?.held === 't' };
}

/** Sets full identity, and keeps what it was, so that it can be set back when Syncline is removed. */
async function identify(client: PostgresClient, leaves: readonly Leaf[]): Promise<void> {
  for (const leaf of leaves) {
    await client.query(`lock table only ${nameOf(leaf)} in access exclusive mode`);
    await client.query(KEEP_IDENTITY_SQL, [leaf.schema, leaf.table]);
    await client.query(`alter table only ${nameOf(leaf)} replica identity full`);
  }
}

/** `d`, `n`, or `i` and the name of the index, by the table's oid. */
const KEEP_IDENTITY_SQL = `
insert into syncline.meta (key, value)
select 'identity_before:' || c.oid, concat_ws(' ', c.relreplident, x.relname)
  from pg_class c
  left join pg_index i on i.indrelid = c.oid and i.indisreplident
  left join pg_class x on x.oid = i.indexrelid
 where c.relnamespace = (select oid from pg_namespace where nspname = $1) and c.relname = $2
    on conflict (key) do nothing`;

/**
 * From PostgreSQL 18 on, a table of full identity whose generated columns are not published refuses updates. Stored ones
 * are published therefore; apply passes over them.
 */
async function create(client: PostgresClient, { name }: PublicationSpec): Promise<void> {
  const { rows } = await client.query("select current_setting('server_version_num')::int >= 180000 as refuses");
  const generated = rows[0]?.refuses === 't' ? ', publish_generated_columns = stored' : '';
  try {
    await client.query(`create publication ${quoteIdent(name)} with (publish_via_partition_root = true${generated})`);
  } catch (cause) {
    if (sqlStateOf(cause) !== INSUFFICIENT_PRIVILEGE) throw cause;
    const detail = `publication ${name} cannot be created: ${cause instanceof Error ? cause.message : String(cause)}`;
    throw fail('SYN-P011', detail, { cause });
  }
}

const STATE_SQL = `
select p.oid,
       not puballtables and pubinsert and pubupdate and pubdelete and pubtruncate and pubviaroot
         and coalesce(to_jsonb(p)->>'pubgencols', 's') = 's' as as_made,
       (select json_agg(r.prrelid::bigint order by r.prrelid) from pg_publication_rel r where r.prpubid = p.oid) as members,
       (select min(r.prrelid::regclass::text) from pg_publication_rel r where r.prpubid = p.oid
         and (to_jsonb(r)->>'prqual' is not null or to_jsonb(r)->>'prattrs' is not null)) as filtered
  from pg_publication p where pubname = $1`;

/** The publication as it is; null where there is none. */
async function readState(client: PostgresClient, name: string): Promise<PublicationState | null> {
  const { rows } = await client.query(STATE_SQL, [name]);
  const [row] = rows;
  if (row === undefined) return null;
  const deviations: string[] = [];
  if (row.as_made !== 't') deviations.push('its options were changed');
  if (row.filtered !== null) deviations.push(`it has a row filter or a column list for ${row.filtered}`);
  if (await hasSchemas(client, row.oid ?? '0')) deviations.push('it takes in a whole schema');
  return { deviations, members: JSON.parse(row.members ?? '[]') as number[] };
}

/** From PostgreSQL 15 on. */
async function hasSchemas(client: PostgresClient, publication: string): Promise<boolean> {
  const { rows } = await client.query("select to_regclass('pg_publication_namespace') is not null as known");
  if (rows[0]?.known !== 't') return false;
  const found = await client.query('select 1 from pg_publication_namespace where pnpubid = $1::oid limit 1', [
    publication,
  ]);
  return found.rowCount > 0;
}

/**
 * Everything that a look depends on, in one text: as long as it is the same, a look would find nothing new. Owners, grants
 * and memberships belong to it: a table that the role might not publish is taken in once it may.
 */
const FINGERPRINT_SQL = `
select concat(
  (select md5(string_agg(concat_ws(' ', c.oid, c.relname, c.relnamespace, c.relkind, c.relpersistence, c.relreplident,
      c.relispartition, c.relowner, c.relacl, i.indexrelid, i.indimmediate, i.indisprimary, i.indisvalid, i.indkey),
      ',' order by c.oid, i.indexrelid))
     from pg_class c left join pg_index i on i.indrelid = c.oid and (i.indisunique or i.indisexclusion) and i.indislive
    where c.relkind in ('r', 'p', 'f') and c.relpersistence <> 't' and c.oid >= 16384), ' ',
  (select md5(string_agg(concat(p, ' ', r), ',' order by r.oid))
     from pg_publication p left join pg_publication_rel r on r.prpubid = p.oid where p.pubname = $1), ' ',
  (select md5(string_agg(concat_ws(' ', inhrelid, inhparent), ',' order by inhrelid)) from pg_inherits), ' ',
  (select md5(string_agg(concat_ws(' ', oid, nspowner, nspacl), ',' order by oid)) from pg_namespace
    where nspname !~ '^pg_(toast_)?temp_'), ' ',
  (select md5(string_agg(concat_ws(' ', roleid, member), ',' order by roleid, member)) from pg_auth_members))
  as fingerprint`;

async function fingerprintOf(client: PostgresClient, name: string): Promise<string> {
  const { rows } = await client.query(FINGERPRINT_SQL, [name], { prepare: true });
  return rows[0]?.fingerprint ?? '';
}

function missing(name: string): Error {
  return fail('SYN-K002', `publication ${name} does not exist any more`, { context: { publication: name } });
}

const nameOf = ({ schema, table }: TableName): string => `${quoteIdent(schema)}.${quoteIdent(table)}`;
