// Versions of merge rules with their states, the newest first. States follow from the rows of the registry that
// are in this region's database, so every agent tells the same once it has applied the same.

import type { MergeDefinition } from '../merge/merge-definition.ts';
import { wantedIn } from '../merge/merge-keeper.ts';
import { type Registry, readDefinitions, readRegistry, type Version } from '../merge/registry-store.ts';
import { missingRegions, regionState, tableText, versionState, versionsOf } from '../merge/rollout.ts';
import { readSamples, readShadowCounts, SAMPLES_MAX } from '../merge/shadow-store.ts';
import { fail } from '../platform/errors.ts';
import type { Queryable } from '../platform/standing-connection.ts';
import type { MergeQuery, MergeVersion, ShadowReport } from './merge-schemas.ts';
import { decodeCursor, encodeCursor, PAGE_BYTES_MAX, type Page } from './paging.ts';

const CURSOR = [/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/, /^[0-9a-f]{64}$/];

/** What a page may go beyond its bound by is no more than this. */
const READ_AT_ONCE = 20;

type Members = { readonly region: string; readonly members: readonly string[] };

export async function listMerges(
  database: Queryable,
  { region, members }: Members,
  { table, cursor, limit }: MergeQuery,
): Promise<Page<MergeVersion>> {
  const registry = await readRegistry(database, region);
  const shadows = await readShadowCounts(database);
  const [at, id] = cursor === undefined ? [] : decodeCursor(cursor, CURSOR);
  const isBehind = ({ registered_at, version_id }: Version): boolean =>
    at === undefined || registered_at < at || (registered_at === at && version_id < (id ?? ''));
  const found = registry.versions.filter((version) => isNamed(version, table) && isBehind(version));
  const items: MergeVersion[] = [];
  const wanted = found.slice(0, limit);
  for (let bytes = 0; items.length < wanted.length && bytes < PAGE_BYTES_MAX; ) {
    const some = wanted.slice(items.length, items.length + READ_AT_ONCE);
    const ids = some.map(({ version_id }) => version_id);
    const definitions = await readDefinitions(database, ids, { withSources: false });
    for (const version of some) {
      const { version_id } = version;
      items.push({
        ...toItem(version, registry, members, definitions.get(version_id)),
        shadow: shadows.get(version_id) ?? null,
      });
    }
    bytes += JSON.stringify(items.slice(-some.length)).length;
  }
  const last = items.at(-1);
  const isAll = items.length === found.length || last === undefined;
  return { items, next_cursor: isAll ? null : encodeCursor([last.registered_at, last.version_id]) };
}

/** With its source; SYN-T103 where there is no such version. */
export async function readMerge(
  database: Queryable,
  { region, members }: Members,
  versionId: string,
): Promise<MergeVersion> {
  const registry = await readRegistry(database, region);
  const version = registry.versions.find(({ version_id }) => version_id === versionId);
  if (version === undefined) throw fail('SYN-T103', `there is no version ${versionId}`);
  const definition = (await readDefinitions(database, [versionId], { withSources: true })).get(versionId);
  const item = toItem(version, registry, members, definition);
  const shadow = (await readShadowCounts(database)).get(versionId) ?? null;
  return { ...item, shadow, definition: { ...item.definition, source: definition?.function?.source ?? null } };
}

/** What came of a version in shadow; SYN-T103 where there is no such version. */
export async function readShadow(
  database: Queryable,
  region: string,
  version_id: string,
  limit = SAMPLES_MAX,
): Promise<ShadowReport> {
  const { versions } = await readRegistry(database, region);
  if (!versions.some((each) => each.version_id === version_id)) {
    throw fail('SYN-T103', `there is no version ${version_id}`);
  }
  const counts = (await readShadowCounts(database)).get(version_id) ?? null;
  const items = await readSamples(database, version_id, limit);
  return { version_id, counts, items: items.map((item) => ({ ...item, redacted: [...item.redacted] })) };
}

function isNamed({ schema_name, table_name }: Version, name: string | undefined): boolean {
  return name === undefined || name === table_name || name === `${schema_name}.${table_name}`;
}

function toItem(
  { version_id, schema_name, table_name, registered_at, registered_by }: Version,
  registry: Registry,
  members: readonly string[],
  definition: MergeDefinition | undefined,
): Omit<MergeVersion, 'shadow'> {
  const here = tableText({ schema_name, table_name });
  const wanted = wantedIn(registry).find((intent) => tableText(intent) === here);
  const isWanted = wanted !== undefined && versionsOf(wanted).includes(version_id);
  const { acks, activations } = registry;
  const ofTable = activations.filter((each) => tableText(each) === here);
  const regions = members.map((region) => {
    const ack = acks.find((each) => each.region === region && each.version_id === version_id);
    const state = regionState(version_id, region, acks, ofTable);
    const active = state === 'active' ? ofTable.find((each) => each.region === region) : undefined;
    return {
      region,
      state,
      reason: ack?.reason ?? null,
      acked_at: ack?.acked_at ?? null,
      activated_at: active?.activated_at ?? null,
    };
  });
  const role = wanted?.version_id === version_id ? 'version' : 'base';
  return {
    version_id,
    table: `${schema_name}.${table_name}`,
    schema_name,
    table_name,
    state: versionState(
      regions.map(({ state }) => state),
      isWanted,
    ),
    regions,
    missing_regions: [...missingRegions(members, acks, [version_id])],
    rollout: isWanted ? { mode: wanted.mode, percent: wanted.percent, role } : null,
    definition: told(definition),
    registered_at,
    registered_by,
  };
}

function told(definition: MergeDefinition | undefined): MergeVersion['definition'] {
  const rule = definition?.rule;
  const rows = rule?.rows;
  // The database keeps keys in an order of its own.
  const columns = Object.entries(rule?.columns ?? {}).map(([name, { strategy }]) => [name, strategy] as const);
  return {
    strategy: typeof rows === 'string' ? rows : null,
    columns: Object.fromEntries(columns.toSorted(([a], [b]) => (a < b ? -1 : 1))),
    deletes: rule?.deletes ?? 'latest',
    key: [...(rule?.key ?? [])],
    limits: definition?.function?.limits ?? null,
    function_hash: typeof rows === 'object' ? rows.hash : null,
  };
}
