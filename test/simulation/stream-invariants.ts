/** Invariants of what was published: whole, once, in order, chained, and with exact causes. */
import { covers, positionLsn } from '../../src/change/position.ts';
import type { Failure } from './invariants.ts';
import type { WalEntry } from './model-database.ts';
import type { Published, PublishedTransaction } from './published.ts';
import type { Region } from './region.ts';

export function checkStreams(regions: readonly Region[], published: Published): Failure | null {
  for (const region of regions) {
    const transactions = published.get(region.name) ?? [];
    const failure =
      checkWhole(region, transactions) ??
      checkPredecessors(region.name, transactions) ??
      checkSeen(region, transactions);
    if (failure !== null) return failure;
  }
  return null;
}

function checkWhole({ name, database }: Region, transactions: readonly PublishedTransaction[]): Failure | null {
  for (let place = 0; place < Math.max(database.wal.length, transactions.length); place += 1) {
    const committed = database.wal[place];
    const transaction = transactions[place];
    const from = committed === undefined ? 'nothing' : tellCommitted(committed);
    const to = transaction === undefined ? 'nothing' : tellPublished(transaction);
    if (from !== to) return { invariant: 'published-once', message: `${name} committed ${from} and published ${to}` };
  }
  const ids = transactions.flatMap(({ events }) => events.map((event) => event.event_id));
  if (new Set(ids).size === ids.length) return null;
  return { invariant: 'published-once', message: `two events of ${name} have one id` };
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

/** For two writers of one row seen is exact: what a transaction overwrote it had seen, what overwrote it, not. */
function checkSeen({ name, truth }: Region, transactions: readonly PublishedTransaction[]): Failure | null {
  const seenAt = new Map(transactions.map(({ position, seen }) => [positionLsn(position), seen]));
  for (const [row, history] of truth.rows) {
    for (const [place, write] of history.entries()) {
      const seen = write.local ? seenAt.get(write.lsn) : undefined;
      if (seen === undefined) continue;
      for (const [other, applied] of history.entries()) {
        if (applied.local || applied.origin === name || applied.position === null) continue;
        const hasSeen = covers(seen, applied.origin, applied.position);
        if (hasSeen === other < place) continue;
        const what = `${hasSeen ? 'claims to have' : 'has not'} seen ${applied.origin} ${applied.position} on ${row}`;
        return { invariant: 'seen', message: `${name}: the transaction at ${write.local ? write.lsn : ''} ${what}` };
      }
    }
  }
  return null;
}
