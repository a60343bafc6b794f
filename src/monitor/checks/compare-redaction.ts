/**
 * Which columns the conflict logs of two regions withhold. Patterns are compared by what they take of the tables that there
 * are, since two lists can say the same in other words.
 */
import { matchesPattern } from '../../platform/table-filter.ts';
import { type Finding, listed } from './finding.ts';
import type { Portrait } from './portrait.ts';

export function compareRedaction(one: Portrait, other: Portrait): Finding[] {
  // An agent that does not know the setting withholds nothing.
  const [a, b] = [one.redact ?? [], other.redact ?? []];
  const columns = columnsOf([one, other]);
  const taken = (patterns: readonly string[]): string[] =>
    columns.filter((column) => patterns.some((pattern) => matchesPattern(pattern, column)));
  const [mine, theirs] = [new Set(taken(a)), new Set(taken(b))];
  const parts = [
    { region: one.region, only: [...mine].filter((column) => !theirs.has(column)) },
    { region: other.region, only: [...theirs].filter((column) => !mine.has(column)) },
  ].filter(({ only }) => only.length > 0);
  if (parts.length === 0) return [];
  const all = [...new Set([...a, ...b])];
  return [
    {
      code: 'SYN-P160',
      severity: 'warning',
      what: parts.map(({ region, only }) => `The conflict log of ${region} alone withholds ${listed(only)}.`).join(' '),
      why: 'What one region withholds can be read in the other, and their conflict logs are not equal.',
      fix: `# in the configurations of ${one.region} and ${other.region}: conflicts: { redact: ${JSON.stringify(all)} }`,
    },
  ];
}

/** Of replicated tables, and without those of keys, which are never withheld. */
function columnsOf(portraits: readonly Portrait[]): string[] {
  const names = portraits.flatMap(({ tables }) =>
    tables
      .filter(({ is_replicated }) => is_replicated)
      .flatMap(({ schema, table, key, columns }) =>
        columns.filter(({ name }) => !key.includes(name)).map(({ name }) => `${schema}.${table}.${name}`),
      ),
  );
  return [...new Set(names)].sort();
}
