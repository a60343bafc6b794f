/**
 * The rows of the registry in this region's database. Whoever writes, writes rows of its own region only.
 *
 * What belongs together is one statement, so that it is one transaction, reaches the others as one, and is either there or
 * not after a crash: a version and the wish for it; a copy of a version and its acknowledgement.
 */
import type { Rollout } from '../change/merge-registry.ts';
import { arrayText, type TextRow } from '../platform/postgres.ts';
import type { Queryable } from '../platform/standing-connection.ts';
import { parseDefinition } from './definition-schema.ts';
import type { MergeDefinition } from './merge-definition.ts';
import type { Ack, Activation, Intent, TableName } from './rollout.ts';

/** More would make every look at the registry long. */
export const VERSIONS_MAX = 1_000;

const ISO = `'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'`;
const iso = (column: string): string => `to_char(${column} at time zone 'UTC', ${ISO})`;

export type Version = TableName & {
  readonly version_id: string;
  readonly registered_by: string;
  readonly registered_at: string;
};

export type Registry = {
  /** Each once, whoever has a copy; the newest first. */
  readonly versions: readonly Version[];
  /** Ids of the versions of which this region has a copy of its own. */
  readonly copied: ReadonlySet<string>;
  readonly acks: readonly Ack[];
  readonly intents: readonly Intent[];
  readonly activations: readonly Activation[];
};

// One statement, and so one snapshot: an intent is never seen without the version that came with it.
const READ_SQL = `
select json_build_object(
  'versions', (select coalesce(json_agg(v order by v.registered_at desc, v.version_id desc), '[]') from (
     select distinct on (version_id) version_id, schema_name, table_name, registered_by, ${iso('registered_at')} as registered_at
       from syncline.merge_version order by version_id, registered_at, registered_by) as v),
  'copied', (select coalesce(json_agg(version_id), '[]') from syncline.merge_version where region = $1),
  'acks', (select coalesce(json_agg(json_build_object('version_id', version_id, 'region', region, 'verdict', verdict,
       'reason', reason, 'is_ready', is_ready, 'acked_at', ${iso('acked_at')})), '[]') from syncline.merge_ack),
  'intents', (select coalesce(json_agg(json_build_object('schema_name', schema_name, 'table_name', table_name,
       'region', region, 'version_id', version_id, 'base_version_id', base_version_id, 'mode', mode, 'percent', percent,
       'generation', generation, 'wanted_at', ${iso('wanted_at')})), '[]') from syncline.merge_intent),
  'activations', (select coalesce(json_agg(json_build_object('schema_name', schema_name, 'table_name', table_name,
       'region', region, 'version_id', version_id, 'base_version_id', base_version_id, 'mode', mode, 'percent', percent,
       'generation', generation, 'decided_by', decided_by, 'activated_at', ${iso('activated_at')})), '[]')
     from syncline.merge_activation)) as registry`;

export async function readRegistry(database: Queryable, region: string): Promise<Registry> {
  const { rows } = await database.query(READ_SQL, [region]);
  const found = JSON.parse(rows[0]?.registry ?? '') as Omit<Registry, 'copied'> & { readonly copied: string[] };
  return { ...found, copied: new Set(found.copied) };
}

/** What versions say, by whichever copy; what cannot be read here is left out. Sources may be left empty: they are long. */
export async function readDefinitions(
  database: Queryable,
  versionIds: readonly string[],
  { withSources }: { readonly withSources: boolean },
): Promise<ReadonlyMap<string, MergeDefinition>> {
  const definition = withSources
    ? 'definition'
    : `case when definition #> '{function,source}' is null then definition
            else jsonb_set(definition, '{function,source}', '""') end`;
  const { rows } = await database.query(
    `select distinct on (version_id) version_id, (${definition})::text as definition
       from syncline.merge_version where version_id = any ($1::text[]) order by version_id`,
    [arrayText(versionIds)],
  );
  return new Map(
    rows.flatMap(({ version_id, definition }) => {
      const read = parseDefinition(definition ?? 'null');
      return read === null ? [] : [[String(version_id), read] as const];
    }),
  );
}

const INTENT = `
insert into syncline.merge_intent as i
  (schema_name, table_name, region, version_id, base_version_id, mode, percent, generation)
select $1, $2, $3, $4, $5, $6, $7::integer,
       (select coalesce(max(generation), 0) + 1 from syncline.merge_intent where schema_name = $1 and table_name = $2)
on conflict (schema_name, table_name, region) do update
   set version_id = excluded.version_id, base_version_id = excluded.base_version_id, mode = excluded.mode,
       percent = excluded.percent, generation = greatest(excluded.generation, i.generation + 1),
       wanted_at = excluded.wanted_at`;

const intentValues = ({ schema_name, table_name }: TableName, region: string, rollout: Rollout) => [
  schema_name,
  table_name,
  region,
  rollout.version_id,
  rollout.base_version_id,
  rollout.mode,
  String(rollout.percent),
];

/** Says what is wanted, above all that is known. */
export async function saveIntent(
  database: Queryable,
  region: string,
  table: TableName,
  rollout: Rollout,
): Promise<void> {
  await database.query(INTENT, intentValues(table, region, rollout));
}

/** Adds a version, where nobody has it, and says that it is wanted. */
export async function saveVersion(
  database: Queryable,
  region: string,
  table: TableName,
  rollout: Rollout,
  definition: MergeDefinition,
): Promise<void> {
  await database.query(
    `with added as (
       insert into syncline.merge_version (version_id, region, schema_name, table_name, definition, registered_by)
       select $4, $3, $1, $2, $8::jsonb, $3
        where not exists (select from syncline.merge_version where version_id = $4)
           on conflict do nothing)
     ${INTENT}`,
    [...intentValues(table, region, rollout), JSON.stringify(definition)],
  );
}

/** Says whether this region can run a version; with a copy of it where it can. */
export async function saveAck(
  database: Queryable,
  region: string,
  versionId: string,
  refusal: string | null,
  isReady: boolean,
): Promise<void> {
  await database.query(
    `with copied as (
       insert into syncline.merge_version
              (version_id, region, schema_name, table_name, definition, registered_by, registered_at)
       select version_id, $2, schema_name, table_name, definition, registered_by, registered_at
         from syncline.merge_version where version_id = $1 and $3::text is null
        order by registered_at, registered_by limit 1
           on conflict do nothing)
     insert into syncline.merge_ack (version_id, region, verdict, reason, is_ready)
     values ($1, $2, case when $3::text is null then 'ok' else 'refused' end, $3, $4::boolean)
         on conflict (version_id, region) do update
        set verdict = excluded.verdict, reason = excluded.reason, is_ready = excluded.is_ready,
            acked_at = excluded.acked_at`,
    [versionId, region, refusal, String(isReady && refusal === null)],
  );
}

/** Lets the region's events name what is wanted, from where this stands in the WAL; never what was wanted before that. */
export async function saveActivation(database: Queryable, region: string, intent: Intent): Promise<void> {
  await database.query(
    `insert into syncline.merge_activation as a
            (schema_name, table_name, region, version_id, base_version_id, mode, percent, generation, decided_by)
     values ($1, $2, $3, $4, $5, $6, $7::integer, $8::bigint, $9)
         on conflict (schema_name, table_name, region) do update
        set version_id = excluded.version_id, base_version_id = excluded.base_version_id, mode = excluded.mode,
            percent = excluded.percent, generation = excluded.generation, decided_by = excluded.decided_by,
            activated_at = excluded.activated_at
      where (a.generation, a.decided_by) < (excluded.generation, excluded.decided_by)`,
    [...intentValues(intent, region, intent), String(intent.generation), intent.region],
  );
}

/** Whether rows of the table are told to other regions under their own versions, which no history has. */
export async function isBeingTold(database: Queryable, schema: string, table: string): Promise<boolean> {
  const { rows } = await database.query(
    `select exists (select from syncline.transfer where schema_name = $1 and table_name = $2
       and state in ('published', 'sealed', 'ready')) as found`,
    [schema, table],
  );
  return rows[0]?.found === 't';
}

/** Writes the region's own rows once more, as they are: for who has passed over them, or lost them. */
export async function sendAgain(database: Queryable, region: string): Promise<void> {
  await database.query(
    `with versions as (update syncline.merge_version set region = region where region = $1),
          acks as (update syncline.merge_ack set region = region where region = $1),
          intents as (update syncline.merge_intent set region = region where region = $1)
     update syncline.merge_activation set region = region where region = $1`,
    [region],
  );
}

const GREETED_KEY = 'merge_greeted';

/** Regions that are known to take in the registry, and were sent all of it. */
export async function readGreeted(database: Queryable): Promise<ReadonlySet<string>> {
  const { rows } = await database.query('select value from syncline.meta where key = $1', [GREETED_KEY]);
  return new Set(toNames(rows[0]));
}

export async function saveGreeted(database: Queryable, regions: ReadonlySet<string>): Promise<void> {
  await database.query(
    `insert into syncline.meta (key, value) values ($1, $2) on conflict (key) do update set value = excluded.value`,
    [GREETED_KEY, JSON.stringify([...regions].sort())],
  );
}

const toNames = (row: TextRow | undefined): string[] => JSON.parse(row?.value ?? '[]') as string[];
