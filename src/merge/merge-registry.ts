/**
 * What operators do with merge rules: register a version, promote it, roll it back. Each is a wish, written as a row; what
 * becomes of it in each region is up to that region's keeper (`merge-keeper.ts`).
 *
 * Wishes of one region are made one after the other, because each goes from what is wanted before it.
 */
import type { Rollout, RolloutMode } from '../change/merge-registry.ts';
import { fail } from '../platform/errors.ts';
import type { Queryable } from '../platform/standing-connection.ts';
import { isTableIncluded, type TableFilter } from '../platform/table-filter.ts';
import { defineMerge, type FunctionCheck, type MergeRequest, versionOf } from './merge-definition.ts';
import { type Registry, readRegistry, saveIntent, saveVersion, VERSIONS_MAX, type Version } from './registry-store.ts';
import { effectiveIntent, rollbackOf, rolloutTo, type TableName, tableText, versionsOf } from './rollout.ts';
import { readTableFacts } from './table-facts.ts';

export type RolloutStep = { readonly mode: RolloutMode; readonly percent: number };

export type MergeRegistryOptions = {
  readonly region: string;
  readonly database: Queryable;
  readonly tables: TableFilter;
  readonly check: FunctionCheck;
  /** Whether what is written now reaches the others. */
  readonly isCaptured: () => boolean;
  /** Something was written. */
  readonly onChange: () => void;
};

export class MergeRegistry {
  readonly #options: MergeRegistryOptions;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: MergeRegistryOptions) {
    this.#options = options;
  }

  /** Adds a version and wants it; returns its id. One that is known already is wanted (again). */
  async register(name: TableName, request: MergeRequest, how: RolloutStep): Promise<string> {
    const { region, database, tables, check } = this.#options;
    const table = `${name.schema_name}.${name.table_name}`;
    if (!isTableIncluded(tables, name.schema_name, name.table_name)) {
      throw fail('SYN-T100', `${table} is not among the tables of the configuration`);
    }
    const facts = await readTableFacts(database, name.schema_name, name.table_name);
    if (facts === null) throw fail('SYN-T100', `there is no table ${table}`);
    const definition = await defineMerge(name, request, facts, check);
    const versionId = versionOf(definition);
    return await this.#inTurn(async (registry) => {
      const isKnown = registry.versions.some(({ version_id }) => version_id === versionId);
      if (!isKnown && registry.versions.length >= VERSIONS_MAX)
        throw fail('SYN-T105', `${VERSIONS_MAX} are registered`);
      await saveVersion(database, region, name, rolloutTo(wanted(registry, name), versionId, how), definition);
      return versionId;
    });
  }

  /** Wants the version, for all rows or as a rollout; SYN-T103 for an unknown one. */
  async promote(versionId: string, how: RolloutStep): Promise<void> {
    await this.#inTurn(async (registry) => {
      const version = versionIn(registry, versionId);
      await this.#want(version, rolloutTo(wanted(registry, version), versionId, how));
    });
  }

  /**
   * Wants what was in effect before this version, or the version `to`, where null is last writer wins. SYN-T104 where this
   * version is not wanted.
   */
  async rollback(versionId: string, to: string | null | undefined): Promise<void> {
    await this.#inTurn(async (registry) => {
      const version = versionIn(registry, versionId);
      const now = wanted(registry, version);
      if (now === null || !versionsOf(now).includes(versionId)) {
        throw fail('SYN-T104', `${versionId} is neither active nor being rolled out`);
      }
      if (typeof to === 'string' && tableText(versionIn(registry, to)) !== tableText(version)) {
        throw fail('SYN-T103', `${to} is a version for another table`);
      }
      await this.#want(version, rollbackOf(now, to));
    });
  }

  async #want({ schema_name, table_name }: TableName, rollout: Rollout): Promise<void> {
    const { database, region } = this.#options;
    await saveIntent(database, region, { schema_name, table_name }, rollout);
  }

  async #inTurn<T>(work: (registry: Registry) => Promise<T>): Promise<T> {
    const { database, region, isCaptured, onChange } = this.#options;
    const turn = this.#turn.then(async () => {
      if (!isCaptured()) throw fail('SYN-T106', `capture of ${region} does not stream`);
      const done = await work(await readRegistry(database, region));
      onChange();
      return done;
    });
    this.#turn = turn.catch(() => undefined);
    return await turn;
  }
}

function versionIn({ versions }: Registry, versionId: string): Version {
  const version = versions.find(({ version_id }) => version_id === versionId);
  if (version === undefined) throw fail('SYN-T103', `there is no version ${versionId}`);
  return version;
}

function wanted({ intents }: Registry, table: TableName): Rollout | null {
  return effectiveIntent(intents.filter((each) => tableText(each) === tableText(table)));
}
