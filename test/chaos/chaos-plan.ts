/**
 * What goes wrong in a run of chaos, and when: a pure function of the seed.
 *
 * A plan is a list of rounds. The faults of a round strike at once, each in a region of its own, and last for so many commits
 * as clients get acknowledged meanwhile, wherever; so a plan means the same on a fast machine and on a slow one. Every kind
 * that the machine can have comes about equally often, whatever the seed, and each seed has an order of its own.
 */
import { type Random, seededRandom } from '../../src/platform/random.ts';

export const FAULT_KINDS = [
  'agent-killed',
  'server-killed',
  'both-killed',
  'server-stopped-immediately',
  'agent-paused',
  'server-paused',
  'backends-terminated',
  'network-cut',
  'network-silent',
  'network-refused',
  'network-slow',
  'link-paused',
  'row-held',
  'long-transaction',
  'table-locked',
  'table-rewritten',
  'bulk-load',
  'clock-stepped',
  'log-disk-full',
  'broker-killed',
  'broker-paused',
  'log-network-cut',
  'log-network-silent',
  'log-network-refused',
  'log-network-slow',
] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

export type Fault = {
  readonly kind: FaultKind;
  readonly region: string;
  /** The region at the other end, of a link. */
  readonly peer: string;
  /** Acknowledged commits until it ends. */
  readonly commits: number;
  /** Any number of 0 to 999 that the fault makes its own choice by. */
  readonly dice: number;
};

export type Round = {
  /** Acknowledged commits before it strikes. */
  readonly before: number;
  /** Whether all agents are at work again before that; else it may hit one that is still starting. */
  readonly isAmidWork: boolean;
  readonly faults: readonly Fault[];
};

/** What not every machine or log can have. */
export type Abilities = { readonly clocks: boolean; readonly fullLogDisk: boolean; readonly broker: boolean };

const COMMITS_BEFORE_MAX = 100;
const COMMITS_WHILE_MAX = 150;
/** They are of all regions at once, so only one of them at a time makes a plain story. */
const OF_THE_LOG: readonly FaultKind[] = ['log-disk-full', 'broker-killed', 'broker-paused'];
/** What takes a broker of our own, and proxies before it. */
export const OF_BROKERS: readonly FaultKind[] = [
  'broker-killed',
  'broker-paused',
  'log-network-cut',
  'log-network-silent',
  'log-network-refused',
  'log-network-slow',
];

export function chaosPlan(seed: number, rounds: number, regions: readonly string[], abilities: Abilities): Round[] {
  const random = seededRandom(seed);
  const kinds = kindsOf(abilities);
  let deck: FaultKind[] = [];
  const draw = (): FaultKind => {
    if (deck.length === 0) deck = random.shuffle(kinds);
    return deck.pop() as FaultKind;
  };
  return Array.from({ length: rounds }, () => {
    const struck = random.shuffle(regions).slice(0, random.chance(0.3) ? 2 : 1);
    const faults = struck.map((region) => fault(draw(), region, regions, random));
    const ofLog = faults.filter(({ kind }) => OF_THE_LOG.includes(kind));
    return {
      before: 1 + random.below(COMMITS_BEFORE_MAX),
      isAmidWork: random.chance(0.5),
      faults: faults.filter((each) => !ofLog.includes(each) || each === ofLog[0]),
    };
  });
}

function kindsOf({ clocks, fullLogDisk, broker }: Abilities): FaultKind[] {
  const missing = new Set<FaultKind>();
  if (!clocks) missing.add('clock-stepped');
  if (!fullLogDisk) missing.add('log-disk-full');
  if (!broker) for (const kind of OF_BROKERS) missing.add(kind);
  return FAULT_KINDS.filter((kind) => !missing.has(kind));
}

function fault(kind: FaultKind, region: string, regions: readonly string[], random: Random): Fault {
  const peer = random.pick(regions.filter((each) => each !== region));
  return { kind, region, peer, commits: 1 + random.below(COMMITS_WHILE_MAX), dice: random.below(1_000) };
}

export const tellFault = ({ kind, region, peer, commits }: Fault): string =>
  `${kind} ${kind === 'link-paused' ? `${peer}:${region}` : region} for ${commits} commits`;
