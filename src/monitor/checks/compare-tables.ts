// In which tables two regions differ, so that what one writes the other cannot apply, or refuses.
//
// What is missing is printed for the region that lacks it; where both have something, the first region is
// taken for right, because somebody has to be. Names of constraints and indexes do not matter, nor the
// order of columns, which are paired by name.

import { quoteIdent } from '../../platform/postgres.ts';
import { type Finding, nameOf } from './finding.ts';
import type { Portrait, PortraitColumn, PortraitRule, PortraitTable } from './portrait.ts';

const WHY_ERROR =
  'Events of one region cannot be applied as they are in the other: they go to the quarantine, and rows differ until somebody acts.';
const WHY_WARNING =
  'One region takes rows that the other refuses, or computes what the other does not: those rows wait in the quarantine, or differ.';

type Side = { readonly region: string; readonly table: PortraitTable };

export function compareTables(one: Portrait, other: Portrait): Finding[] {
  const others = new Map(other.tables.map((table) => [nameOf(table), table]));
  const findings: Finding[] = [];
  for (const table of one.tables) {
    const counterpart = others.get(nameOf(table));
    others.delete(nameOf(table));
    if (counterpart === undefined) {
      if (table.is_replicated) findings.push(missingTable({ region: one.region, table }, other.region));
    } else if (table.is_replicated && counterpart.is_replicated) {
      findings.push(...compareTable({ region: one.region, table }, { region: other.region, table: counterpart }));
    } else if (table.is_replicated || counterpart.is_replicated) {
      const [by, notBy] = table.is_replicated ? [one.region, other.region] : [other.region, one.region];
      findings.push(leftOut(table, by, notBy));
    }
  }
  for (const table of others.values()) {
    if (table.is_replicated) findings.push(missingTable({ region: other.region, table }, one.region));
  }
  return findings;
}

function compareTable(one: Side, other: Side): Finding[] {
  const findings: Finding[] = [];
  const error = differing('SYN-P042', one.table);
  const warning = differing('SYN-P043', one.table);
  const columnsOf = ({ table }: Side): Map<string, PortraitColumn> =>
    new Map(table.columns.map((column) => [column.name, column]));
  const [mine, theirs] = [columnsOf(one), columnsOf(other)];
  for (const [has, lacks, columns, known] of [
    [one, other, mine, theirs],
    [other, one, theirs, mine],
  ] as const) {
    for (const column of columns.values()) {
      if (known.has(column.name)) continue;
      findings.push(
        error(
          `The column ${column.name} of ${nameOf(has.table)} is in ${has.region} and not in ${lacks.region}.`,
          lacks.region,
          `alter table ${lacks.table.name} add column ${columnSql(column, false)};`,
        ),
      );
    }
  }
  for (const column of mine.values()) {
    const counterpart = theirs.get(column.name);
    if (counterpart !== undefined) findings.push(...compareColumn(one, other, column, counterpart));
  }
  const [key, otherKey] = [one, other].map(({ table }) => table.key.map(quoteIdent).join(', '));
  if (key !== otherKey && key !== '') {
    const add = `alter table ${other.table.name} add primary key (${key});`;
    const what = `The key of ${nameOf(one.table)} is (${key}) in ${one.region} and (${otherKey || 'none'}) in ${other.region}.`;
    findings.push(error(what, other.region, otherKey === '' ? add : `${dropKey(other.table)}\n${add}`));
  }
  for (const kind of ['checks', 'uniques'] as const) {
    findings.push(...missingRules(one, other, kind, warning), ...missingRules(other, one, kind, warning));
  }
  return findings;
}

/** The name of a key's constraint is not in a portrait, and a rename is not in its definition either. */
const dropKey = ({ name }: PortraitTable): string =>
  `do $$ begin execute (select format('alter table %s drop constraint %I', conrelid::regclass, conname) from pg_constraint where conrelid = '${name.replaceAll("'", "''")}'::regclass and contype = 'p'); end $$;`;

function compareColumn(one: Side, other: Side, mine: PortraitColumn, theirs: PortraitColumn): Finding[] {
  const name = `${nameOf(one.table)}.${mine.name}`;
  const error = differing('SYN-P042', one.table);
  const warning = differing('SYN-P043', one.table);
  const column = quoteIdent(mine.name);
  const alter = (side: Side): string => `alter table ${side.table.name} alter column ${column}`;
  const differ = (a: string | null, b: string | null): string =>
    `is ${a ?? 'not'} in ${one.region} and ${b ?? 'not'} in ${other.region}`;
  if (mine.generated !== theirs.generated) {
    const what = `${name} is generated differently: ${differ(mine.generated, theirs.generated)}.`;
    const [to, from] = mine.generated === null ? [one, theirs] : [other, mine];
    const renew = `alter table ${to.table.name} drop column ${column}, add column ${columnSql(from, true)};`;
    return [warning(what, to.region, renew, '; the values of the column are computed anew')];
  }
  if (mine.type !== theirs.type) {
    const what = `The type of ${name} ${differ(mine.type, theirs.type)}.`;
    return [error(what, other.region, `${alter(other)} type ${typeSql(mine)} using ${column}::${mine.type};`)];
  }
  const findings: Finding[] = [];
  if (mine.collation !== theirs.collation) {
    const what = `The collation of ${name} ${differ(mine.collation ?? 'the default', theirs.collation ?? 'the default')}.`;
    const collated = typeSql({ ...mine, collation: mine.collation ?? 'pg_catalog."default"' });
    findings.push(warning(what, other.region, `${alter(other)} type ${collated};`));
  }
  if (mine.not_null !== theirs.not_null) {
    const [strict, lax] = mine.not_null ? [one, other] : [other, one];
    const what = `${name} is NOT NULL in ${strict.region} and not in ${lax.region}.`;
    findings.push(warning(what, lax.region, `${alter(lax)} set not null;`));
  }
  return findings;
}

function missingRules(
  has: Side,
  lacks: Side,
  kind: 'checks' | 'uniques',
  warning: ReturnType<typeof differing>,
): Finding[] {
  const known = new Set(lacks.table[kind].map(({ definition }) => definition));
  return has.table[kind]
    .filter(({ definition }) => !known.has(definition))
    .map(({ name, definition, statement }: PortraitRule) => {
      const noun = kind === 'checks' ? 'constraint' : 'unique index';
      const what = `The ${noun} ${name} of ${nameOf(has.table)}, ${definition}, is in ${has.region} and not in ${lacks.region}.`;
      return warning(what, lacks.region, statement);
    });
}

const differing =
  (code: 'SYN-P042' | 'SYN-P043', table: PortraitTable) =>
  (what: string, region: string, statement: string, more = ''): Finding => ({
    code,
    severity: code === 'SYN-P042' ? 'error' : 'warning',
    table: nameOf(table),
    what,
    why: code === 'SYN-P042' ? WHY_ERROR : WHY_WARNING,
    fix: `-- in ${region}, as the owner${more}\n${statement}`,
  });

function missingTable({ region, table }: Side, lacking: string): Finding {
  const columns = table.columns.map((column) => columnSql(column, true));
  const key = table.key.length === 0 ? [] : [`primary key (${table.key.map(quoteIdent).join(', ')})`];
  const statements = [
    `create table ${table.name} (${[...columns, ...key].join(', ')});`,
    ...[...table.checks, ...table.uniques].map(({ statement }) => statement),
  ];
  const dump = `pg_dump --schema-only --table='${table.name}'`;
  return {
    code: 'SYN-P042',
    severity: 'error',
    table: nameOf(table),
    what: `${nameOf(table)} is in ${region} and not in ${lacking}.`,
    why: WHY_ERROR,
    fix: table.is_partitioned
      ? `# ${dump} prints the statements, in ${region}, for ${lacking}`
      : `-- in ${lacking}; ${dump} in ${region} prints foreign keys and comments as well\n${statements.join('\n')}`,
  };
}

const leftOut = (table: PortraitTable, by: string, notBy: string): Finding => ({
  code: 'SYN-P042',
  severity: 'warning',
  table: nameOf(table),
  what: `${nameOf(table)} is replicated by ${by} and left out by ${notBy}, which has it as well.`,
  why: 'What is written to it in one of the two regions stays there.',
  fix: `# in the configuration of both regions: name it under tables.include, or under tables.exclude`,
});

function columnSql(column: PortraitColumn, isNew: boolean): string {
  const { name, type, is_serial, generated, identity, column_default, not_null } = column;
  const parts = [`${quoteIdent(name)} ${(is_serial ? SERIAL[type] : undefined) ?? typeSql(column)}`];
  if (generated !== null) parts.push(`generated always as (${generated}) stored`);
  if (identity !== null) parts.push(`generated ${identity} as identity`);
  if (column_default !== null) parts.push(`default ${column_default}`);
  // Rows that are there already would have nothing in it.
  if (not_null && (isNew || column_default !== null)) parts.push('not null');
  return parts.join(' ');
}

const SERIAL: Readonly<Record<string, string>> = { smallint: 'smallserial', integer: 'serial', bigint: 'bigserial' };

const typeSql = ({ type, collation }: PortraitColumn): string =>
  collation === null ? type : `${type} collate ${collation}`;
