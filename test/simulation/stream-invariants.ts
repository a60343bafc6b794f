/** Invariants of what was published: whole, once, in order, chained, and with exact causes. */
import { covers, type Position, positionEpoch, positionLsn, type Seen } from '../../src/change/position.ts';
import type { Failure } from './invariants.ts';
import { FIRST_VERSION } from './merging.ts';
import type { WalEntry } from './model-database.ts';
import { MERGED } from './model-store.ts';
import type { Published, PublishedTransaction } from './published.ts';
import type { Region } from './region.ts';
import type { RowHistoryEntry } from './region-truth.ts';

export function checkStreams(regions: readonly Region[], published: Published): Failure | null {
  for (const region of regions) {
    const transactions = published.get(region.name) ?? [];
    const failure =
      checkWhole(region, transactions) ??
      checkPredecessors(region.name, transactions) ??
      checkPromises(region.name, transactions) ??
      checkMerges(region, transactions) ??
      checkSeen(region, transactions) ??
      checkClaims(region, transactions);
    if (failure !== null) return failure;
  }
  return null;
}

/** What the server has as it ended is published in its order; all else was published before the server lost it. */
function checkWhole({ name, database, lostWal }: Region, published: readonly PublishedTransaction[]): Failure | null {
  const transactions = ofHistory(database.wal, published);
  const lost = new Set(lostWal.map(idOfCommitted));
  const strange = published.find((each) => !transactions.includes(each) && !lost.has(idOfPublished(each)));
  if (strange !== undefined) {
    return { invariant: 'published-once', message: `${name} never committed ${tellPublished(strange)}` };
  }
  for (let place = 0; place < Math.max(database.wal.length, transactions.length); place += 1) {
    const committed = database.wal[place];
    const transaction = transactions[place];
    const from = committed === undefined ? 'nothing' : tellCommitted(committed);
    const to = transaction === undefined ? 'nothing' : tellPublished(transaction);
    if (from !== to) return { invariant: 'published-once', message: `${name} committed ${from} and published ${to}` };
  }
  const ids = published.flatMap(({ events }) => events.map((event) => event.event_id));
  if (new Set(ids).size === ids.length) return null;
  return { invariant: 'published-once', message: `two events of ${name} have one id` };
}

function ofHistory(
  wal: readonly WalEntry[],
  published: readonly PublishedTransaction[],
): readonly PublishedTransaction[] {
  const committed = new Set(wal.map(idOfCommitted));
  return published.filter((transaction) => committed.has(idOfPublished(transaction)));
}

/** A transaction of one history can have the place of another one's, though not its time and contents too. */
function idOfCommitted(entry: WalEntry): string {
  return `${entry.xid} ${entry.commitMicros} ${tellCommitted(entry)}`;
}

function idOfPublished(transaction: PublishedTransaction): string {
  return `${transaction.xid} ${transaction.commitMicros} ${tellPublished(transaction)}`;
}

function tellCommitted({ lsn, changes }: WalEntry): string {
  return JSON.stringify([
    String(lsn),
    ...changes.map(({ operation, table, before, after }) => [operation, table, before, after]),
  ]);
}

function tellPublished({ position, events }: PublishedTransaction): string {
  const told = events.map((event) => [event.operation, event.table_name, event.before_image, event.after_image]);
  return JSON.stringify([String(positionLsn(position)), ...told]);
}

function checkPredecessors(name: string, transactions: readonly PublishedTransaction[]): Failure | null {
  for (const [place, { position, predecessor, events }] of transactions.entries()) {
    const before = transactions[place - 1]?.position ?? null;
    const last = events.length - 1;
    const isWhole = events.every(
      ({ transaction: { index, last: isLast } }, at) => index === at && isLast === (at === last),
    );
    if (predecessor === before && isWhole) continue;
    return { invariant: 'predecessors', message: `${name}: ${position} names ${predecessor}, and follows ${before}` };
  }
  return null;
}

function checkPromises(name: string, transactions: readonly PublishedTransaction[]): Failure | null {
  let promised = 0n;
  for (const { position, hlc, promise } of transactions) {
    if (hlc <= promised) {
      return {
        invariant: 'promises',
        message: `${name}: ${position} is stamped ${hlc}, below the promise ${promised}`,
      };
    }
    if (promise > promised) promised = promise;
  }
  return null;
}

/** After a restart an event may name a rule early, and never one that was replaced before it. */
function checkMerges({ name, database }: Region, published: readonly PublishedTransaction[]): Failure | null {
  // Two hearts can overlap: the one that began first, and has the lower version, may commit last.
  const places = new Map(database.wal.map(({ activates }, place) => [activates, place]));
  let active = 0;
  for (const [place, { events, position }] of ofHistory(database.wal, published).entries()) {
    active = database.wal[place]?.activates ?? active;
    for (const { table_name, merge } of events) {
      const isRight = table_name === MERGED ? isNotBefore(Number(merge ?? 0), active, places) : merge === undefined;
      if (isRight) continue;
      const message = `${name}: ${position} names ${merge} for ${table_name}, where ${active} is active`;
      return { invariant: 'names-merges', message };
    }
  }
  return null;
}

/** What was in effect before the WAL begins comes before all; what it does not hold was lost with a later part of it. */
function isNotBefore(named: number, active: number, places: ReadonlyMap<number | null, number>): boolean {
  const placeOf = (version: number): number =>
    places.get(version) ?? (version <= FIRST_VERSION ? -1 : Number.POSITIVE_INFINITY);
  return placeOf(named) >= placeOf(active);
}

/** For two writers of one row seen is exact: what a transaction overwrote it had seen, what overwrote it, not. */
function checkSeen({ name, truth, database }: Region, published: readonly PublishedTransaction[]): Failure | null {
  const transactions = ofHistory(database.wal, published);
  const own = new Set(transactions.map(({ position }) => position));
  const firstLost = published.find(({ position }) => !own.has(position))?.position ?? null;
  const positions = new Map(transactions.map(({ position }) => [positionLsn(position), position]));
  const seenAt = new Map(transactions.map(({ position, seen }) => [positionLsn(position), seen]));
  for (const [row, history] of truth.rows) {
    for (const [place, write] of history.entries()) {
      const seen = write.local ? seenAt.get(write.lsn) : undefined;
      if (seen === undefined) continue;
      const late = lateOf(history.slice(0, place), seen, name, positions, write, firstLost);
      if (late !== null) return { invariant: 'seen', message: `${name}: a write has not seen ${late} on ${row}` };
      for (const [other, applied] of history.entries()) {
        if (applied.local || applied.position === null || own.has(applied.position)) continue;
        const hasSeen = covers(seen, applied.origin, applied.position);
        if (hasSeen === other < place) continue;
        const what = `${hasSeen ? 'claims to have' : 'has not'} seen ${applied.origin} ${applied.position} on ${row}`;
        return { invariant: 'seen', message: `${name}: the transaction at ${write.local ? write.lsn : ''} ${what}` };
      }
    }
  }
  return null;
}

/** No transaction claims to have seen of other regions what was not applied here by then. */
function checkClaims({ name, truth, database }: Region, published: readonly PublishedTransaction[]): Failure | null {
  for (const { position, seen } of ofHistory(database.wal, published)) {
    for (const [origin, claimed] of Object.entries(seen)) {
      if (origin === name) continue;
      const applied = truth.notedBelow(positionLsn(position), origin);
      if (applied !== null && claimed <= applied) continue;
      const message = `${name}: ${position} claims to have seen ${origin} up to ${claimed}, which was applied to ${applied}`;
      return { invariant: 'seen', message };
    }
  }
  return null;
}

/**
 * What this database had written before it in its one earlier epoch, and it claims not to have seen; null for nothing. A
 * stream is seen up to a position: what stands behind the first that was lost to it is not told.
 */
function lateOf(
  before: readonly RowHistoryEntry[],
  seen: Seen,
  name: string,
  positions: ReadonlyMap<bigint, Position>,
  write: RowHistoryEntry,
  firstLost: Position | null,
): Position | null {
  const own = write.local ? positions.get(write.lsn) : undefined;
  if (own === undefined || new Set([...positions.values()].map(positionEpoch)).size > 2) return null;
  for (const entry of before) {
    const position = entry.local ? positions.get(entry.lsn) : undefined;
    if (position === undefined || positionEpoch(position) === positionEpoch(own)) continue;
    if (firstLost !== null && position > firstLost) continue;
    if (!covers(seen, name, position)) return position;
  }
  return null;
}
