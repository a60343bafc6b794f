/**
 * Makes conflict records final, once nothing can change them any more.
 *
 * Mostly the record stands already as it was seen at first, and only turns final. Where it does not (a higher winner came,
 * the loss was seen late, an image was not at hand), it is written from the log. What was recorded and is no loss after
 * all goes. Each step may be repeated: a crash in the middle leaves the horizon where it was, and final records are
 * never changed.
 */
import { setImmediate as turn } from 'node:timers/promises';
import type { ChangeEvent } from '../../change/change-event.ts';
import type { Hlc } from '../../change/hlc.ts';
import type { ApplyPort, ConflictEntry, ConflictHorizon } from '../apply-port.ts';
import type { EventAt } from '../event-at.ts';
import { conflictId, eventIdOf, type Merged, settledEntry } from '../history/conflicts.ts';
import { type Passed, type RowLoss, versionOf } from '../history/passed-event.ts';
import type { UnsettledEvents } from '../history/unsettled-events.ts';

const RECORDS_PER_STATEMENT = 500;

/** What came of those of the losses that last writer wins does not settle. */
export type MergedOf = (losses: readonly RowLoss[]) => Promise<ReadonlyMap<RowLoss, Merged>>;

export class ConflictSettler {
  readonly #port: ApplyPort;
  readonly #unsettled: UnsettledEvents;
  readonly #eventAt: EventAt;
  readonly #merged: MergedOf;
  #horizon: ConflictHorizon;

  constructor(
    port: ApplyPort,
    unsettled: UnsettledEvents,
    eventAt: EventAt,
    merged: MergedOf,
    horizon: ConflictHorizon,
  ) {
    this.#port = port;
    this.#unsettled = unsettled;
    this.#eventAt = eventAt;
    this.#merged = merged;
    this.#horizon = horizon;
  }

  /** As far as it is kept in the database. */
  neededFrom(origin: string): number {
    return this.#horizon.offsets[origin] ?? 0;
  }

  /**
   * `offsetOf` tells how far a stream is applied; `beforeForgetting` is called before events below a stamp are not read back from
   * the log any more. Returns how many records became final.
   */
  async run(
    offsetOf: (origin: string) => number,
    beforeForgetting: (undecidedFrom: Hlc) => Promise<void>,
  ): Promise<number> {
    const round = await this.#unsettled.settle(async () => await turn());
    if (round === null) return 0;
    for (let from = 0; from < round.settled.length; from += RECORDS_PER_STATEMENT) {
      const losses = round.settled.slice(from, from + RECORDS_PER_STATEMENT);
      await this.#finalise(losses);
      this.#unsettled.keepSettled(losses);
    }
    await beforeForgetting(round.undecidedFrom);
    const horizon = this.#unsettled.forget(round.undecidedFrom, offsetOf);
    await this.#port.settleConflicts(horizon);
    this.#horizon = horizon;
    return round.settled.length;
  }

  async #finalise(losses: readonly RowLoss[]): Promise<void> {
    const byId = new Map(losses.map((loss) => [conflictId(loss.shape.id, loss.key, versionOf(loss.loser)), loss]));
    const left = await this.#port.finaliseConflicts(
      [...byId].map(([conflict_id, { loser, winner }]) => ({
        conflict_id,
        event_id_a: eventIdOf(loser),
        event_id_b: eventIdOf(winner),
      })),
    );
    const open = left.flatMap((id) => byId.get(id) ?? []);
    const merged = await this.#merged(open);
    const entries: ConflictEntry[] = [];
    for (const loss of open) {
      const { loser, winner } = loss;
      entries.push(settledEntry(loss, await this.#event(loser), await this.#event(winner), merged.get(loss) ?? null));
    }
    if (entries.length > 0) await this.#port.putConflicts(entries);
  }

  async #event({ event, index, source: { origin, position, first_offset } }: Passed): Promise<ChangeEvent | null> {
    if (event !== null || first_offset === undefined) return event;
    return await this.#eventAt({ origin, first_offset, position, index });
  }
}
