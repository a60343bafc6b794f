/**
 * Decides what the publication should hold: pure, from the catalog, the publication as it is and as it was.
 *
 * A table that the filter names is published if its rows can be told apart and decoded; else it is a problem with a
 * code, and never half replicated. Partitions follow the topmost table above them that is named.
 *
 * Whether a table that is missing in the publication is new, or was taken out by someone, is told by what the
 * publication held when it was looked at last. A member that is gone from the catalog has left by itself.
 */
import { REGISTRY_SCHEMA } from '../../change/merge-registry.ts';
import { type ErrorCode, fail, type SynclineError } from '../../platform/errors.ts';
import { isTableIncluded, type TableFilter } from '../../platform/table-filter.ts';
import type { CatalogTable, Leaf } from './table-catalog.ts';

export type PublicationSpec = TableFilter & {
  readonly name: string;
  /** Tables of Syncline itself, published whatever the filter says; none unless given. */
  readonly always?: readonly { readonly schema: string; readonly table: string }[];
  /** The region's name, where it tells the others the rows that a table holds when it comes in (`src/transfer/`). */
  readonly transfers?: string;
  /** `full` sets REPLICA IDENTITY FULL; `key` leaves the identity as it is. */
  readonly identity: 'full' | 'key';
};

/** The publication as the catalog has it. */
export type PublicationState = {
  /** What is not as it was made: options, row filters, column lists, whole schemas. */
  readonly deviations: readonly string[];
  /** Oids of its tables. */
  readonly members: readonly number[];
};

type TableName = { readonly schema: string; readonly table: string };

export type TableProblem = {
  readonly code: ErrorCode;
  readonly schema: string;
  readonly table: string;
  readonly detail: string;
};

export type PublicationPlan = {
  readonly add: readonly CatalogTable[];
  /** Members that the filter does not name. */
  readonly drop: readonly CatalogTable[];
  /** Tables and partitions of members that lack the identity. */
  readonly identify: readonly Leaf[];
  readonly problems: readonly TableProblem[];
  /** The first thing for which capture has to stop. */
  readonly fault: SynclineError | null;
};

/** `known` are the members when the publication was looked at last; null at the start. */
export function planPublication(
  spec: PublicationSpec,
  tables: readonly CatalogTable[],
  state: PublicationState,
  known: ReadonlySet<number> | null,
): PublicationPlan {
  const members = new Set(state.members);
  const named = tables.filter((table) => isNamed(spec, table));
  const problems = named.flatMap((table) => problemOf(table, spec.identity) ?? []);
  const fit = named.filter((table) => problemOf(table, spec.identity) === null);
  const add = fit.filter(({ oid }) => !members.has(oid));
  const isNamedOid = new Set(named.map(({ oid }) => oid));
  const stray = tables.filter(({ oid }) => members.has(oid) && !isNamedOid.has(oid));
  return {
    add,
    drop: known === null ? stray : [],
    identify: spec.identity === 'full' ? fit.filter(({ oid }) => members.has(oid)).flatMap(lackingIdentity) : [],
    problems,
    fault: faultOf(spec, tables, named, state, known),
  };
}

/** The tables below it, itself included, whose identity is to be set. */
export function lackingIdentity(table: CatalogTable): Leaf[] {
  if (!table.hasPrimaryKey) return [];
  const all = table.kind === 'p' ? [table, ...table.leaves] : table.leaves;
  const seen = new Set<string>();
  return all.filter((leaf) => {
    const name = JSON.stringify([leaf.schema, leaf.table]);
    if (leaf.identity === 'f' || seen.has(name)) return false;
    seen.add(name);
    return true;
  });
}

function isNamed(filter: PublicationSpec, { schema, table, ancestors }: CatalogTable): boolean {
  if (schema === REGISTRY_SCHEMA) return filter.always?.some((each) => each.table === table) === true;
  const isIncluded = (each: { schema: string; table: string }): boolean =>
    isTableIncluded(filter, each.schema, each.table);
  return isIncluded({ schema, table }) && !ancestors.some(isIncluded);
}

/**
 * Whether rows of the table are none of what the filter names, whatever it was called when they were written: neither by a name that it
 * had or has, nor by that of a table above or below it, which may have taken its place in the publication.
 */
export function isExcluded(spec: PublicationSpec, written: TableName, now: CatalogTable | null): boolean {
  if (written.schema === REGISTRY_SCHEMA) return false;
  const names = now === null ? [written] : [written, now, ...now.ancestors, ...now.leaves];
  return !names.some(({ schema, table }) => isTableIncluded(spec, schema, table));
}

/** Why rows of the table cannot be replicated; null where they can. */
export function problemOf(table: CatalogTable, identity: PublicationSpec['identity']): TableProblem | null {
  const { schema, table: name, key, hasPrimaryKey, deferrable, ofPartition, virtual, leaves } = table;
  const problem = (code: ErrorCode, detail: string): TableProblem => {
    return { code, schema, table: name, detail: `${schema}.${name} ${detail}` };
  };
  const foreign = leaves.find(({ kind }) => kind === 'f');
  if (foreign !== undefined) {
    return problem('SYN-P024', foreign.table === name ? 'is a foreign table' : `has ${foreign.table}, a foreign table`);
  }
  const unlogged = leaves.find(({ kind, persistence }) => kind !== 'p' && persistence !== 'p');
  if (unlogged !== undefined) {
    return problem('SYN-P021', unlogged.table === name ? 'is unlogged' : `has ${unlogged.table}, which is unlogged`);
  }
  if (key === null) return problem('SYN-P012', 'has no primary key');
  // What an UPDATE leaves alone of large values would be missing in its event, and each region keep its own.
  if (identity === 'full' && !hasPrimaryKey) {
    return problem('SYN-P012', 'has no primary key, and the index that is its replica identity cannot stand for one');
  }
  if (deferrable !== null) return problem('SYN-P013', `has the deferrable constraint ${deferrable}`);
  if (ofPartition !== null) {
    const { partition, name: constraint } = ofPartition;
    return problem('SYN-P058', `has the partition ${partition}, which alone has the constraint or index ${constraint}`);
  }
  const generated = key.find(({ isGenerated }) => isGenerated);
  if (generated !== undefined) {
    return problem('SYN-P012', `has the generated column ${generated.name} in its key, whose value is not in the WAL`);
  }
  // PostgreSQL would refuse every UPDATE and DELETE of such a table, those of its users too.
  if (virtual !== null && identity === 'full') {
    return problem('SYN-P031', `has the virtual generated column ${virtual}`);
  }
  const unfit = key.find(({ nature }) => nature === null);
  if (unfit !== undefined) return problem('SYN-P017', `has the key column ${unfit.name} of type ${unfit.type}`);
  return null;
}

function faultOf(
  spec: PublicationSpec,
  tables: readonly CatalogTable[],
  named: readonly CatalogTable[],
  { deviations, members }: PublicationState,
  known: ReadonlySet<number> | null,
): SynclineError | null {
  const changed = (detail: string): SynclineError =>
    fail('SYN-K002', `publication ${spec.name}: ${detail}`, { context: { publication: spec.name } });
  const [deviation] = deviations;
  if (deviation !== undefined) return changed(deviation);
  for (const { oid, key, schema, table } of tables) {
    if (known === null) continue;
    if (known.has(oid) && !members.includes(oid)) return changed(`${schema}.${table} was taken out of it`);
    if (!known.has(oid) && members.includes(oid)) return changed(`${schema}.${table} was added to it`);
    if (known.has(oid) && key === null) return lostKey(schema, table);
  }
  // At the start, a table that is to be replicated and was, and cannot be any more.
  const lost = named.find(({ oid, key }) => key === null && members.includes(oid));
  return lost === undefined ? null : lostKey(lost.schema, lost.table);
}

function lostKey(schema: string, table: string): SynclineError {
  const name = `${schema}.${table}`;
  return fail('SYN-K008', `${name} has no primary key any more`, { context: { table: name } });
}
