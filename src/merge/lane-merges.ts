/**
 * The registry as the lane goes by it: rules by version, what is active here, and which tables are tracked.
 *
 * A table is tracked from the moment on at which a version for it is here, long before anything names it.
 */
import type { Queryable } from '../platform/standing-connection.ts';
import type { KnownMerges, RegisteredRule } from '../resolve/known-merges.ts';
import type { MergeSandbox } from '../resolve/sandbox/merge-sandbox.ts';
import { makeMergeVersion } from '../resolve/sandbox/merge-version.ts';
import type { MergeDefinition } from './merge-definition.ts';
import { readDefinitions, readRegistry } from './registry-store.ts';
import { tableText } from './rollout.ts';

/**
 * A type of PostgreSQL itself, without a modifier. Any other comes with its schema, or with its modifier in brackets, and may
 * hold a value to more than its text tells: there the database is asked.
 */
const PLAIN_TYPE = /^[a-z0-9 ]+(\[\])?$/;

export type LaneMergesOptions = {
  readonly region: string;
  readonly database: Queryable;
  /** Is told of every function. */
  readonly sandbox: MergeSandbox;
};

export async function readKnownMerges({ region, database, sandbox }: LaneMergesOptions): Promise<KnownMerges> {
  const { versions, activations } = await readRegistry(database, region);
  const definitions = await readDefinitions(
    database,
    versions.map(({ version_id }) => version_id),
    { withSources: true },
  );
  const rules = new Map<string, RegisteredRule>();
  for (const [version, definition] of definitions) {
    rules.set(version, registered(definition));
    const { function: kept } = definition;
    if (kept !== null) sandbox.add(makeMergeVersion(kept.source, 'javascript', kept.limits));
  }
  const active = new Map<string, string>();
  for (const activation of activations) {
    const { version_id, base_version_id, mode } = activation;
    const version = mode === 'shadow' ? base_version_id : version_id;
    if (activation.region === region && version !== null) active.set(tableText(activation), version);
  }
  return { rules, active, tracked: new Set(versions.map(tableText)) };
}

export function registered({ rule, validity }: MergeDefinition): RegisteredRule {
  const not_null = validity.columns.filter((column) => column.not_null).map(({ name }) => name);
  const checks = validity.checks.flatMap(({ expression }) => expression ?? []);
  const isPlain =
    typeof rule.rows === 'string' &&
    checks.length === 0 &&
    validity.columns.every(({ name, type }) => rule.columns[name] === undefined || PLAIN_TYPE.test(type));
  return { rule, validity: { not_null, checks, isPlain } };
}
