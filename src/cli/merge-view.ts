// Merge rules for people: one line per version, and what holds one back; pure.

import type { MergeVersion } from '../api/merge-schemas.ts';
import { paint } from './output.ts';
import { shortened, textTable } from './text-table.ts';

const ID_SHOWN = 12;
const RULE_WIDTH = 48;
const REASON_WIDTH = 160;
const COLUMNS = [
  { title: 'TABLE' },
  { title: 'VERSION' },
  { title: 'STATE' },
  { title: 'ROLLOUT' },
  { title: 'RULE' },
  { title: 'REGIONS' },
];
const STYLES = { staged: 'yellow', acknowledged: 'cyan', active: 'green', retired: 'dim' } as const;

export function renderMerges(versions: readonly MergeVersion[]): string {
  const rows = versions.map((version) => [
    version.table,
    version.version_id.slice(0, ID_SHOWN),
    paint(STYLES[version.state], version.state),
    rolloutOf(version),
    shortened(ruleOf(version), RULE_WIDTH),
    version.regions.map(({ region, state }) => `${region} ${state}`).join(', '),
  ]);
  return [...textTable(COLUMNS, rows), ...versions.flatMap(refusals)].join('\n');
}

/** After something was asked for: what came of it so far. */
export function renderVersion(version: MergeVersion): string {
  const { table, version_id, state, missing_regions, rollout } = version;
  const lines = [`${table} ${version_id} is ${state}${rollout === null ? '' : `: ${rolloutOf(version)}`}`];
  if (rollout !== null && missing_regions.length > 0) {
    lines.push(`  it becomes active once these regions have acknowledged it: ${missing_regions.join(', ')}`);
  }
  return [...lines, ...refusals(version)].join('\n');
}

function refusals({ version_id, regions }: MergeVersion): string[] {
  return regions
    .filter(({ state }) => state === 'refused')
    .map(({ region, reason }) => {
      const why = shortened(reason ?? '', REASON_WIDTH);
      return paint('red', `  ${version_id.slice(0, ID_SHOWN)} cannot run in ${region}: ${why}`);
    });
}

function rolloutOf({ rollout }: MergeVersion): string {
  if (rollout === null) return '';
  if (rollout.role === 'base') return rollout.mode === 'percent' ? `${100 - rollout.percent} % of rows` : 'all rows';
  switch (rollout.mode) {
    case 'immediate':
      return 'all rows';
    case 'shadow':
      return 'in shadow';
    case 'percent':
      return `${rollout.percent} % of rows`;
  }
}

function ruleOf({ definition: { strategy, columns, deletes, function_hash } }: MergeVersion): string {
  const rows = strategy ?? (function_hash === null ? 'unknown' : 'function');
  const parts = Object.entries(columns).map(([column, each]) => `${column}=${each}`);
  return [rows, ...parts, ...(deletes === 'latest' ? [] : [deletes])].join(', ');
}
