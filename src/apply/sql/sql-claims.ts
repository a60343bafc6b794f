/**
 * What rows of a table claim beside their key: secondary unique indexes and exclusion constraints, as the catalog has them,
 * and the statement that finds the visible rows which others would conflict with by them.
 *
 * An index's own rule is its expressions over the row, where its predicate holds, compared by its operators under its
 * collations; NULLs are distinct unless it says otherwise. The statement evaluates just that on both sides, with the expressions as
 * PostgreSQL prints them: over the table, where they match the index, and over the rows given, where generated columns are
 * computed first. To guess the rule from column names instead would miss expressions, citext, and all of the rest.
 */
import { quoteIdent } from '../../platform/postgres.ts';
import { keyTexts, source, sourceValue, target } from './sql-statements.ts';
import type { SqlClaim, SqlClaimPart, SqlTableShape } from './sql-table-shape.ts';

/** A part as the catalog has it. */
type CatalogPart = {
  readonly expression: string;
  readonly operator: string | null;
  readonly operator_schema: string | null;
  readonly collation: string | null;
  readonly is_scalar: boolean;
};
export type CatalogClaim = {
  readonly parts: readonly CatalogPart[];
  readonly predicate: string | null;
  readonly nulls_not_distinct: boolean;
  readonly excludes: boolean;
};

/** The enforced claims of the table `tab`, its key index `idx` apart, as a JSON list, or null. */
export const CLAIMS_SQL = `
  select json_agg(json_build_object(
      'predicate', pg_get_expr(x.indpred, x.indrelid, true),
      'excludes', x.indisexclusion,
      'nulls_not_distinct', coalesce((to_jsonb(x) ->> 'indnullsnotdistinct')::boolean, false),
      'parts', (select json_agg(json_build_object(
          'expression', pg_get_indexdef(x.indexrelid, place, true),
          'operator', o.oprname,
          'operator_schema', o.oprnamespace::regnamespace::text,
          'collation', (select l.collnamespace::regnamespace::text || '.' || quote_ident(l.collname)
                          from pg_collation l where l.oid = x.indcollation[place - 1]),
          'is_scalar', t.typtype in ('b', 'e', 'r', 'm') and t.typcategory <> 'A' and t.typarray <> 0) order by place)
        from generate_series(1, x.indnkeyatts) as place
        join pg_attribute a on a.attrelid = x.indexrelid and a.attnum = place
        join pg_type t on t.oid = a.atttypid
        join pg_opclass c on c.oid = x.indclass[place - 1]
        left join pg_amop m on m.amopfamily = c.opcfamily and m.amoplefttype = c.opcintype
                           and m.amoprighttype = c.opcintype and m.amopstrategy = 3
        left join pg_constraint e on e.conindid = x.indexrelid and e.conexclop is not null
        left join pg_operator o on o.oid = case when x.indisexclusion then e.conexclop[place] else m.amopopr end))
    order by x.indexrelid)
  from pg_index x join tab on tab.oid = x.indrelid
  where (x.indisunique or x.indisexclusion) and x.indislive and x.indisready
    and x.indexrelid not in (select indexrelid from idx)`;

/** The enforced indexes of the table $1 by which rows can conflict, as a text. */
export const CLAIMING_INDEXES_SQL = `
  select string_agg(indexrelid::text, ' ' order by indexrelid) from pg_index
  where indrelid = $1::oid and (indisunique or indisexclusion) and indislive and indisready`;

/** Null where an operator is not told, so that the rule is not known. */
export function toClaim({ parts, predicate, excludes, nulls_not_distinct }: CatalogClaim): SqlClaim | null {
  const known: SqlClaimPart[] = [];
  for (const { expression, operator, operator_schema, collation, is_scalar } of parts) {
    if (operator === null) return null;
    known.push({ expression, conflicts: `operator(${operator_schema}.${operator})`, collation, isScalar: is_scalar });
  }
  return { parts: known, predicate, excludes, nullsNotDistinct: nulls_not_distinct };
}

/**
 * The columns `names` of rows, from $1 on. Returns the places, from 1, of rows with the keys of visible rows that they would
 * conflict with, themselves apart.
 */
export function rivalsSql(shape: SqlTableShape, names: readonly string[]): string {
  return shape.claims.map((claim) => rivalsBy(shape, claim, names)).join('\nunion\n');
}

function rivalsBy(shape: SqlTableShape, claim: SqlClaim, names: readonly string[]): string {
  const expressions = claim.parts
    .map(({ expression }, place) => `${expression} as "syncline e${place + 1}"`)
    .join(', ');
  const where = claim.predicate === null ? '' : ` where ${claim.predicate}`;
  const keys = (prefix: string): string =>
    shape.key.map((name, place) => `${quoteIdent(name)} as "${prefix}${place + 1}"`).join(', ');
  const isItself = shape.keyColumns
    .map(({ equals }, place) => `t."syncline k${place + 1}" ${equals} i."syncline k${place + 1}"`)
    .join(' and ');
  return `select i."syncline n", ${keyTexts(shape, (name) => `t."syncline k${shape.key.indexOf(name) + 1}"`)}
from (
  select "syncline n", ${keys('syncline k')}, ${expressions}
  from (${arriving(shape, names)}) as i${where} offset 0
) as i join (
  select ${keys('syncline k')}, ${expressions}
  from ${target(shape)}${where}
) as t on ${claim.parts.map((part, place) => partConflicts(claim, part, place + 1)).join(' and ')}
where not (${isItself})`;
}

/** The rows given as rows of the table: what is missing is null, and what the database computes is computed. */
function arriving(shape: SqlTableShape, names: readonly string[]): string {
  const rows = source(shape, names, 1);
  const columns = shape.columns.map((name) => {
    const value = names.includes(name) ? sourceValue(rows, name) : `null::${shape.columnOf.get(name)?.type}`;
    return `${value} as ${quoteIdent(name)}`;
  });
  const given = `select i.n as "syncline n", ${columns.join(', ')} from ${rows.from}`;
  if (shape.generatedColumns.length === 0) return given;
  const computed = shape.generatedColumns.map(
    ({ name, type, expression }) => `(${expression})::${type} as ${quoteIdent(name)}`,
  );
  return `select *, ${computed.join(', ')} from (${given}) as g`;
}

/** Written as the key's equality is, and for the same reason, wherever an array of the value can be made. */
function partConflicts(claim: SqlClaim, { conflicts, collation, isScalar }: SqlClaimPart, place: number): string {
  const name = `"syncline e${place}"`;
  const collate = collation === null ? '' : ` collate ${collation}`;
  const isSame =
    isScalar && !claim.excludes
      ? `t.${name}${collate} ${conflicts} any (array[i.${name}])`
      : `t.${name}${collate} ${conflicts} i.${name}`;
  return claim.nullsNotDistinct ? `(${isSame} or (t.${name} is null and i.${name} is null))` : isSame;
}
