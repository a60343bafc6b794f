/**
 * The events that passed through the lane lately, by row: what conflicts are judged from.
 *
 * Every event of every region passes through the lane of each region, local ones as echoes. Two concurrent events on
 * one row are therefore judged when the second of them passes, whichever that is, with both in hand. Memory is bounded
 * by number; what was evicted is remembered per origin as a position, below which the database is asked instead. A
 * TRUNCATE is an event on every row of its table.
 */
import type { ChangeEvent, Image } from '../change/change-event.ts';
import type { Hlc } from '../change/hlc.ts';
import { covers, type Position, positionEpoch, type Seen } from '../change/position.ts';
import { compareVersions, type Version } from '../change/version.ts';
import { EVERY_ROW, type RowKey } from './apply-port.ts';
import type { ChainLink } from './net-change.ts';

/** Some tens of megabytes, and the events of seconds under load: what is concurrent is mostly younger. */
export const RECENT_EVENTS_MAX = 20_000;

export type Recent = {
  readonly origin: string;
  readonly hlc: Hlc;
  readonly position: Position;
  readonly seen: Seen;
  readonly event: ChangeEvent;
  /** Whether it left nothing of the row. */
  readonly removes: boolean;
};

/** One losing event with its highest known winner. */
export type Loss = { readonly loser: Recent; readonly winner: Recent };

/** The events of one row, per epoch of an origin in the order of their positions: `lineOf` names them. */
type RecentRow = { readonly pk: Image; readonly lines: Map<string, Recent[]> };
type RecentTable = Map<RowKey, RecentRow>;

export class RecentEvents {
  /** By table and row; under EVERY_ROW stand the table's TRUNCATEs. */
  readonly #tables = new Map<string, RecentTable>();
  #order: { table: string; key: RowKey; origin: string; position: Position; notedLsn: bigint }[] = [];
  #head = 0;
  readonly #missing = new Map<string, Position>();
  #missingLsn = 0n;
  readonly #eventsMax: number;

  constructor(eventsMax = RECENT_EVENTS_MAX) {
    this.#eventsMax = eventsMax;
  }

  /** Up to this position of the origin, events may be missing here. */
  missingTo(origin: string): Position | undefined {
    return this.#missing.get(origin);
  }

  /** Events of batches that were noted up to this place in the WAL may be missing here. */
  get missingLsn(): bigint {
    return this.#missingLsn;
  }

  /** Says that events up to this position are not here: what passed before this lane lived, or was too large. */
  lacks(origin: string, position: Position, notedLsn: bigint): void {
    const known = this.#missing.get(origin);
    if (known === undefined || position > known) this.#missing.set(origin, position);
    if (notedLsn > this.#missingLsn) this.#missingLsn = notedLsn;
  }

  /** Says that everything of this origin behind the position is going to be added. */
  holdsFrom(origin: string, after: Position | null): void {
    if (after === null) this.#missing.delete(origin);
    else this.#missing.set(origin, after);
  }

  /** The event with this version on this row, or on its whole table, if it is known. */
  find(table: string, key: RowKey, version: Version): Recent | undefined {
    const rows = this.#tables.get(table);
    for (const row of [rows?.get(key), rows?.get(EVERY_ROW)]) {
      for (const list of row?.lines.values() ?? []) {
        if (list[0]?.origin !== version.origin) continue;
        const found = list.findLast((recent) => recent.hlc === version.hlc);
        if (found !== undefined) return found;
      }
    }
    return undefined;
  }

  /** The newest event on this row alone, or on the whole table alone, of the same epoch of the same stream. */
  newestLike(table: string, key: RowKey, event: Recent): Recent | undefined {
    return this.#tables.get(table)?.get(key)?.lines.get(lineOf(event))?.at(-1);
  }

  /** All other events on this row, and on its whole table. */
  othersThan(table: string, key: RowKey, event: Recent): Recent[] {
    const rows = this.#tables.get(table);
    const lines = [rows?.get(key), rows?.get(EVERY_ROW)].flatMap((row) => [...(row?.lines ?? [])]);
    return lines.flatMap(([line, list]) => (line === lineOf(event) ? [] : list));
  }

  /** Registers a row's events once their batch is committed and noted; a TRUNCATE under EVERY_ROW. */
  add(table: string, key: RowKey, pk: Image, chain: readonly ChainLink[], notedLsn: bigint): void {
    const rows = this.#tables.get(table) ?? new Map<RowKey, RecentRow>();
    this.#tables.set(table, rows);
    const row = rows.get(key) ?? { pk, lines: new Map<string, Recent[]>() };
    rows.set(key, row);
    for (const link of chain) {
      const recent = toRecent(link);
      const line = lineOf(recent);
      const list = row.lines.get(line);
      if (list === undefined) row.lines.set(line, [recent]);
      else list.push(recent);
      this.#order.push({ table, key, origin: recent.origin, position: recent.position, notedLsn });
    }
    this.#evict();
  }

  /** The losses among a row's new events and those of other origins that passed before. */
  judge(table: string, key: RowKey, chain: readonly ChainLink[]): Loss[] {
    const rows = this.#tables.get(table);
    if (rows === undefined) return [];
    return this.#judge([rows.get(key), rows.get(EVERY_ROW)], chain);
  }

  /** The losses to a TRUNCATE among the events of all rows of its table that passed before. */
  judgeTruncate(table: string, link: ChainLink): { key: RowKey; pk: Image; losses: Loss[] }[] {
    const judged: { key: RowKey; pk: Image; losses: Loss[] }[] = [];
    for (const [key, row] of this.#tables.get(table) ?? []) {
      if (key !== EVERY_ROW) judged.push({ key, pk: row.pk, losses: this.#judge([row], [link]) });
    }
    return judged;
  }

  #judge(rows: readonly (RecentRow | undefined)[], chain: readonly ChainLink[]): Loss[] {
    const first = chain[0];
    if (first === undefined) return [];
    const line = lineOf(toRecent(first));
    const losses = new Map<string, Loss>();
    for (const [otherLine, list] of mergeByLine(rows)) {
      if (otherLine === line) continue;
      // `seen` grows along an epoch of a stream: what the chain's first event had seen, all of them had.
      let from = list.length;
      const other = list[0]?.origin ?? '';
      for (let b = list[from - 1]; b !== undefined; b = list[from - 1]) {
        if (covers(first.source.seen, other, b.position)) break;
        from -= 1;
      }
      if (from === list.length) continue;
      judgePair(chain.map(toRecent), list.slice(from), losses);
    }
    // That a TRUNCATE did not take a row is no loss of anything.
    return [...losses.values()].filter(({ loser }) => loser.event.operation !== 'TRUNCATE');
  }

  #evict(): void {
    while (this.#order.length - this.#head > this.#eventsMax) {
      const oldest = this.#order[this.#head];
      this.#head += 1;
      if (oldest === undefined) break;
      const rows = this.#tables.get(oldest.table);
      const row = rows?.get(oldest.key);
      const line = lineOf(oldest);
      const list = row?.lines.get(line);
      list?.shift();
      if (list?.length === 0) row?.lines.delete(line);
      if (row?.lines.size === 0) rows?.delete(oldest.key);
      if (rows?.size === 0) this.#tables.delete(oldest.table);
      this.lacks(oldest.origin, oldest.position, oldest.notedLsn);
    }
    if (this.#head > this.#eventsMax) {
      this.#order = this.#order.slice(this.#head);
      this.#head = 0;
    }
  }
}

/**
 * Within an epoch of a stream, later events had seen the earlier ones. Across epochs they need not have: what was lost to a
 * restored region comes back to it like another region's.
 */
function lineOf({ origin, position }: { readonly origin: string; readonly position: Position }): string {
  return `${positionEpoch(position)} ${origin}`;
}

/** Events of a row and of its whole table, per epoch of an origin in the order of their positions. */
function mergeByLine(rows: readonly (RecentRow | undefined)[]): Iterable<[string, readonly Recent[]]> {
  const there = rows.filter((row) => row !== undefined);
  const [only] = there;
  if (there.length === 1 && only !== undefined) return only.lines;
  const merged = new Map<string, Recent[]>();
  for (const { lines } of there) {
    for (const [line, list] of lines) merged.set(line, [...(merged.get(line) ?? []), ...list]);
  }
  for (const list of merged.values()) list.sort(byPlace);
  return merged;
}

function byPlace(a: Recent, b: Recent): number {
  if (a.position !== b.position) return a.position < b.position ? -1 : 1;
  return a.event.transaction.index - b.event.transaction.index;
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
  return recent.removes ? null : recent.event.after_image;
}

/** Neither had seen the other. */
export function areConcurrent(a: Recent, b: Recent): boolean {
  return !hasSeen(a, b) && !hasSeen(b, a);
}

export function toRecent(link: ChainLink): Recent {
  const { event, source, removes } = link;
  return { origin: event.region_id, hlc: source.hlc, position: source.position, seen: source.seen, event, removes };
}
