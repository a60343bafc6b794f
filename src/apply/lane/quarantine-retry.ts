/**
 * What an operator does about quarantined events: applies them again, or gives them up.
 *
 * Each is applied in its own transaction, in the order of their versions. It comes behind all that its stream has brought since,
 * which can be later on its row, as can be others of the quarantine that were applied before it: so it is decided as no
 * batch is (`lateEventWins`). Events of one transaction share a version, and only their order tells which of them is the
 * later. Neither moves a mark.
 */
import { eventPosition } from '../../change/change-event.ts';
import { eventId as idOfEvent } from '../../change/event-id.ts';
import { hlcFromText, hlcMicrosCeil } from '../../change/hlc.ts';
import { compareVersions } from '../../change/version.ts';
import { fail } from '../../platform/errors.ts';
import type { ApplyPort, QuarantineEntry } from '../apply-port.ts';
import type { BatchPlanner } from '../batch/batch-planner.ts';
import { ForgottenTimes } from '../batch/forgotten-times.ts';
import type { ParkedKeys } from '../batch/parked-keys.ts';
import type { IsBehind } from '../decide.ts';
import type { LaneMarks } from '../lane-marks.ts';
import type { SourceTransaction, Step } from '../net-change.ts';
import type { SetAsideEvent } from '../quarantine-entry.ts';
import { rollback } from '../roll-back.ts';
import type { QuarantinedKeys } from './quarantined-keys.ts';
import type { WriterMaker } from './writer-maker.ts';

export type QuarantineRetryOptions = {
  readonly region: string;
  readonly port: ApplyPort;
  readonly planner: BatchPlanner;
  readonly writers: WriterMaker;
  readonly marks: LaneMarks;
  readonly parked: ParkedKeys;
  readonly quarantined: QuarantinedKeys;
};

/** `error` is null where the event is applied now. */
export type RetryOutcome = { readonly event_id: string; readonly error: unknown };

/** Events of one transaction that are looked through for the one of a parked row: what is not among them is left as it is. */
const PARKED_EVENTS_MAX = 1_000_000;

export class QuarantineRetry {
  readonly #options: QuarantineRetryOptions;
  readonly #forgotten: ForgottenTimes;

  constructor(options: QuarantineRetryOptions) {
    this.#options = options;
    this.#forgotten = new ForgottenTimes(options.port, options.region);
  }

  /** Ids that are not there are absent from the outcomes. */
  async run(eventIds: readonly string[]): Promise<RetryOutcome[]> {
    const { port } = this.#options;
    const outcomes: RetryOutcome[] = [];
    port.forgetShapes();
    const entries = await port.quarantined(eventIds);
    const waiting = entries.map((entry) => ({ entry, event: JSON.parse(entry.event) as SetAsideEvent }));
    waiting.sort((a, b) => compareVersions(a.entry, b.entry) || a.event.transaction.index - b.event.transaction.index);
    for (const { entry, event } of waiting) {
      try {
        await this.#retry(entry, event);
        outcomes.push({ event_id: entry.event_id, error: null });
      } catch (error) {
        outcomes.push({ event_id: entry.event_id, error });
      }
    }
    return outcomes;
  }

  async discard(eventIds: readonly string[]): Promise<void> {
    const { region, port, quarantined } = this.#options;
    const transaction = await port.begin(region, 1n, 'durable');
    try {
      await transaction.removeQuarantine(eventIds);
      await transaction.commit();
    } catch (error) {
      await rollback(transaction);
      throw error;
    }
    quarantined.changed();
  }

  async #retry(entry: QuarantineEntry, event: SetAsideEvent): Promise<void> {
    const { port, planner, writers, marks, parked, quarantined } = this.#options;
    const { seen } = event.transaction;
    const source: SourceTransaction = {
      position: entry.position,
      hlc: entry.hlc,
      seen,
      xid: event.transaction.id,
      committed_at: event.committed_at,
      events: [event],
    };
    const transaction = await port.begin(entry.origin, hlcMicrosCeil(entry.hlc), 'durable');
    const view = { seen, applied: marks.seen, isEcho: false, exact: true, isBehind: behind(event) };
    const writer = writers.make(transaction, entry.origin, view);
    try {
      const planned = await planner.plan(transaction, [source], new Map(), true);
      const steps = event.left_key === true ? planned.steps.filter(isNoRemoval) : planned.steps;
      if (steps.length === 0)
        throw fail('SYN-A003', `this region replicates no table ${event.schema_name}.${event.table_name}`);
      const { origin } = entry;
      const checked = await this.#forgotten.check(transaction, { origin, isEcho: false }, [source], steps);
      await writer.write(steps);
      await this.#forgotten.confirm(checked, origin);
      await writer.record(await quarantined.among(transaction, writer.kept.shapes));
      await transaction.removeQuarantine([entry.event_id]);
      await transaction.commit();
      parked.changed(writer.parking.changes);
      parked.touched(event.schema_name, event.table_name);
    } catch (error) {
      writer.merging.undo();
      await rollback(transaction);
      throw error;
    }
    quarantined.changed();
  }
}

function isNoRemoval(step: Step): boolean {
  if (step.kind === 'truncate') return true;
  for (const { ops } of step.tables.values()) for (const { kind } of ops.values()) if (kind === 'remove') return false;
  return true;
}

/** Ids hold nothing that tells of an order, but follow from it: of two of a transaction, the one that is met first is the earlier. */
function behind(event: SetAsideEvent): IsBehind {
  if (event.parked === 'by unknown') return () => true;
  const idsMax = event.parked === undefined ? event.transaction.index : PARKED_EVENTS_MAX;
  const hlc = hlcFromText(event.hlc_timestamp);
  const position = eventPosition(event);
  return (eventId) => {
    for (let index = 0; index < idsMax; index += 1) {
      const id = idOfEvent(hlc, event.region_id, position, index);
      if (id === event.event_id) return false;
      if (id === eventId) return true;
    }
    return false;
  };
}
