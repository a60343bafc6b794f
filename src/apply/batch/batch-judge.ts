/**
 * Judges the events of a batch for conflicts: against all events that passed the lane before and may still lose or win,
 * and where the last event of a row was forgotten unsettled, against what the row itself tells. What is found is only
 * provisional; `conflict-settler.ts` has the last word.
 */
import { covers } from '../../change/position.ts';
import { isAbove } from '../../change/version.ts';
import type { Stability } from '../../clock/stability.ts';
import type { ConflictEntry, TableShape } from '../apply-port.ts';
import { keyImage, type Merged, provisionalEntry, rowLossEntry, type Side } from '../history/conflicts.ts';
import { type StandingRow, type StandingSide, standingSide } from '../history/standing-row.ts';
import type { UnsettledEvents } from '../history/unsettled-events.ts';
import type { ChainLink, RowOp } from '../net-change.ts';

/** What is known at once of a loss to an event that names that merge version; null for last writer wins. */
export type Describe = (version: string | undefined) => Merged | null;

export class BatchJudge {
  #conflicts: ConflictEntry[] = [];
  /** By table, how many were found. */
  readonly counts: { [table: string]: number } = {};
  readonly #origin: string;
  readonly #unsettled: UnsettledEvents;
  readonly #stability: Stability;
  readonly #describe: Describe;

  constructor(origin: string, unsettled: UnsettledEvents, stability: Stability, describe: Describe) {
    this.#origin = origin;
    this.#unsettled = unsettled;
    this.#stability = stability;
    this.#describe = describe;
  }

  /** Judges a row's events against those that passed the lane before. */
  events(shape: TableShape, op: RowOp): void {
    for (const loss of this.#unsettled.judge(shape, op.key, op.chain)) {
      this.#found(provisionalEntry(loss, op.pk, this.#describe(loss.winner.merge)));
    }
  }

  /** Judges a TRUNCATE against all events of its table that passed the lane before. */
  truncate(shape: TableShape, link: ChainLink): void {
    for (const loss of this.#unsettled.judgeTruncate(shape, link)) {
      const merged = this.#describe(loss.winner.merge);
      this.#found(provisionalEntry(loss, keyImage(shape, loss.key), merged));
    }
  }

  /**
   * Judges against what the row itself tells, where its last event was forgotten before it was settled. Where it cannot
   * be told whether the two were concurrent, they count as concurrent: a conflict too many is noise, a conflict too few
   * is a lost write that nobody hears of.
   */
  row(shape: TableShape, op: Pick<RowOp, 'key' | 'pk' | 'image' | 'last'>, row: StandingRow): void {
    const { source, event } = op.last;
    const side: Side = {
      version: { hlc: source.hlc, origin: this.#origin },
      event_id: event.event_id,
      image: op.image,
    };
    const standing = standingSide(row);
    if (standing === null || standing.version.origin === this.#origin || row.current?.tuple.own === true) return;
    // What another tool wrote is judged by its own echo, which is yet to come.
    if (row.current?.tuple.foreign === true) return;
    if (standing.version.hlc >= this.#unsettled.lostBelow) return;
    if (this.#unsettled.knows(shape.id, op.key, standing.version)) return;
    if (this.#certainlySeen(source.seen, standing)) return;
    const entry = isAbove(side.version, standing.version)
      ? rowLossEntry(shape, op.key, op.pk, standing, side)
      : rowLossEntry(shape, op.key, op.pk, side, standing);
    if (!this.#conflicts.some((known) => known.conflict_id === entry.conflict_id)) this.#found(entry);
  }

  /** Those that were found since the last call. */
  take(): readonly ConflictEntry[] {
    const taken = this.#conflicts;
    this.#conflicts = [];
    return taken;
  }

  #found(entry: ConflictEntry): void {
    const table = `${entry.schema_name}.${entry.table_name}`;
    this.counts[table] = (this.counts[table] ?? 0) + 1;
    this.#conflicts.push(entry);
  }

  #certainlySeen(seen: ChainLink['source']['seen'], standing: StandingSide): boolean {
    const { origin, hlc } = standing.version;
    if (standing.position !== null) return covers(seen, origin, standing.position);
    return hlc <= this.#stability.seenBy(origin, seen[origin]);
  }
}
