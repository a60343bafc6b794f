// What the catalog says of replicated tables beyond their keys: privileges, triggers, rules, unique
// constraints. One statement for all of them, since a database may have thousands.

import { partitionsSql } from '../../platform/partitions.ts';
import { arrayText, type PostgresClient } from '../../platform/postgres.ts';
import { relationSizeSql } from '../../platform/relation-size.ts';

export type TriggerDetail = {
  readonly name: string;
  readonly beforeRow: boolean;
  /** Made by a constraint, such as a foreign key. */
  readonly internal: boolean;
};

export type RuleDetail = {
  readonly name: string;
  /** What it rewrites. */
  readonly event: 'update' | 'insert' | 'delete';
  /** Whether it acts while rows are applied. */
  readonly acts: boolean;
};

/** What is not fit, with the definition that would be. */
export type DefinitionDetail = { readonly name: string; readonly definition: string };

export type TableDetails = {
  readonly oid: number;
  /** Schema-qualified and quoted. */
  readonly name: string;
  readonly owner: string;
  readonly ownerIsSuperuser: boolean;
  readonly ownerIsUs: boolean;
  readonly schema: string;
  readonly schemaUsable: boolean;
  /** Whether it is a member of our publication. */
  readonly published: boolean;
  /** Privileges that the role lacks. */
  readonly missing: readonly string[];
  readonly isEmpty: boolean;
  readonly rowSecurity: boolean;
  readonly rowSecurityForced: boolean;
  readonly triggers: readonly TriggerDetail[];
  readonly rules: readonly RuleDetail[];
  readonly otherUniques: readonly string[];
  readonly exclusions: readonly string[];
  readonly deferrables: readonly (DefinitionDetail & { readonly isInherited: boolean })[];
  /** With the functions of users that compute them. */
  readonly generated: readonly string[];
  /** Generated columns that are not stored, and how they would be if they were. */
  readonly virtuals: readonly DefinitionDetail[];
  /** Columns whose collation calls different texts equal, and how they would be with the default one. */
  readonly loose: readonly DefinitionDetail[];
  /** Columns by which it, or one of its partitions, is partitioned. */
  readonly partitionedBy: readonly string[];
  /** The name of the constraint. */
  readonly primaryKey: string | null;
  /** Whether another table's foreign key refers to it. */
  readonly isReferenced: boolean;
  /** The columns of a unique index that could be the primary key. */
  readonly keyCandidate: readonly string[] | null;
};

const list = (inner: string): string => `coalesce((select json_agg(x) from (${inner}) as x), '[]')`;
const names = (inner: string): string => `coalesce((select json_agg(x.name) from (${inner}) as x), '[]')`;

// The trigger's type is a bit mask: 1 for each row, 2 before. What a partition inherits is told of its root only.
const SQL = `
select json_build_object(
  'oid', c.oid::text,
  'name', c.oid::regclass::text,
  'owner', o.rolname,
  'ownerIsSuperuser', o.rolsuper,
  'ownerIsUs', pg_has_role(c.relowner, 'USAGE'),
  'schema', n.nspname,
  'schemaUsable', has_schema_privilege(n.oid, 'USAGE'),
  'published', exists (select from pg_publication p join pg_publication_rel r on r.prpubid = p.oid
                       where p.pubname = $2 and r.prrelid = c.oid),
  'missing', ${names(`
    select privilege as name from unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE}'::text[]) as privilege
     where not has_table_privilege(c.oid, privilege)`)},
  'isEmpty', c.reltuples <= 0 and coalesce(${relationSizeSql('c.oid')} = 0, false),
  'rowSecurity', row_security_active(c.oid),
  'rowSecurityForced', c.relforcerowsecurity,
  'triggers', ${list(`
    select tgname as name, (tgtype & 3) = 3 as "beforeRow", tgisinternal as internal from pg_trigger
     where tgrelid = c.oid and tgenabled in ('A', 'R') and tgparentid = 0 order by tgname`)},
  'rules', ${list(`
    select rulename as name, case ev_type when '2' then 'update' when '3' then 'insert' else 'delete' end as event,
           ev_enabled in ('A', 'R') as acts
      from pg_rewrite
     where ev_class = c.oid and ev_type in ('2', '3', '4') and (ev_enabled in ('A', 'R') or ev_type = '2')
     order by rulename`)},
  'otherUniques', ${names(`
    select i.indexrelid::regclass::text as name from pg_index i
     where i.indrelid = c.oid and i.indisunique and i.indislive
       and i.indexrelid is distinct from (select k.indexrelid from pg_index k
            where k.indrelid = c.oid and k.indisvalid and (k.indisprimary or k.indisreplident)
            order by k.indisprimary desc limit 1) order by 1`)},
  'exclusions', ${names(`
    select conname as name from pg_constraint
     where conrelid = c.oid and contype = 'x' and not condeferrable order by conname`)},
  'deferrables', ${list(`
    select conname as name, regexp_replace(pg_get_constraintdef(oid), ' DEFERRABLE.*$', '') as definition,
           conparentid <> 0 as "isInherited"
      from pg_constraint
     where conrelid = c.oid and condeferrable and contype in ('p', 'u', 'x') order by conname`)},
  'generated', ${names(`
    select a.attname || coalesce((
             select ' (by ' || string_agg(distinct p.oid::regproc::text, ', ') || ')'
               -- PostgreSQL 14 hangs what an expression needs on the column, later versions on the expression.
               from pg_attrdef d join pg_depend e on (e.classid, e.objid, e.objsubid) in (
                 ('pg_attrdef'::regclass, d.oid, 0), ('pg_class'::regclass, d.adrelid, d.adnum))
               join pg_proc p on e.refclassid = 'pg_proc'::regclass and p.oid = e.refobjid
              where d.adrelid = a.attrelid and d.adnum = a.attnum and p.oid >= 16384), '') as name
      from pg_attribute a
     where a.attrelid = c.oid and a.attgenerated <> '' and not a.attisdropped order by a.attnum`)},
  'virtuals', ${list(`
    select a.attname as name, concat(format_type(a.atttypid, a.atttypmod),
           case when a.attcollation <> t.typcollation then ' collate ' || a.attcollation::regcollation end,
           ' generated always as (', pg_get_expr(d.adbin, d.adrelid), ') stored') as definition
      from pg_attribute a join pg_type t on t.oid = a.atttypid
      join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
     where a.attrelid = c.oid and a.attgenerated = 'v' and not a.attisdropped order by a.attnum`)},
  'loose', ${list(`
    select a.attname as name, format_type(a.atttypid, a.atttypmod) || ' collate pg_catalog."default"' as definition
      from pg_attribute a join pg_collation l on l.oid = a.attcollation
     where a.attrelid = c.oid and a.attnum > 0 and not l.collisdeterministic and not a.attisdropped order by a.attnum`)},
  'partitionedBy', ${names(`
    select distinct a.attname as name
      from (${partitionsSql('c.oid')}) as p join pg_partitioned_table t on t.partrelid = p.oid
      join pg_attribute a on a.attrelid = p.oid and a.attnum = any (t.partattrs)`)},
  'primaryKey', (select conname from pg_constraint where conrelid = c.oid and contype = 'p'),
  'isReferenced', c.oid in (select confrelid from pg_constraint where contype = 'f' and conrelid <> confrelid),
  'keyCandidate', (
    select json_agg(a.attname order by k.place)
      from (select i.* from pg_index i
             where i.indrelid = c.oid and i.indisunique and i.indisvalid and i.indimmediate
               and i.indpred is null and i.indexprs is null
             order by i.indnkeyatts, i.indexrelid) as i
     cross join lateral unnest(i.indkey[0:i.indnkeyatts - 1]) with ordinality as k (attnum, place)
      join pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum
     group by i.indexrelid having bool_and(a.attnotnull) limit 1)
)
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  join pg_roles o on o.oid = c.relowner
 where c.oid = any ($1::oid[])
 order by n.nspname, c.relname`;

export async function readTableDetails(
  client: PostgresClient,
  oids: readonly number[],
  publication: string,
): Promise<TableDetails[]> {
  if (oids.length === 0) return [];
  const { rows } = await client.queryArrays(SQL, [arrayText(oids.map(String)), publication]);
  return rows.map(([text]) => {
    const raw = JSON.parse(text ?? '') as Omit<TableDetails, 'oid'> & { oid: string };
    return { ...raw, oid: Number(raw.oid) };
  });
}
