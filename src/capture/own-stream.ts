/**
 * What a region's database holds of its own stream, found out anew at each start.
 *
 * A server that was restored, cloned, promoted or crashed onto a lying disk can look like the one before in everything: the
 * same identifier, timeline, WAL positions, transaction ids. What no other history has is a transaction with the same id
 * *and* the same commit timestamp, and PostgreSQL keeps both. So a transaction of the stream is this server's exactly if
 * its id has that commit timestamp here. The slot would be the obvious witness and is a bad one: a base backup has none,
 * and one that is there tells only what it sends again.
 *
 * A history is a prefix of the WAL that it parted from, and a stream is in WAL order. So what the database has of an epoch
 * ends at one place, the fork. All up to the mark of the own stream was echoed or applied here, in a transaction that this
 * database has, so it is looked at from there on only.
 */
import { isoToMicros, keptMicros } from '../change/change-event.ts';
import { type Epoch, type Position, positionEpoch, positionLsn } from '../change/position.ts';
import { isOwn, type OwnHistory } from '../clock/own-history.ts';
import type { CommitTime } from '../clock/sql-own-history.ts';
import type { StreamReader } from '../log/event-log.ts';
import type { StreamItem } from '../log/stream-item.ts';
import { TransactionReader } from '../log/transaction-reader.ts';
import type { StreamTail } from './publisher.ts';

/** Transactions whose commit timestamps are asked for together. */
const ASKED_MAX = 1_000;

export type OwnMark = { readonly position: Position; readonly log_offset: number };

export type TraceOptions = {
  readonly history: OwnHistory;
  /** How far the own stream was applied; null where it never was. */
  readonly mark: OwnMark | null;
  readonly commitTimes: (xids: readonly number[]) => Promise<readonly CommitTime[]>;
  /** Whether a transaction whose commit timestamp is gone counts as this server's. */
  readonly trustsForgotten: boolean;
};

export type OwnTrace = {
  /** Where the stream ends; null where it has neither transaction nor heartbeat. */
  readonly end: Position | null;
  /** The database has everything up to here. */
  readonly fork: Position | null;
  /** The last that it has published itself: what the slot sends up to there is in the stream. */
  readonly published: StreamTail | null;
  /** Whether all of the stream is either its own, or known to be foreign. */
  readonly isWhole: boolean;
  /** Commit times, Unix µs, of what is its own behind the mark, less those that another tool gave. */
  readonly times: readonly bigint[];
};

type Item = Exclude<StreamItem, { kind: 'run' }>;
type Place = {
  readonly position: Position;
  readonly xid: number;
  readonly committed_at: string;
  /** What the database keeps for it; null where that cannot be told. */
  readonly keptMicros: bigint | null;
  /** Whether another tool gave it that time. */
  readonly isStated: boolean;
};

export async function traceOwnStream(reader: StreamReader, options: TraceOptions): Promise<OwnTrace> {
  const { history, mark } = options;
  const trace = new Trace(history, mark?.position ?? null);
  const items = new TransactionReader(reader, mark?.log_offset ?? 0);
  for (let more = true; more; ) {
    more = await items.fill(0);
    const places: Place[] = [];
    for (let item = items.peek(); item !== undefined && places.length < ASKED_MAX; item = items.peek()) {
      items.shift();
      if (item.kind !== 'run') places.push(placeOf(item));
    }
    const times = places.length === 0 ? [] : await options.commitTimes(places.map(({ xid }) => xid));
    for (const [at, place] of places.entries()) {
      const time = times[at];
      const { keptMicros: kept } = place;
      const isThere = kept === null ? time !== 'never' : time === kept;
      const isHere = time === 'forgotten' ? options.trustsForgotten : isThere;
      trace.take(place, isHere);
    }
  }
  return trace.result;
}

function placeOf(item: Item): Place {
  if (item.kind === 'heartbeat') {
    const { position, xid, committed_at } = item.heartbeat;
    return { position, xid, committed_at, keptMicros: isoToMicros(committed_at), isStated: false };
  }
  const { position, xid, committed_at, stated_at } = item;
  const kept = keptMicros(committed_at, stated_at);
  const isStated = stated_at !== undefined;
  return { position, xid, committed_at: stated_at ?? committed_at, keptMicros: kept, isStated };
}

class Trace {
  readonly #history: OwnHistory;
  readonly #times: bigint[] = [];
  #end: Position | null;
  #fork: Position | null;
  #published: StreamTail | null;
  /** Nothing was missing so far. */
  #isPrefix = true;
  #isWhole = true;

  constructor(history: OwnHistory, mark: Position | null) {
    this.#history = history;
    this.#end = mark;
    this.#fork = mark;
    const own = mark !== null && isOwn(history, mark) ? [...history.lineage, mark] : history.lineage;
    const last = own.reduce<Position | null>((a, b) => (a === null || positionLsn(b) > positionLsn(a) ? b : a), null);
    this.#published = last === null ? null : { position: last, xid: null, committed_at: null };
  }

  take(place: Place, isHere: boolean): void {
    const { epoch, after } = this.#history;
    const { position } = place;
    const isOfEpoch = positionEpoch(position) === epoch;
    const has = isOfEpoch ? isHere && this.#isWhole : isOwn(this.#history, position);
    this.#end = position;
    if (!has) this.#isPrefix = false;
    if (has && this.#isPrefix) this.#fork = position;
    if (has && isOfEpoch) this.#published = place;
    if (has && !place.isStated) this.#times.push(isoToMicros(place.committed_at));
    const isKnownForeign = positionEpoch(position) < epoch && after !== null && position <= after;
    if (!has && !isKnownForeign) this.#isWhole = false;
  }

  get result(): OwnTrace {
    return {
      end: this.#end,
      fork: this.#fork,
      published: this.#published,
      isWhole: this.#isWhole,
      times: this.#times,
    };
  }
}

/** What the start is decided from, besides the trace. */
export type StartFacts = {
  readonly history: OwnHistory;
  readonly trace: OwnTrace;
  /** The highest run that this database has handed out. */
  readonly runOfDatabase: number;
  /** The highest run of the stream. */
  readonly runOfStream: number;
  /** Whether the slot was made anew: what was committed meanwhile never passed it. */
  readonly isSlotNew: boolean;
  /** The time of the server's clock, as the name of an epoch. */
  readonly now: Epoch;
};

export type StartDecision =
  | { readonly kind: 'continue' }
  | { readonly kind: 'open'; readonly history: OwnHistory; readonly why: 'restored' | 'slot-lost' };

/**
 * Runs are the token that database and stream share: a database hands out each run before the stream names it, so one that
 * has handed out fewer is an older copy, whatever else it looks like. An epoch that is opened without need does no harm.
 */
export function decideStart(facts: StartFacts): StartDecision {
  const { history, trace, runOfDatabase, runOfStream, isSlotNew, now } = facts;
  const isOlderCopy = runOfDatabase < runOfStream;
  if (trace.isWhole && !isOlderCopy && !isSlotNew) return { kind: 'continue' };
  const { epoch, lineage } = history;
  const published = trace.published?.position;
  const hasPublished = published !== undefined && positionEpoch(published) === epoch;
  const opened: OwnHistory = {
    epoch: nameAbove(now, epoch, trace.end === null ? epoch : positionEpoch(trace.end)),
    lineage: hasPublished ? [...lineage, published] : lineage,
    fork: trace.fork,
    after: trace.end,
  };
  return { kind: 'open', history: opened, why: trace.isWhole && !isOlderCopy ? 'slot-lost' : 'restored' };
}

/** Above both names, whatever the clock says: a region whose clock was set back would otherwise publish what all skip. */
function nameAbove(now: Epoch, ...names: readonly Epoch[]): Epoch {
  const highest = names.reduce((a, b) => (a > b ? a : b));
  if (now > highest) return now;
  return (BigInt(highest) + 1n).toString().padStart(highest.length, '0');
}
