// What a check of the prerequisites found: a fault, why it matters, and how it is mended.
import type { CheckCode, Severity } from './check-list.ts';

export type Finding = {
  readonly code: CheckCode;
  readonly severity: Severity;
  /** What is found, by name. */
  readonly what: string;
  readonly why: string;
  /** SQL that runs as printed, one statement per line, with who runs it as a comment; or a setting of the file. */
  readonly fix: string;
  /** `schema.table`, where it is about one. */
  readonly table?: string;
};

/** How many names a text lists before it only counts the rest. */
const NAMES_MAX = 20;

export function listed(names: readonly string[]): string {
  const shown = names.slice(0, NAMES_MAX).join(', ');
  return names.length > NAMES_MAX ? `${shown} and ${names.length - NAMES_MAX} more` : shown;
}

type TableName = { readonly schema: string; readonly table: string };

export const nameOf = ({ schema, table }: TableName): string => `${schema}.${table}`;

/** How the table is named in the configuration, once it is added to what is named there. */
export const includeAlso = (include: readonly string[], table: TableName): string =>
  `# in the configuration: tables: { include: ${JSON.stringify([...include, nameOf(table)])} }`;

/** The alternative to mending a table. */
export const orExclude = (table: TableName): string =>
  `# or in the configuration: tables: { exclude: [${JSON.stringify(nameOf(table))}] }`;
