// Enums and domains that two regions define differently: a value that one region's type takes, and the
// other's does not, cannot be applied there. The order of an enum's labels decides how they sort, and not
// which there are, so it is left out; a type that one region lacks shows at the columns that have it.

import { quoteLiteral } from '../../platform/postgres.ts';
import type { Finding } from './finding.ts';
import type { Portrait, PortraitType } from './portrait.ts';

export function compareTypes(one: Portrait, other: Portrait): Finding[] {
  const others = new Map(other.types.map((type) => [type.name, type]));
  return one.types.flatMap((type) => {
    const counterpart = others.get(type.name);
    if (counterpart === undefined) return [];
    return [
      ...missing(type, one.region, counterpart, other.region),
      ...missing(counterpart, other.region, type, one.region),
    ];
  });
}

function missing(has: PortraitType, region: string, lacks: PortraitType, lacking: string): Finding[] {
  const labels = has.labels.filter((label) => !lacks.labels.includes(label));
  const known = new Set(lacks.checks.map(({ definition }) => definition));
  return [
    ...labels.map((label): Finding => {
      return {
        code: 'SYN-P042',
        severity: 'error',
        what: `The type ${has.name} has the value ${quoteLiteral(label)} in ${region} and not in ${lacking}.`,
        why: 'Rows with that value cannot be applied in the other region: they go to the quarantine until it has it.',
        fix: `-- in ${lacking}, as the owner\nalter type ${lacks.name} add value ${quoteLiteral(label)};`,
      };
    }),
    ...has.checks
      .filter(({ definition }) => !known.has(definition))
      .map(({ name, definition, statement }): Finding => {
        return {
          code: 'SYN-P043',
          severity: 'warning',
          what: `The constraint ${name} of the domain ${has.name}, ${definition}, is in ${region} and not in ${lacking}.`,
          why: 'One region takes values that the other refuses: their rows wait in the quarantine there.',
          fix: `-- in ${lacking}, as the owner\n${statement}`,
        };
      }),
  ];
}
