/** What the parts of a simulated system know of the whole. */

import type { UnsettledLimits } from '../../src/apply/history/unsettled-events.ts';
import type { MemoryLog } from '../../src/log/memory-log.ts';
import type { Random } from '../../src/platform/random.ts';
import type { BaselineRow } from './baseline-rows.ts';
import type { Failure } from './invariants.ts';
import type { Merging } from './merging.ts';
import type { Refusal } from './refusals.ts';
import type { Scheduler } from './scheduler.ts';

/** How a seed's system is built: what is not chance in every step, but chance once. */
export type Conditions = {
  /** What every region held before its stream began. */
  readonly baseline: readonly BaselineRow[];
  /** Transactions with more rows are giants to whoever reads a stream. */
  readonly giantRows: number;
  /** Probability that a reader loses a transaction that it comes to. */
  readonly lossRate: number;
  /** Probability that a statement writes to rows that claim values of each other. */
  readonly claimingRate: number;
  /** How many unsettled events a lane keeps in mind, and how. */
  readonly unsettled: UnsettledLimits;
  /** Whether time passes so fast, with so many heartbeats, that events become stable while others are written. */
  readonly isSwift: boolean;
  /** Whether clocks of regions differ and step back. */
  readonly badClocks: boolean;
  /** How far ahead of the local clock events may be before they are held. */
  readonly driftMicros: bigint;
  /** Whether operators let held events go on in the end, or see to the clocks. */
  readonly allowsDrift: boolean;
  /** Probability that a statement writes to rows that merge. */
  readonly mergingRate: number;
  readonly merging: Merging;
  /** Probability that a transaction is another tool's. */
  readonly foreignRate: number;
  /** Whether a table is published in mid-run, with rows that differ. */
  readonly late: boolean;
  /** Whether a region's server is upgraded by pg_upgrade while users rest. */
  readonly upgrades: boolean;
  /** Whether servers that crash lose what the lane committed last. */
  readonly losesCommits: boolean;
  /** How many notes of batches an agent holds. */
  readonly notesMax: number;
  /** The regions whose lanes sign what they write, because they have no replication origins. */
  readonly signing: ReadonlySet<string>;
  /** Whether each agent of such a region does otherwise than the one before. */
  readonly changesSigning: boolean;
  /** The regions that have a constraint of their own. */
  readonly refusals: ReadonlyMap<string, Refusal>;
  /** Whether databases come back from copies of their disks. */
  readonly restores: boolean;
};

export type WorldView = {
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly log: MemoryLog;
  readonly regions: readonly string[];
  readonly conditions: Conditions;
  /** No more faults: everything that is committed is to arrive. */
  readonly isCalm: boolean;
  /** True time, Unix µs. */
  nowMicros(): bigint;
  /** Nobody does anything for so long. */
  pass(micros: bigint): void;
  /** Appends so far, of all streams: tells whether there may be something new to read. */
  readonly appends: number;
  appended(): void;
  /** How far ahead events may be by now. */
  readonly driftMicros: bigint;
  isPaused(source: string, target: string): boolean;
  fail(failure: Failure): void;
};
