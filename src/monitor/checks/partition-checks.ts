// Constraints that a partition has by itself. Regions tell which rows exclude each other by those of the partitioned table.

import type { CatalogTable } from '../../capture/tables/table-catalog.ts';
import { partitionConstraintsSql } from '../../platform/partition-constraints.ts';
import { arrayText, type PostgresClient, quoteIdent } from '../../platform/postgres.ts';
import { type Finding, listed, nameOf, orExclude } from './finding.ts';

/** Of one partition and its parent, as the partition's bound is written. Names are with their schemas, and quoted. */
type Found = {
  readonly root: string;
  readonly schema: string;
  readonly table: string;
  readonly partition: string;
  readonly parent: string;
  readonly bound: string;
  readonly constraints: readonly Constraint[];
};
type Constraint = {
  readonly name: string;
  /** As SQL names it. */
  readonly index: string;
  readonly isIndex: boolean;
  readonly isDeferrable: boolean;
  readonly isInherited: boolean;
  /** Foreign keys that refer to its columns. */
  readonly references: readonly { readonly name: string; readonly table: string }[];
};

// With no table for it, PostgreSQL prints the bound, which has no columns, and opens none.
const SQL = `
select json_build_object(
  'root', r.oid::text, 'schema', n.nspname, 'table', c.relname, 'partition', c.oid::regclass::text,
  'parent', (select inhparent::regclass::text from pg_inherits where inhrelid = c.oid),
  'bound', pg_get_expr(c.relpartbound, 0),
  'constraints', json_agg(json_build_object(
      'name', own.name, 'index', own.index_oid::regclass::text, 'isIndex', own.constraint_oid is null,
      'isDeferrable', own.is_deferrable, 'isInherited', own.is_inherited,
      'references', coalesce((
        select json_agg(json_build_object('name', f.conname, 'table', f.conrelid::regclass::text) order by f.oid)
          from pg_constraint f where f.contype = 'f' and f.conindid = own.index_oid and f.conparentid = 0), '[]'))
    order by own.index_oid))
  from unnest($1::oid[]) as r (oid)
 cross join lateral (${partitionConstraintsSql('r.oid')}) as own
  join pg_class c on c.oid = own.partition_oid
  join pg_namespace n on n.oid = c.relnamespace
 group by r.oid, n.nspname, c.oid, c.relname, c.relpartbound
 order by n.nspname, c.relname`;

/** `roots` are the tables that are replicated for their partitions. */
export async function partitionFindings(client: PostgresClient, roots: readonly CatalogTable[]): Promise<Finding[]> {
  const partitioned = new Map(roots.filter(({ kind }) => kind === 'p').map((root) => [String(root.oid), root]));
  if (partitioned.size === 0) return [];
  const { rows } = await client.queryArrays(SQL, [arrayText([...partitioned.keys()])]);
  return rows.flatMap(([text]) => {
    const found = JSON.parse(text ?? '') as Found;
    const root = partitioned.get(found.root);
    return root === undefined ? [] : [toFinding(found, root)];
  });
}

function toFinding(found: Found, root: CatalogTable): Finding {
  const name = nameOf(found);
  const isLate = found.constraints.some(({ isDeferrable }) => isDeferrable);
  return {
    code: 'SYN-P058',
    severity: 'error',
    table: name,
    what: `The partition ${name} has constraints that ${nameOf(root)} has not: ${listed(found.constraints.map(described))}.`,
    why: isLate
      ? 'A check that is deferrable never fires while rows are applied, so duplicates would come in silently.'
      : 'Which rows exclude each other is told by the constraints of the partitioned table: of two that regions write at once, each would keep its own.',
    fix: `-- as the owner; on ${nameOf(root)} itself a constraint is known, and has to have the columns of the partition key
${mended(found).join('\n')}
# without ${nameOf(root)}, partitions that are named are replicated each by itself, with all constraints that it has
${orExclude(root)}`,
  };
}

const described = ({ name, isDeferrable }: Constraint): string => (isDeferrable ? `${name} (deferrable)` : name);

function mended({ partition, parent, bound, constraints }: Found): string[] {
  const references = constraints.flatMap((each) => each.references);
  const drops = [
    ...references.map(({ name, table }) => `alter table ${table} drop constraint ${quoteIdent(name)};`),
    ...constraints.map(({ name, index, isIndex }) =>
      isIndex ? `drop index ${index};` : `alter table ${partition} drop constraint ${quoteIdent(name)};`,
    ),
  ];
  if (!constraints.some(({ isInherited }) => isInherited)) return drops;
  // What is inherited cannot be dropped; ATTACH makes it anew, as the parent has it.
  return [
    'begin;',
    `alter table ${parent} detach partition ${partition};`,
    ...drops,
    `alter table ${parent} attach partition ${partition} ${bound};`,
    'commit;',
  ];
}
