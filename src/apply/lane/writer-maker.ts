/**
 * Makes the writer of a transaction: what its statements may overwrite, and what is known of rows, claims and merges when
 * it begins.
 */
import type { Seen } from '../../change/position.ts';
import type { Stability } from '../../clock/stability.ts';
import type { ApplyTransaction, TableShape } from '../apply-port.ts';
import { BatchWriter } from '../batch/batch-writer.ts';
import type { ParkedKeys } from '../batch/parked-keys.ts';
import { echoGuard, type IsBehind, lateGuard, remoteGuard } from '../decide.ts';
import type { Stand } from '../history/standing-row.ts';
import type { LaneMarks } from '../lane-marks.ts';
import type { MergeMemory } from '../merges/merge-memory.ts';
import type { MergeRules } from '../merges/merge-rules.ts';
import { type MergeFunctions, MergeWriter } from '../merges/merge-writer.ts';
import type { PassedMemory } from './passed-memory.ts';
import type { QuarantinedKeys } from './quarantined-keys.ts';

export type WriterMakerOptions = {
  readonly region: string;
  readonly stability: Stability;
  readonly marks: LaneMarks;
  readonly passed: () => PassedMemory;
  readonly parked: ParkedKeys;
  readonly quarantined: QuarantinedKeys;
  readonly rules: MergeRules;
  readonly merges: MergeMemory;
  readonly functions: MergeFunctions | undefined;
};

export type WriterView = {
  /** What the transactions to be written had seen. */
  readonly seen: Seen;
  /** What is applied here once the batch is committed. */
  readonly applied: Seen;
  /** Whether the events are this region's own, coming back. */
  readonly isEcho: boolean;
  /** Whether rows are asked for whose values they claim, wherever a table has claims. */
  readonly exact: boolean;
  /** Set where an event comes behind later ones of its stream. */
  readonly isBehind?: IsBehind;
};

export class WriterMaker {
  readonly #options: WriterMakerOptions;

  constructor(options: WriterMakerOptions) {
    this.#options = options;
  }

  /** For work of the lane beside batches: under an origin's name, with what is applied by now. */
  beside(transaction: ApplyTransaction, origin: string, isEcho = origin === this.#options.region): BatchWriter {
    return this.make(transaction, origin, { seen: {}, applied: this.#options.marks.seen, isEcho, exact: true });
  }

  make(transaction: ApplyTransaction, origin: string, view: WriterView): BatchWriter {
    const { seen, applied, isEcho, exact, isBehind = null } = view;
    const { region, stability, marks, rules, merges, functions, parked, quarantined } = this.#options;
    const { unsettled } = this.#options.passed();
    const { lostBelow } = unsettled;
    const guardOf = origin === region ? echoGuard : remoteGuard;
    const isLate = isBehind !== null && origin !== region;
    const guard = isLate ? lateGuard(seen, stability, lostBelow) : guardOf(origin, seen, stability, lostBelow);
    const mergeView = {
      seen: applied,
      isEcho,
      isBehind,
      stable: marks.stable(stability),
      setAside: async (shape: TableShape) => await quarantined.of(transaction, shape),
      rules,
      memory: merges,
      functions: functions ?? noFunctions,
      region,
      epoch: marks.epoch,
      echoedLsn: marks.echoedLsn,
    };
    const makeMerging = (stand: Stand): MergeWriter => new MergeWriter(transaction, stand, mergeView);
    const memory = { unsettled, stability, parked };
    return new BatchWriter(transaction, { self: region, origin }, guard, memory, exact, makeMerging, isBehind);
  }
}

/** Where no table merges by a function, nobody asks. */
async function noFunctions(): Promise<never> {
  throw new Error('no merge function is registered');
}
