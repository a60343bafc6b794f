// Whether a table's rows can be told apart, in every region alike. The statements that mend a key
// are printed only where they are safe to run as they are: a key that each region fills by itself
// would make equal rows different, so it is offered for empty tables alone.

import type { CatalogTable, KeyColumn } from '../../capture/tables/table-catalog.ts';
import { quoteIdent } from '../../platform/postgres.ts';
import { type Finding, listed, nameOf, orExclude } from './finding.ts';
import type { DefinitionDetail, TableDetails } from './table-details.ts';

export function keyFindings(table: CatalogTable, detail: TableDetails, isRoot: boolean): Finding[] {
  const findings: Finding[] = [];
  const name = nameOf(table);
  if (!table.hasPrimaryKey && isRoot) {
    findings.push({
      code: 'SYN-P012',
      severity: 'error',
      table: name,
      what: `${name} has no primary key.`,
      why: 'Without one nobody can say which row an update or delete of another region means, or what it was before.',
      fix: `${newKey(table, detail)}\n${orExclude(table)}`,
    });
  }
  if (detail.deferrables.length > 0 && isRoot) {
    findings.push({
      code: 'SYN-P013',
      severity: 'error',
      table: name,
      what: `${name} has a deferrable constraint: ${listed(detail.deferrables.map((each) => each.name))}.`,
      why: 'Its check never fires while rows are applied, so duplicates would come in silently.',
      fix: `-- as the owner\n${detail.deferrables.map((each) => recreate(detail, each)).join('\n')}\n${orExclude(table)}`,
    });
  }
  const generated = table.key?.filter((column) => column.isGenerated) ?? [];
  const unfit = table.key?.filter((column) => column.nature === null && !column.isGenerated) ?? [];
  if (generated.length > 0 && isRoot) {
    findings.push({
      code: 'SYN-P012',
      severity: 'error',
      table: name,
      what: `The key of ${name} has a generated column: ${listed(generated.map((column) => column.name))}.`,
      why: 'Values of generated columns are not in the WAL, so nobody could say which row an event means.',
      fix: `${replacedKey(table, detail)}\n${orExclude(table)}`,
    });
  }
  if (detail.virtuals.length > 0 && isRoot) {
    findings.push({
      code: 'SYN-P031',
      severity: 'error',
      table: name,
      what: `${name} has generated columns that are not stored: ${listed(detail.virtuals.map((each) => each.name))}.`,
      why: 'PostgreSQL refuses every update and delete of a table that has one and is published with its full identity.',
      fix: `-- as the owner, in every region; it writes the whole table once\n${detail.virtuals.map((each) => stored(detail, each)).join('\n')}\n${orExclude(table)}`,
    });
  }
  if (unfit.length > 0 && isRoot) {
    findings.push({
      code: 'SYN-P017',
      severity: 'error',
      table: name,
      what: `The key of ${name} cannot be replicated: ${listed(unfit.map((column) => `${column.name} has type ${column.type}`))}.`,
      why: 'Two values of such a column can be equal in one region and different in another.',
      fix: `${collatedKey(detail, unfit) ?? replacedKey(table, detail)}\n${orExclude(table)}`,
    });
  }
  return findings;
}

const SURROGATE = 'add column syncline_key uuid primary key default gen_random_uuid()';
const FILLED = `-- the table has rows: a new key has to get the same value for a row in every region,
-- so add it while writes are stopped, fill it in one region, and copy it to the others`;

function newKey(table: CatalogTable, detail: TableDetails): string {
  if (detail.keyCandidate !== null) {
    return `-- as the owner\nalter table ${detail.name} add primary key (${detail.keyCandidate.map(quoteIdent).join(', ')});`;
  }
  if (!detail.isEmpty || table.kind === 'p') return FILLED;
  return `-- as the owner, in every region\nalter table ${detail.name} ${SURROGATE};`;
}

const COLLATABLE = new Set(['pg_catalog.text', 'pg_catalog.varchar', 'pg_catalog.bpchar', 'pg_catalog.name']);

/** A type that would do as a key is refused for its collation alone, which can be changed with the rows in place. */
function collatedKey({ name, loose, partitionedBy }: TableDetails, unfit: readonly KeyColumn[]): string | undefined {
  const collated = loose.filter((each) => unfit.some((column) => column.name === each.name));
  if (collated.length < unfit.length || !unfit.every(({ type }) => COLLATABLE.has(type))) return undefined;
  const fixed = collated.filter((each) => partitionedBy.includes(each.name));
  if (fixed.length > 0) {
    return `-- the table is partitioned by ${listed(fixed.map((each) => each.name))}, whose collation cannot be changed:
-- so make a table with collate pg_catalog."default" there, in every region, and move the rows into it`;
  }
  const changes = collated.map((each) => `alter column ${quoteIdent(each.name)} type ${each.definition}`);
  return `-- as the owner, in every region; it rebuilds the key\nalter table ${name} ${changes.join(', ')};`;
}

function replacedKey(table: CatalogTable, detail: TableDetails): string {
  if (detail.primaryKey === null || !detail.isEmpty || detail.isReferenced || table.kind === 'p') return FILLED;
  const columns = (table.key ?? []).map((column) => quoteIdent(column.name)).join(', ');
  return `-- as the owner, in every region
alter table ${detail.name} drop constraint ${quoteIdent(detail.primaryKey)}, add unique (${columns}), ${SURROGATE};`;
}

const recreate = (
  detail: TableDetails,
  { name, definition, isInherited }: TableDetails['deferrables'][number],
): string =>
  isInherited
    ? `-- ${name} is inherited: recreate that of the table that this is a partition of, or detach this one first`
    : `alter table ${detail.name} drop constraint ${quoteIdent(name)}, add constraint ${quoteIdent(name)} ${definition};`;

const stored = (detail: TableDetails, { name, definition }: DefinitionDetail): string =>
  `alter table ${detail.name} drop column ${quoteIdent(name)}, add column ${quoteIdent(name)} ${definition};`;
