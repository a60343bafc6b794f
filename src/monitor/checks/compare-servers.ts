// In what the servers of two regions differ that their tables do not tell: encoding, collation, version,
// clocks, and which numbers their sequences hand out.

import { highestOf } from '../../sequences/filling-sequences.ts';
import { alignment, canMeet, type Interleave, remainderOf, type SequenceState } from '../../sequences/interleave.ts';
import { DRIFT_WARN_MS } from '../clock-drift.ts';
import type { ClockOffset } from '../clock-offset.ts';
import type { Finding } from './finding.ts';
import type { Portrait } from './portrait.ts';

export function compareServers(one: Portrait, other: Portrait): Finding[] {
  const findings: Finding[] = [];
  const [a, b] = [one.server, other.server];
  const differ = (noun: string, mine: string, theirs: string): string =>
    `The ${noun} is ${mine} in ${one.region} and ${theirs} in ${other.region}.`;
  if (a.encoding !== b.encoding) {
    findings.push({
      code: 'SYN-P044',
      severity: 'warning',
      what: differ('encoding', a.encoding, b.encoding),
      why: 'A text with characters that one of them lacks cannot be applied there, and goes to the quarantine.',
      fix: "-- restore a dump into a new database, made with: create database <name> encoding 'UTF8' template template0",
    });
  }
  const isSameCollation = a.collation === b.collation;
  if (!isSameCollation || (a.collation_version ?? '') !== (b.collation_version ?? '')) {
    const shown = ({ collation, collation_version }: typeof a): string =>
      isSameCollation ? `version ${collation_version ?? 'unknown'}` : collation;
    findings.push({
      code: 'SYN-P044',
      severity: isSameCollation ? 'info' : 'warning',
      what: differ('collation of the database', shown(a), shown(b)),
      why: 'Rows are the same, but texts sort differently, and upper() and lower() can differ: so do ranges in CHECKs, and unique indexes on such expressions.',
      fix: isSameCollation
        ? '-- none is needed'
        : `-- restore a dump into a new database with the collation of the other region`,
    });
  }
  for (const { name, version, definition } of a.collations) {
    const counterpart = b.collations.find((each) => each.name === name);
    if (counterpart === undefined) continue;
    const [one, other] = [definition, counterpart.definition];
    if (one !== undefined && other !== undefined && one !== other) {
      findings.push({
        code: 'SYN-P044',
        severity: 'warning',
        what: differ(`collation ${name}`, one, other),
        why: 'Unique indexes use it to tell which texts are equal, so one region may take two rows of which the other refuses one.',
        fix: `-- in one of the regions, make a collation as the other has it, and give it to the columns and indexes that use ${name}`,
      });
      continue;
    }
    if (counterpart.version === version) continue;
    findings.push({
      code: 'SYN-P044',
      severity: 'warning',
      what: differ(`version of the collation ${name}`, version ?? 'unknown', counterpart.version ?? 'unknown'),
      why: 'Unique indexes use it to tell which texts are equal, so one region may take two rows of which the other refuses one.',
      fix: '-- run both servers with the same version of ICU',
    });
  }
  if (a.major !== b.major) {
    findings.push({
      code: 'SYN-P044',
      severity: 'info',
      what: differ('version of PostgreSQL', a.version, b.version),
      why: 'Rows travel as text, which both understand; new types and functions exist in one of them only.',
      fix: '-- none is needed; upgrade in time',
    });
  }
  return findings;
}

export type ReadClock = { readonly region: string; readonly clock: ClockOffset };

/** `errorFromMs` is how far ahead a clock may be before events are held. */
export function compareClocks(one: ReadClock, other: ReadClock, errorFromMs: number): Finding[] {
  const differenceMs = one.clock.offsetMs - other.clock.offsetMs;
  const doubtMs = one.clock.errorMs + other.clock.errorMs;
  const surelyMs = Math.abs(differenceMs) - doubtMs;
  if (surelyMs <= DRIFT_WARN_MS) return [];
  const [ahead, behind] = differenceMs > 0 ? [one.region, other.region] : [other.region, one.region];
  const isError = surelyMs > errorFromMs;
  return [
    {
      code: 'SYN-P045',
      severity: isError ? 'error' : 'warning',
      what: `The clock of ${ahead} is ${Math.round(Math.abs(differenceMs))} ms ahead of that of ${behind} (give or take ${Math.ceil(doubtMs)} ms, half of the time that the answers took).`,
      why: isError
        ? `Events that lie more than limits.max_clock_drift_ms (${errorFromMs} ms) ahead are held until the clocks have met.`
        : 'Of two writes at once, that of the faster clock wins, also over one that was really made later.',
      fix: `# on both servers: chronyc tracking (or timedatectl timesync-status) tells which clock is wrong; then chronyc makestep`,
    },
  ];
}

/** What the configurations plan, and what sequences do that were dealt out by hand. */
export function compareSequences(one: Portrait, other: Portrait): Finding[] {
  const [a, b] = [one.interleave, other.interleave];
  if (a !== null && b !== null)
    return canMeet(asSequence(a), asSequence(b)) ? [samePlan(one.region, other.region, a, b)] : [];
  const findings: Finding[] = [];
  const others = new Map(other.sequences.map((sequence) => [sequence.name, sequence]));
  for (const sequence of one.sequences) {
    const counterpart = others.get(sequence.name);
    // One that steps by 1 is told of its own region.
    if (counterpart === undefined || sequence.increment === 1n || counterpart.increment === 1n) continue;
    if (!canMeet(sequence, counterpart)) continue;
    const share = shareBeside(sequence);
    findings.push({
      code: 'SYN-P046',
      severity: 'warning',
      table: sequence.columns[0]?.table ?? sequence.name,
      what: `The sequence ${sequence.name} can hand out the same numbers in ${one.region} and in ${other.region}: it steps by ${sequence.increment} from ${sequence.value ?? 'an unknown value'}, and by ${counterpart.increment} from ${counterpart.value ?? 'an unknown value'}.`,
      why: 'Two regions that insert at once make two rows of one key, and one of them is lost.',
      fix: `-- in ${other.region}, as the owner\nbegin;\n${alignment(counterpart, share, highestOf(counterpart)).join('\n')}\ncommit;`,
    });
  }
  return findings;
}

const asSequence = ({ of, offset }: Interleave): Pick<SequenceState, 'increment' | 'value'> => ({
  increment: BigInt(of),
  value: BigInt(offset),
});

/** A share that never meets the sequence: steps of the same length, from the number behind it. */
function shareBeside({ increment, value }: SequenceState): Interleave {
  const step = increment < 0n ? -increment : increment;
  return { of: Number(step), offset: Number(remainderOf(value ?? 0n, step)) + 1 };
}

function samePlan(one: string, other: string, a: Interleave, b: Interleave): Finding {
  const of = Math.max(a.of, b.of);
  const free = (a.offset % of) + 1;
  return {
    code: 'SYN-P046',
    severity: 'error',
    what: `sequences.interleave gives ${one} number ${a.offset} of every ${a.of} and ${other} number ${b.offset} of every ${b.of}, which meet.`,
    why: 'Two regions that insert at once make two rows of one key, and one of them is lost.',
    fix: `# in the configuration of ${other}, an offset that no region has: sequences: { interleave: { of: ${of}, offset: ${free} } }`,
  };
}
