/**
 * What a region's database holds of its own stream, found out anew at each start.
 *
 * A server that was restored, cloned, promoted or crashed onto a lying disk can look like the one before in everything: the
 * same identifier, timeline, WAL positions, transaction ids. What no other history has is a transaction with the same id
 * *and* the same commit timestamp, and PostgreSQL keeps both. So a transaction of the stream is this server's exactly if
 * its id has that commit timestamp here, other than by the lane, whose transactions bear stamps of events. The slot would be
 * the obvious witness and is a bad one: a base backup has none, and one that is there tells only what it sends again.
 *
 * A history is a prefix of the WAL that it parted from, and a stream is in WAL order. So what the database has of an epoch
 * ends at one place. It may have some of an epoch that it knows nothing of: what was committed before the copy was made, and
 * published after. All up to the mark of the own stream was echoed or applied here, in a transaction that this
 * database has, so it is looked at from there on only.
 */
import { isoToMicros, keptMicros } from '../../change/change-event.ts';
import { type Epoch, type Position, positionEpoch, positionLsn } from '../../change/position.ts';
import { isOwn, type OwnHistory } from '../../clock/own-history.ts';
import type { CommitTime } from '../../clock/sql-own-history.ts';
import type { StreamReader } from '../../log/event-log.ts';
import type { StreamItem } from '../../log/stream-item.ts';
import { TransactionReader } from '../../log/transaction-reader.ts';
import type { StreamTail } from './publisher.ts';

/** Transactions whose commit timestamps are asked for together. */
const ASKED_MAX = 1_000;

export type OwnMark = { readonly position: Position; readonly event_id: string; readonly log_offset: number };

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
  /** For each epoch of which it has something, the last position of that. */
  readonly lineage: readonly Position[];
  /** Whether all of the stream is either its own, or known to be foreign. */
  readonly isWhole: boolean;
  /** Commit times, Unix µs, of what is its own behind the mark, less those that another tool gave. */
  readonly times: readonly bigint[];
};

type Item = Exclude<StreamItem, { kind: 'run' }>;
type Place = {
  readonly position: Position;
  readonly xid: number;
  /** Null where another tool gave it its commit timestamp. */
  readonly committed_at: string | null;
  /** What the database keeps for it; null where that cannot be told. */
  readonly keptMicros: bigint | null;
};

export async function traceOwnStream(reader: StreamReader, options: TraceOptions): Promise<OwnTrace> {
  const { history, mark } = options;
  const trace = new Trace(history, mark?.position ?? null);
  let places: Place[] = [];
  const take = async (): Promise<void> => {
    const times = places.length === 0 ? [] : await options.commitTimes(places.map(({ xid }) => xid));
    for (const [at, place] of places.entries()) {
      const time = times[at];
      const isThere = place.keptMicros === null ? time !== 'never' : time === place.keptMicros;
      const isHere = time === 'forgotten' ? options.trustsForgotten : isThere;
      trace.take(place, isHere);
    }
    places = [];
  };
  for await (const item of new TransactionReader(reader, mark?.log_offset ?? 0).items()) {
    if (item.kind !== 'run') places.push(placeOf(item));
    if (places.length >= ASKED_MAX) await take();
  }
  await take();
  return trace.result;
}

function placeOf(item: Item): Place {
  if (item.kind === 'heartbeat') {
    const { position, xid, committed_at } = item.heartbeat;
    return { position, xid, committed_at, keptMicros: isoToMicros(committed_at) };
  }
  const { position, xid, committed_at, stated_micros } = item;
  const kept = keptMicros(committed_at, stated_micros);
  return { position, xid, committed_at: stated_micros === undefined ? committed_at : null, keptMicros: kept };
}

class Trace {
  readonly #history: OwnHistory;
  readonly #times: bigint[] = [];
  /** By epoch, the last position that is of this history. */
  readonly #own = new Map<Epoch, Position>();
  /** Epochs of which something was found missing: what comes behind it is of another history as well. */
  readonly #parted = new Set<Epoch>();
  #end: Position | null;
  #fork: Position | null;
  #published: StreamTail | null = null;
  #isPrefix = true;
  #isWhole = true;

  constructor(history: OwnHistory, mark: Position | null) {
    this.#history = history;
    this.#end = mark;
    this.#fork = mark;
    for (const to of history.lineage) this.#has({ position: to, xid: null, committed_at: null });
    if (mark !== null && isOwn(history, mark)) this.#has({ position: mark, xid: null, committed_at: null });
  }

  take(place: Place, isHere: boolean): void {
    const { epoch } = this.#history;
    const { position } = place;
    const of = positionEpoch(position);
    const has = of < epoch && this.#isKnown(position) ? isOwn(this.#history, position) : this.#continues(of, isHere);
    this.#end = position;
    if (has) {
      this.#has(place);
      if (this.#isPrefix) this.#fork = position;
      if (place.committed_at !== null && place.keptMicros !== null) this.#times.push(place.keptMicros);
    } else this.#isPrefix = false;
    // A copy from before an epoch began does not know of it, also where it has all that was published in it.
    if (of === epoch ? !has : !this.#isKnown(position)) this.#isWhole = false;
  }

  get result(): OwnTrace {
    return {
      end: this.#end,
      fork: this.#fork,
      published: this.#published,
      lineage: [...this.#own.values()],
      isWhole: this.#isWhole,
      times: this.#times,
    };
  }

  /** Whether it was told apart when the database's epoch began. */
  #isKnown(position: Position): boolean {
    const { epoch, after } = this.#history;
    return positionEpoch(position) < epoch && after !== null && position <= after;
  }

  #continues(epoch: Epoch, isHere: boolean): boolean {
    if (!isHere) this.#parted.add(epoch);
    return !this.#parted.has(epoch);
  }

  #has(place: StreamTail): void {
    const { position } = place;
    const of = positionEpoch(position);
    if (position >= (this.#own.get(of) ?? '')) this.#own.set(of, position);
    const before = this.#published;
    if (before === null || positionLsn(position) >= positionLsn(before.position)) this.#published = place;
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
  const { epoch } = history;
  const opened: OwnHistory = {
    epoch: nameAbove(now, epoch, trace.end === null ? epoch : positionEpoch(trace.end)),
    lineage: trace.lineage,
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
