// Sequences fill columns of replicated tables, and each region has its own: both hand out 1, 2, 3.
//
// Interleaving mends it: with n regions each sequence steps by n, and the regions, sorted by name,
// take one remainder each. It needs no range to be planned and never runs out early.

import type { Config } from '../platform/config.ts';
import type { Finding } from './finding.ts';
import type { SequenceDetail, TableDetails } from './table-details.ts';

/** How many steps ahead a mended sequence begins, so that numbers drawn meanwhile are not met again. */
const STEPS_AHEAD = 10;

export function sequenceFindings(details: readonly TableDetails[], config: Config): Finding[] {
  const regions = [config.region, ...config.peers.map((peer) => peer.region)].sort();
  if (regions.length === 1) return [];
  const count = BigInt(regions.length);
  const remainder = BigInt(regions.indexOf(config.region));
  const findings: Finding[] = [];
  const seen = new Set<string>();
  for (const detail of details) {
    for (const sequence of detail.sequences) {
      if (seen.has(sequence.name) || isInterleaved(sequence, count, remainder)) continue;
      seen.add(sequence.name);
      const { name } = sequence;
      findings.push({
        code: 'SYN-P028',
        severity: 'warning',
        table: detail.name,
        what: `The sequence ${name} fills a column of ${detail.name}, and other regions draw the same numbers from theirs.`,
        why: `Two regions that insert at once make two rows of one key, and the later one replaces the other. With ${regions.length} regions, each takes every ${regions.length}th number.`,
        fix: `-- as the owner, in this region; the other regions have remainders of their own
alter sequence ${name} increment by ${count};
select setval('${name.replaceAll("'", "''")}', (last_value / ${count} + ${STEPS_AHEAD}) * ${count} + ${remainder}) from ${name};`,
      });
    }
  }
  return findings;
}

function isInterleaved({ increment, value, known }: SequenceDetail, count: bigint, remainder: bigint): boolean {
  if (BigInt(increment) % count !== 0n) return false;
  const rest = ((BigInt(value) % count) + count) % count;
  return !known || rest === remainder;
}
