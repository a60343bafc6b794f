// Sequences fill columns of replicated tables, and each region has its own: both hand out 1, 2, 3.
//
// With `sequences.interleave` the agent deals the numbers out; this tells what it has not done, or
// cannot. Without it, a sequence that steps by at least the number of regions counts as dealt out by
// hand: whether two regions chose the same share shows only when they are compared.

import type { Config } from '../../platform/config.ts';
import { type FillingSequence, highestOf } from '../../sequences/filling-sequences.ts';
import { alignment, type Interleave, isAligned, suggestedInterleave, unfitness } from '../../sequences/interleave.ts';
import type { Finding } from './finding.ts';

export function sequenceFindings(sequences: readonly FillingSequence[], config: Config): Finding[] {
  const peers = config.peers.map(({ region }) => region);
  if (peers.length === 0) return [];
  const { interleave } = config.sequences;
  const plan = interleave ?? suggestedInterleave(config.region, peers);
  return sequences
    .filter((each) =>
      interleave === undefined ? each.increment <= BigInt(peers.length) : !isAligned(each, interleave),
    )
    .map((each) => findingOf(each, plan, interleave !== undefined));
}

function findingOf(sequence: FillingSequence, plan: Interleave, isAsked: boolean): Finding {
  const { name, columns } = sequence;
  const filled = columns.map(({ table, column }) => `${table}.${column}`).join(', ');
  const why = `Two regions that insert at once make two rows of one key, and one of them is lost. Each region needs numbers of its own: here every ${plan.of}th, from ${plan.offset} on.`;
  const reason = unfitness(sequence, plan);
  const statements = ['begin;', ...alignment(sequence, plan, highestOf(sequence)), 'commit;'].join('\n');
  const configure = `# or let the agent do it, with an offset of its own for each region: sequences: { interleave: { of: ${plan.of}, offset: ${plan.offset} } }`;
  return {
    code: 'SYN-P028',
    severity: isAsked && reason === null ? 'info' : 'warning',
    table: columns[0]?.table ?? name,
    what: `${name} (for ${filled}) hands out the same numbers in every region.`,
    why,
    fix:
      reason === null
        ? isAsked
          ? `-- none is needed: the agent runs this at its start\n${statements}`
          : `-- as the owner\n${statements}\n${configure}`
        : `-- it cannot be dealt out as it is, because ${reason}: use bigint or uuid for the column`,
  };
}
