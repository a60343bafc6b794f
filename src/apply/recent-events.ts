/**
 * The events that passed through the lane lately, by row: what conflicts are judged from.
 *
 * Every event of every region passes through the lane of each region, local ones as echoes. Two concurrent events on
 * one row are therefore judged when the second of them passes, whichever that is, with both in hand. Memory is bounded
 * by number; what was evicted is remembered per origin as a position, below which the database is asked instead.
 */
import type { ChangeEvent, Image } from '../change/change-event.ts';
import type { Hlc } from '../change/hlc.ts';
import { covers, type Position, type Seen } from '../change/position.ts';
import { compareVersions, type Version } from '../change/version.ts';
import type { RowKey } from './apply-port.ts';
import type { ChainLink } from './net-change.ts';

const EVENTS_MAX_DEFAULT = 20_000;

export type Recent = {
  readonly origin: string;
  readonly hlc: Hlc;
  readonly position: Position;
  readonly seen: Seen;
  readonly event: ChangeEvent;
};

/** One losing event with its highest known winner. */
export type Loss = { readonly loser: Recent; readonly winner: Recent };

export class RecentEvents {
  /** Per row and origin, in the order of their positions. */
  readonly #rows = new Map<string, Map<string, Recent[]>>();
  #order: { row: string; origin: string; position: Position }[] = [];
  #head = 0;
  readonly #evicted = new Map<string, Position>();
  readonly #eventsMax: number;

  constructor(eventsMax = EVENTS_MAX_DEFAULT) {
    this.#eventsMax = eventsMax;
  }

  /** Up to this position of the origin, events may be missing here. */
  evictedTo(origin: string): Position | undefined {
    return this.#evicted.get(origin);
  }

  /** At start: what passed before this lane lived is not here. */
  startsAfter(origin: string, position: Position): void {
    this.#evicted.set(origin, position);
  }

  /** The event with this version on this row, if it is known. */
  find(tableId: string, key: RowKey, version: Version): Recent | undefined {
    return this.#rows
      .get(rowName(tableId, key))
      ?.get(version.origin)
      ?.findLast((recent) => recent.hlc === version.hlc);
  }

  /** Registers a row's events once their batch is committed. */
  add(tableId: string, key: RowKey, chain: readonly ChainLink[]): void {
    const row = rowName(tableId, key);
    let origins = this.#rows.get(row);
    if (origins === undefined) {
      origins = new Map();
      this.#rows.set(row, origins);
    }
    for (const link of chain) {
      const recent = toRecent(link);
      const list = origins.get(recent.origin);
      if (list === undefined) origins.set(recent.origin, [recent]);
      else list.push(recent);
      this.#order.push({ row, origin: recent.origin, position: recent.position });
    }
    this.#evict();
  }

  /** The losses among a row's new events and those of other origins that passed before. */
  judge(tableId: string, key: RowKey, chain: readonly ChainLink[]): Loss[] {
    const origins = this.#rows.get(rowName(tableId, key));
    const first = chain[0];
    if (origins === undefined || first === undefined) return [];
    const origin = first.event.region_id;
    const losses = new Map<string, Loss>();
    for (const [other, list] of origins) {
      if (other === origin) continue;
      // `seen` grows along a stream: what the chain's first event had seen, all of them had.
      let from = list.length;
      for (let b = list[from - 1]; b !== undefined; b = list[from - 1]) {
        if (covers(first.source.seen, other, b.position)) break;
        from -= 1;
      }
      if (from === list.length) continue;
      judgePair(chain.map(toRecent), list.slice(from), losses);
    }
    return [...losses.values()];
  }

  #evict(): void {
    while (this.#order.length - this.#head > this.#eventsMax) {
      const oldest = this.#order[this.#head];
      this.#head += 1;
      if (oldest === undefined) break;
      const origins = this.#rows.get(oldest.row);
      const list = origins?.get(oldest.origin);
      list?.shift();
      if (list?.length === 0) origins?.delete(oldest.origin);
      if (origins?.size === 0) this.#rows.delete(oldest.row);
      const known = this.#evicted.get(oldest.origin);
      if (known === undefined || oldest.position > known) this.#evicted.set(oldest.origin, oldest.position);
    }
    if (this.#head > this.#eventsMax) {
      this.#order = this.#order.slice(this.#head);
      this.#head = 0;
    }
  }
}

/**
 * The events that have to be judged against those of another origin. Of neighbours that had seen the same of it the last
 * speaks for all: it had seen those before it, so it carries their losses, and its version is the highest, so it wins
 * where any of them does. Not so where one of the others had seen the first and not the second of two neighbours: what
 * that one carries to the second it does not carry to the first, which may be the only winner that is not carried on.
 */
function speakers(events: readonly Recent[], others: readonly Recent[]): Recent[] {
  const other = others[0]?.origin ?? '';
  let place = 0;
  return events.filter((event, index) => {
    const next = events[index + 1];
    if (next === undefined || next.seen[other] !== event.seen[other]) return true;
    // `seen` grows along a stream: if the first that had seen the event had seen the next as well, then so had the rest.
    while (place < others.length && !hasSeen(others[place], event)) place += 1;
    const witness = others[place];
    return witness !== undefined && !hasSeen(witness, next);
  });
}

function hasSeen(witness: Recent | undefined, event: Recent): boolean {
  return witness !== undefined && covers(witness.seen, event.origin, event.position);
}

/** Losses between two origins' events on one row, both in the order of their streams. */
function judgePair(allAs: readonly Recent[], allBs: readonly Recent[], losses: Map<string, Loss>): void {
  const as = speakers(allAs, allBs);
  const bs = speakers(allBs, allAs);
  const lose = (loser: Recent, winner: Recent, later: readonly Recent[]): void => {
    // A later event that has seen the loser and is concurrent with the winner as well carries the loss.
    if (later.some((event) => areConcurrent(event, winner))) return;
    const known = losses.get(loser.event.event_id);
    if (known === undefined || compareVersions(versionOf(winner), versionOf(known.winner)) > 0) {
      losses.set(loser.event.event_id, { loser, winner });
    }
  };
  for (const [i, a] of as.entries()) {
    for (const [j, b] of bs.entries()) {
      if (!areConcurrent(a, b)) continue;
      if (compareVersions(versionOf(a), versionOf(b)) > 0) lose(b, a, bs.slice(j + 1));
      else lose(a, b, as.slice(i + 1));
    }
  }
}

export function versionOf(recent: Recent): Version {
  return { hlc: recent.hlc, origin: recent.origin };
}

/** What the event left of the row: null for a removal. */
export function imageOf(recent: Recent): Image | null {
  return recent.event.after_image;
}

/** Neither had seen the other. */
export function areConcurrent(a: Recent, b: Recent): boolean {
  return !hasSeen(a, b) && !hasSeen(b, a);
}

function toRecent(link: ChainLink): Recent {
  const { event, source } = link;
  return { origin: event.region_id, hlc: source.hlc, position: source.position, seen: source.seen, event };
}

function rowName(tableId: string, key: RowKey): string {
  return `${tableId} ${key}`;
}
