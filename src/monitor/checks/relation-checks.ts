// What tables have to do with each other and with what lies outside of them: foreign keys, inheritance,
// large objects, values that come near to the limits, and views that hold rows. One statement each.

import type { CatalogTable } from '../../capture/tables/table-catalog.ts';
import type { Config } from '../../platform/config.ts';
import { arrayText, type PostgresClient, quoteIdent } from '../../platform/postgres.ts';
import { relationSizeSql } from '../../platform/relation-size.ts';
import { isTableIncluded } from '../../platform/table-filter.ts';
import { type Finding, includeAlso, listed, nameOf, orExclude } from './finding.ts';

/** Average bytes per row outside of the row itself: an event holds up to 256 MB, before and after images together. */
const ROW_BYTES_MAX = 32 * 1024 ** 2;

const tableSql = (alias: string): string =>
  `json_build_object('schema', ${alias}n.nspname, 'table', ${alias}.relname, 'name', ${alias}.oid::regclass::text)`;
const joined = (alias: string, oid: string): string =>
  `join pg_class ${alias} on ${alias}.oid = ${oid} join pg_namespace ${alias}n on ${alias}n.oid = ${alias}.relnamespace`;

// A foreign key of a partition repeats that of its root, and one of a partitioned parent those of the partitions.
const SQL = `
select json_build_object(
  'foreignKeys', coalesce((
    select json_agg(json_build_object('constraint', k.conname, 'action', k.confdeltype,
             'child', ${tableSql('c')}, 'parent', ${tableSql('p')}) order by c.oid::regclass::text, k.conname)
      from pg_constraint k ${joined('c', 'k.conrelid')} ${joined('p', 'k.confrelid')}
     where k.contype = 'f' and k.conparentid = 0 and not c.relispartition
       and (k.conrelid = any ($1::oid[]) or k.confrelid = any ($1::oid[]))), '[]'),
  'children', coalesce((
    select json_agg(json_build_object('child', ${tableSql('c')}, 'parent', ${tableSql('p')}) order by c.oid::regclass::text)
      from pg_inherits i ${joined('c', 'i.inhrelid')} ${joined('p', 'i.inhparent')}
     where p.relkind = 'r' and c.relkind = 'r' and (i.inhrelid = any ($1::oid[]) or i.inhparent = any ($1::oid[]))), '[]'),
  'largeObjects', case when exists (select from pg_largeobject_metadata) then coalesce((
    select json_agg(json_build_object('table', ${tableSql('c')}, 'column', a.attname) order by c.oid::regclass::text, a.attnum)
      from pg_attribute a join pg_type t on t.oid = a.atttypid ${joined('c', 'a.attrelid')}
     where a.attrelid = any ($1::oid[]) and a.attnum > 0 and not a.attisdropped and not c.relispartition
       and (t.oid = 26 or t.typbasetype = 26)), '[]') else '[]' end,
  'large', coalesce((
    select json_agg(json_build_object('table', ${tableSql('c')},
             'bytes', toast.bytes / greatest(c.reltuples, 1)) order by c.oid::regclass::text)
      from pg_class c join pg_namespace cn on cn.oid = c.relnamespace
      cross join lateral (select ${relationSizeSql('c.reltoastrelid')} as bytes) as toast
     where c.oid = any ($1::oid[]) and c.reltoastrelid <> 0 and c.reltuples >= 0
       and toast.bytes > ${ROW_BYTES_MAX} * greatest(c.reltuples, 1)), '[]'),
  'views', coalesce((
    select json_agg(${tableSql('c')} order by c.oid::regclass::text)
      from pg_class c join pg_namespace cn on cn.oid = c.relnamespace where c.relkind = 'm' and c.oid >= 16384), '[]')
)`;

type Named = { readonly schema: string; readonly table: string; readonly name: string };
type ForeignKey = {
  readonly constraint: string;
  /** pg_constraint.confdeltype: a and r leave children alone. */
  readonly action: string;
  readonly child: Named;
  readonly parent: Named;
};
type Found = {
  readonly foreignKeys: readonly ForeignKey[];
  readonly children: readonly { readonly child: Named; readonly parent: Named }[];
  readonly largeObjects: readonly { readonly table: Named; readonly column: string }[];
  readonly large: readonly { readonly table: Named; readonly bytes: number }[];
  readonly views: readonly Named[];
};

/** `tables` are the replicated ones, with their partitions. */
export async function relationFindings(
  client: PostgresClient,
  config: Config,
  tables: readonly CatalogTable[],
): Promise<Finding[]> {
  const { rows } = await client.queryArrays(SQL, [arrayText(tables.map(({ oid }) => String(oid)))]);
  const found = JSON.parse(rows[0]?.[0] ?? '') as Found;
  const replicated = new Set(tables.map(nameOf));
  return [
    ...foreignKeyFindings(found.foreignKeys, replicated, config),
    ...inheritanceFindings(found.children, replicated, config),
    ...found.largeObjects.map(largeObjectFinding),
    ...found.large.map(largeRowFinding),
    ...viewFindings(found.views, config),
  ];
}

function foreignKeyFindings(keys: readonly ForeignKey[], replicated: ReadonlySet<string>, config: Config): Finding[] {
  const findings: Finding[] = [];
  const inside: ForeignKey[] = [];
  for (const key of keys) {
    const { constraint, action, child, parent } = key;
    const [hasChild, hasParent] = [replicated.has(nameOf(child)), replicated.has(nameOf(parent))];
    if (hasChild && hasParent) inside.push(key);
    // Without an action, a delete of the parent is refused here as long as there are children, and never comes.
    else if (hasChild || 'cnd'.includes(action)) {
      findings.push({
        code: 'SYN-P038',
        severity: 'warning',
        table: nameOf(hasChild ? child : parent),
        what: `The foreign key ${constraint} leads from ${nameOf(child)} to ${nameOf(parent)}, of which only ${nameOf(hasChild ? child : parent)} is replicated.`,
        why: hasChild
          ? 'Foreign keys are not checked while rows are applied: other regions get children whose parents they lack.'
          : 'Deletes that come from other regions do not act on its children, so that orphans stay behind here.',
        fix: alsoReplicate(hasChild ? parent : child, key, config),
      });
    }
  }
  if (inside.length > 0) {
    const cascades = inside.filter(({ action }) => 'cnd'.includes(action)).length;
    const acting = cascades === 0 ? '' : `, ${cascades} of them with ON DELETE CASCADE or SET`;
    const number = inside.length === 1 ? '1 foreign key connects' : `${inside.length} foreign keys connect`;
    findings.push({
      code: 'SYN-P038',
      severity: 'info',
      what: `${number} replicated tables${acting}.`,
      why: 'Apply does not check them: a parent deleted here while a child is inserted there leaves an orphan. What a cascade deletes is replicated row by row.',
      fix: '-- none is needed',
    });
  }
  return findings;
}

/** A table that is excluded by name has its reasons: then the constraint has to go, which promises what nobody keeps. */
function alsoReplicate(missing: Named, { constraint, child }: ForeignKey, { tables }: Config): string {
  const drop = `alter table ${child.name} drop constraint ${quoteIdent(constraint)};`;
  const isExcluded = !isTableIncluded({ include: ['*.*'], exclude: tables.exclude }, missing.schema, missing.table);
  if (isExcluded || isTableIncluded(tables, missing.schema, missing.table)) return `-- as the owner\n${drop}`;
  return includeAlso(tables.include, missing);
}

function inheritanceFindings(found: Found['children'], replicated: ReadonlySet<string>, config: Config): Finding[] {
  return found.flatMap(({ child, parent }): Finding[] => {
    const [hasChild, hasParent] = [replicated.has(nameOf(child)), replicated.has(nameOf(parent))];
    if (hasChild === hasParent) return [];
    const missing = hasChild ? parent : child;
    return [
      {
        code: 'SYN-P039',
        severity: 'warning',
        table: nameOf(missing),
        what: `${nameOf(child)} inherits from ${nameOf(parent)}, and ${nameOf(missing)} is not replicated.`,
        why: 'A query of the parent gives the rows of both, so regions would answer it differently.',
        fix: `${includeAlso(config.tables.include, missing)}\n-- or, as the owner\nalter table ${child.name} no inherit ${parent.name};`,
      },
    ];
  });
}

function largeObjectFinding({ table, column }: Found['largeObjects'][number]): Finding {
  const name = quoteIdent(column);
  return {
    code: 'SYN-P032',
    severity: 'warning',
    table: nameOf(table),
    what: `The column ${column} of ${nameOf(table)} can refer to large objects, of which this database has some.`,
    why: 'Large objects are not in what PostgreSQL sends: other regions get a number and not the object behind it.',
    fix: `-- as the owner, in every region, if it does; it writes the whole table once
alter table ${table.name} alter column ${name} drop default, alter column ${name} type bytea using lo_get(${name}::oid);`,
  };
}

function largeRowFinding({ table, bytes }: Found['large'][number]): Finding {
  return {
    code: 'SYN-P048',
    severity: 'warning',
    table: nameOf(table),
    what: `Rows of ${nameOf(table)} hold ${Math.round(bytes / 1024 ** 2)} MB on average.`,
    why: 'A change with what the row was before has to fit into 256 MB, as JSON; one that does not stops capture, for all tables.',
    fix: orExclude(table).replace('or in', 'in'),
  };
}

function viewFindings(views: readonly Named[], { tables }: Config): Finding[] {
  const named = views.filter(({ schema, table }) => isTableIncluded(tables, schema, table));
  if (named.length === 0) return [];
  return [
    {
      code: 'SYN-P040',
      severity: 'info',
      what: `Materialized views are not replicated: ${listed(named.map(nameOf))}.`,
      why: 'Each region has what it had when it was refreshed there.',
      fix: '-- none is needed; refresh them in each region',
    },
  ];
}
