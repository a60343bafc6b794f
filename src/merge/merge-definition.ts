/**
 * What a version of a merge rule says, whole: how rows and columns merge, and what a result has to hold to. It never
 * changes, and its id is the hash of its content, so that two regions which say the same id mean the same rule.
 *
 * It is checked twice: where it is registered, and in each region before that says that it can run it. The second check
 * is about this region's table and sandbox alone; whatever differs there is a reason to refuse, in words.
 */
import { createHash } from 'node:crypto';
import { fail, SynclineError } from '../platform/errors.ts';
import {
  type ColumnStrategy,
  type ColumnType,
  type DeletePolicy,
  type MergeRule,
  validateRule,
} from '../resolve/merge-rule.ts';
import { type MergeLimits, type MergeVersion, makeMergeVersion } from '../resolve/sandbox/merge-version.ts';
import type { TableName } from './rollout.ts';
import type { CheckRule, TableColumn, TableFacts } from './table-facts.ts';

/** Of the source of a function, in UTF-16 units. */
export const SOURCE_MAX = 65_536;

/** What an operator asks for. */
export type MergeRequest = {
  /** Of whole rows, where there is no function. */
  readonly strategy?: 'lww' | 'lww-columns';
  /** A function, in TypeScript or JavaScript. */
  readonly source?: string;
  readonly columns?: Readonly<Record<string, ColumnStrategy>>;
  readonly options?: { readonly deletes?: DeletePolicy; readonly limits?: Partial<MergeLimits> };
};

export type MergeDefinition = TableName & {
  readonly rule: MergeRule;
  /** What rows merge by, in plain JavaScript; null where that is a strategy. */
  readonly function: Pick<MergeVersion, 'source' | 'limits'> | null;
  /** What the table took when it was registered. */
  readonly validity: {
    readonly columns: readonly Pick<TableColumn, 'name' | 'type' | 'not_null'>[];
    readonly checks: readonly CheckRule[];
  };
};

/** Loads a function in the sandbox; SYN-A082 and A083 where it is none. */
export type FunctionCheck = (version: MergeVersion) => Promise<void>;

/** Makes the definition, or throws what is wrong with the request: SYN-P012, T101, T102, A080 to A084. */
export async function defineMerge(
  name: TableName,
  request: MergeRequest,
  facts: TableFacts,
  check: FunctionCheck,
): Promise<MergeDefinition> {
  const table = `${name.schema_name}.${name.table_name}`;
  const { strategy, source, columns = {}, options = {} } = request;
  checkTable(table, facts);
  if (strategy !== undefined && source !== undefined) {
    throw fail('SYN-T101', 'rows merge by a strategy or by a function, not by both');
  }
  if (strategy === undefined && source === undefined && Object.keys(columns).length === 0) {
    throw fail('SYN-T101', 'it names no strategy, no function and no column');
  }
  if (source === undefined && options.limits !== undefined) throw fail('SYN-T101', 'limits are for a function');
  const typeOf = new Map(facts.columns.map((column) => [column.name, column]));
  const merged = Object.entries(columns).map(([column, each]) => {
    const found = typeOf.get(column);
    if (found === undefined) throw fail('SYN-T101', `${table} has no column ${column}`);
    if (found.is_generated) throw fail('SYN-T101', `${table} computes the column ${column} itself`);
    if (facts.key.includes(column)) throw fail('SYN-T101', `${column} belongs to the key of ${table}`);
    return [column, { strategy: each, typeName: found.base.name }] as const;
  });
  const made = source === undefined ? null : makeMergeVersion(source, 'typescript', options.limits);
  if (made !== null) await check(made);
  const written = facts.columns.filter(({ is_generated }) => !is_generated);
  const rule: MergeRule = {
    table,
    key: facts.key,
    rows: made === null ? (strategy ?? 'lww') : { hash: made.hash },
    columns: Object.fromEntries(merged),
    deletes: options.deletes ?? 'latest',
    needsValidation: made !== null || isBound(facts, Object.keys(columns)),
  };
  validateRule(rule, baseTypes(facts));
  return {
    ...name,
    rule,
    function: made === null ? null : { source: made.source, limits: made.limits },
    validity: { columns: written.map(({ name, type, not_null }) => ({ name, type, not_null })), checks: facts.checks },
  };
}

/** Why this region cannot run it; null where it can. */
export async function refusalOf(
  versionId: string,
  definition: MergeDefinition,
  facts: TableFacts | null,
  check: FunctionCheck,
): Promise<string | null> {
  const { rule, function: kept, validity } = definition;
  if (versionOf(definition) !== versionId) return 'its content does not have that id';
  if (facts === null) return `there is no table ${rule.table}`;
  try {
    checkTable(rule.table, facts);
    if (JSON.stringify(facts.key) !== JSON.stringify(rule.key)) {
      return `the key is (${facts.key.join(', ')}) here and (${rule.key.join(', ')}) where it was registered`;
    }
    validateRule(rule, baseTypes(facts));
    for (const { name, type } of validity.columns) {
      const here = facts.columns.find((column) => column.name === name);
      if (here === undefined) return `there is no column ${name}`;
      if (here.type !== type) return `column ${name} is ${here.type} here and ${type} where it was registered`;
    }
    if (typeof rule.rows === 'string') return null;
    // Types are stripped where it was registered, and nowhere else.
    const made = makeMergeVersion(kept?.source ?? '', 'javascript', kept?.limits);
    if (made.hash !== rule.rows.hash) return 'another version of the sandbox runs here';
    await check(made);
    return null;
  } catch (error) {
    if (error instanceof SynclineError && error.class !== 'infrastructure') return `${error.code}: ${error.detail}`;
    throw error;
  }
}

/** The hash of its content, whatever the order of its keys. */
export function versionOf(definition: MergeDefinition): string {
  return createHash('sha256')
    .update(JSON.stringify(ordered(definition)))
    .digest('hex');
}

function checkTable(table: string, { is_partition, key, claims }: TableFacts): void {
  if (is_partition) throw fail('SYN-T101', `${table} is a partition: a rule belongs to the table above it`);
  if (key.length === 0) throw fail('SYN-P012', `${table} has no primary key`);
  if (claims.length === 0) return;
  throw fail('SYN-T102', `${table} has ${claims.join(', ')}`, { context: { table, claims } });
}

/** Whether the table can refuse a row that a merge has made. */
function isBound({ checks, columns }: TableFacts, merged: readonly string[]): boolean {
  return (
    checks.length > 0 ||
    columns.some(({ name, is_plain, not_null }) => merged.includes(name) && (not_null || !is_plain))
  );
}

function baseTypes({ columns }: TableFacts): Map<string, ColumnType> {
  return new Map(columns.map(({ name, base }) => [name, base]));
}

function ordered(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(ordered);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).map(([key, each]) => [key, ordered(each)] as const);
  return Object.fromEntries(entries.toSorted(([a], [b]) => (a < b ? -1 : 1)));
}
