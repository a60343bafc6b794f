/**
 * What is set aside in this region: events in the quarantine, and rows that are parked. Counts both, and does what an
 * operator decides about them. Quarantined events are the lane's, which applies or gives them up in its turn; parked rows
 * are decided about in every region, so that goes through the database into the stream.
 */
import type { Applier } from '../apply/lane/applier.ts';
import { discardParked, editParked } from '../capture/parked-decisions.ts';
import type { Image } from '../change/change-event.ts';
import { toProblem } from '../monitor/link-activity.ts';
import { arrayText } from '../platform/postgres.ts';
import type { Queryable } from '../platform/standing-connection.ts';

export type RetriedEvent = { readonly event_id: string; readonly applied: boolean; readonly error: string | null };

export class SetAside {
  readonly #database: Queryable;
  readonly #applier: Pick<Applier, 'retry' | 'discard'>;
  #quarantined = new Map<string, number>();
  #parkedByTable: Readonly<Record<string, number>> = {};

  constructor(database: Queryable, applier: Pick<Applier, 'retry' | 'discard'>) {
    this.#database = database;
    this.#applier = applier;
  }

  /** Events of that region in the quarantine, as of the last count. */
  quarantined(source: string): number {
    return this.#quarantined.get(source) ?? 0;
  }

  /** As of the last count, by `schema.table`. */
  get parkedByTable(): Readonly<Record<string, number>> {
    return this.#parkedByTable;
  }

  /** Counts soon; where the database is away, upkeep counts again. */
  recount(): void {
    void this.count().catch(() => undefined);
  }

  async count(): Promise<void> {
    const { rows } = await this.#database.query(
      'select origin, count(*) as events from syncline.quarantine group by origin',
    );
    this.#quarantined = new Map(rows.map((row) => [String(row.origin), Number(row.events)]));
    const parked = await this.#database.query(
      `select schema_name || '.' || table_name as name, count(*) as parked from syncline.parked group by 1 order by 1`,
    );
    this.#parkedByTable = Object.fromEntries(parked.rows.map((row) => [String(row.name), Number(row.parked)]));
  }

  async retry(eventIds: readonly string[]): Promise<RetriedEvent[]> {
    const outcomes = new Map((await this.#applier.retry(eventIds)).map(({ event_id, error }) => [event_id, error]));
    await this.count();
    return eventIds.map((event_id) => {
      if (!outcomes.has(event_id)) {
        return { event_id, applied: false, error: 'there is no such event in the quarantine' };
      }
      const error = outcomes.get(event_id) ?? null;
      return { event_id, applied: error === null, error: error === null ? null : toProblem(error, 'SYN-A001').detail };
    });
  }

  /** Gives events up here, and parked rows everywhere; returns how many there were. */
  async discard(ids: readonly string[]): Promise<number> {
    const { rows } = await this.#database.query(
      'select count(*) as known from syncline.quarantine where event_id = any ($1::uuid[])',
      [arrayText(ids)],
    );
    await this.#applier.discard(ids);
    const parked = await discardParked(this.#database, ids);
    await this.count();
    return Number(rows[0]?.known ?? 0) + parked;
  }

  async editParked(parkedId: string, values: Image): Promise<void> {
    await editParked(this.#database, parkedId, values);
  }
}
