// Merge rules for people: one line per version, and what holds one back; pure.

import type { MergeVersion, ShadowReport } from '../api/merge-schemas.ts';
import { paint } from './output.ts';
import { shortened, textTable } from './text-table.ts';

const ID_SHOWN = 12;
const RULE_WIDTH = 48;
const REASON_WIDTH = 160;
const VALUE_WIDTH = 40;
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
  return [...textTable(COLUMNS, rows), ...versions.flatMap(refusals), ...versions.flatMap(inShadow)].join('\n');
}

/** What came of conflicts in the version's shadow: the counts, then samples with the columns that would have differed. */
export function renderShadow(version: MergeVersion, { items }: ShadowReport): string {
  const head = inShadow(version);
  if (head.length === 0) return 'no conflict has been judged in its shadow here';
  const samples = items.flatMap(({ row_pk, region_id, failure, result_image, shadow_image, ...images }) => {
    const key = Object.entries(row_pk).map(([column, value]) => `${column}=${value ?? 'NULL'}`);
    const names = new Set([result_image, shadow_image].flatMap((image) => Object.keys(image ?? {})));
    const shown = (image: typeof result_image, column: string): string => {
      const value = image === null ? 'no row' : (image[column] ?? 'NULL');
      return shortened(value, VALUE_WIDTH);
    };
    const differing = [...names].filter((column) => result_image?.[column] !== shadow_image?.[column]);
    return [
      '',
      `${version.table} ${key.join(', ')}, the later write of ${region_id}${failure === null ? '' : paint('red', `: ${failure}`)}`,
      ...differing.map((column) => {
        const { base_image, image_a, image_b } = images;
        const found = `found ${shown(base_image, column)}, earlier ${shown(image_a, column)}, later ${shown(image_b, column)}`;
        return `  ${column}: ${shown(result_image, column)}, and in shadow ${shown(shadow_image, column)} (${found})`;
      }),
    ];
  });
  return [...head, ...samples].join('\n');
}

function inShadow({ version_id, shadow }: MergeVersion): string[] {
  if (shadow === null) return [];
  const { conflicts, differences, failures, skipped } = shadow;
  const failed = Object.entries(failures).map(([reason, count]) => `${count} ${reason}`);
  const parts = [
    `${conflicts} conflicts in its shadow`,
    `${differences} would have come out differently`,
    ...(failed.length === 0 ? [] : [`failed: ${failed.join(', ')}`]),
    ...(skipped === 0 ? [] : [`${skipped} not judged`]),
  ];
  return [`  ${version_id.slice(0, ID_SHOWN)}: ${parts.join('; ')}`];
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
