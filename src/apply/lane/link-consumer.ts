/**
 * One consumer per stream that a region applies, its own included: reads ahead, and gives the lane what is due.
 *
 * Due is a transaction once this region's marks cover what it had seen (causal order), or once it has waited for
 * `causal_wait_ms`, or when the link of every origin it waits for is down: causality when the network allows it,
 * availability always. A backlog does not wait transaction by transaction: once a cause was waited for in vain, whatever
 * else lacks that origin goes on as well, until the cause is there.
 *
 * What is ahead of the local clock is due once that has caught up, or when it is not worth a wait: see `lead-gate.ts`.
 */
import type { Hlc } from '../../change/hlc.ts';
import { covers, type Position, type Seen } from '../../change/position.ts';
import type { Heartbeat } from '../../change/stream-record.ts';
import type { TransactionReader } from '../../log/transaction-reader.ts';
import { hlcOf, type LaneItem, toLaneItem } from '../lane-item.ts';
import type { Lead } from './lead-gate.ts';

export type BatchLimit = { readonly rows_max: number; readonly transactions_max: number };

export type Due =
  | { readonly kind: 'batch'; readonly items: readonly LaneItem[] }
  /** Nothing is there. */
  | { readonly kind: 'empty' }
  /** The first transaction waits for events of this origin. */
  | { readonly kind: 'waiting'; readonly origin: string }
  /** The first transaction or heartbeat is ahead of the local clock. */
  | { readonly kind: 'ahead'; readonly lead: Exclude<Lead, { kind: 'due' }>; readonly stamp: Hlc };

/** How a stamp stands to the local clock. */
export type LeadOf = (stamp: Hlc) => Lead;

export const NEVER_AHEAD: LeadOf = () => ({ kind: 'due' });

export class LinkConsumer {
  readonly origin: string;
  readonly #reader: TransactionReader;
  readonly #causalWaitMs: number;
  readonly #onHeartbeat: (heartbeat: Heartbeat) => void;
  /** How many items of the buffer were looked through for heartbeats. */
  #heard = 0;
  #waitingFor: { position: Position; sinceMs: number } | null = null;
  /** Causes that were waited for in vain: until one is applied here, nothing more waits for its origin. */
  readonly #givenUp = new Map<string, Position>();

  /** `onHeartbeat` is told of each heartbeat as soon as it is read, whatever it then waits for. */
  constructor(
    origin: string,
    reader: TransactionReader,
    causalWaitMs: number,
    onHeartbeat: (heartbeat: Heartbeat) => void = () => {},
  ) {
    this.origin = origin;
    this.#reader = reader;
    this.#causalWaitMs = causalWaitMs;
    this.#onHeartbeat = onHeartbeat;
  }

  /** Reads ahead; resolves true once something is there, false when the time is over. */
  async fill(timeoutMs: number, signal?: AbortSignal): Promise<boolean> {
    const isThere = await this.#reader.fill(timeoutMs, signal);
    for (let item = this.#reader.peek(this.#heard); item !== undefined; item = this.#reader.peek(this.#heard)) {
      this.#heard += 1;
      if (item.kind === 'heartbeat') this.#onHeartbeat(item.heartbeat);
    }
    return isThere;
  }

  /** Commit time of the oldest item that waits, ISO 8601; null where nothing waits. */
  get oldestWaiting(): string | null {
    for (let place = 0; ; place += 1) {
      const item = this.#reader.peek(place);
      if (item === undefined) return null;
      if (item.kind === 'run') continue;
      return item.kind === 'heartbeat' ? item.heartbeat.committed_at : item.committed_at;
    }
  }

  /** Transactions and heartbeats that are read ahead. */
  get waiting(): number {
    return this.#reader.bufferedRows;
  }

  /** The next items, up to the limit; they stay with the consumer until `settle`. */
  due(
    marks: Seen,
    limit: BatchLimit,
    nowMs: number,
    isDown: (origin: string) => boolean,
    leadOf: LeadOf = NEVER_AHEAD,
  ): Due {
    const items: LaneItem[] = [];
    let rows = 0;
    for (let place = 0; items.length < limit.transactions_max; place += 1) {
      const item = this.#reader.peek(place);
      if (item === undefined) break;
      if (item.kind === 'run') continue;
      const laneItem = toLaneItem(this.origin, item);
      const size = item.kind === 'transaction' ? item.events.length : 0;
      if (items.length > 0 && (rows + size > limit.rows_max || item.kind === 'giant')) break;
      const stamp = hlcOf(laneItem);
      const lead = leadOf(stamp);
      if (lead.kind !== 'due') {
        if (items.length > 0) break;
        return { kind: 'ahead', lead, stamp };
      }
      if (item.kind !== 'heartbeat') {
        const missing = this.#missing(item.seen, marks, isDown);
        if (missing !== null) {
          if (items.length > 0) break;
          if (!this.#waitedEnough(laneItem.position, nowMs)) return { kind: 'waiting', origin: missing };
          this.#giveUp(item.seen, marks);
        }
      }
      items.push(laneItem);
      rows += size;
      if (item.kind === 'giant') break;
    }
    return items.length === 0 ? { kind: 'empty' } : { kind: 'batch', items };
  }

  /** Lets go of everything at or below the mark. */
  settle(mark: Position | undefined): void {
    for (let item = this.#reader.peek(); item !== undefined; item = this.#reader.peek()) {
      if (item.kind !== 'run') {
        const position = item.kind === 'heartbeat' ? item.heartbeat.position : item.position;
        if (mark === undefined || position > mark) return;
      }
      this.#reader.shift();
      if (this.#heard > 0) this.#heard -= 1;
    }
  }

  #missing(seen: Seen, marks: Seen, isDown: (origin: string) => boolean): string | null {
    for (const [origin, cause] of this.#givenUp) if (covers(marks, origin, cause)) this.#givenUp.delete(origin);
    for (const origin of Object.keys(seen)) {
      const position = seen[origin];
      if (position === undefined || covers(marks, origin, position)) continue;
      if (!this.#givenUp.has(origin) && !isDown(origin)) return origin;
    }
    return null;
  }

  /** Only the first in line waits on the clock; the others wait behind it. */
  #waitedEnough(position: Position, nowMs: number): boolean {
    if (this.#waitingFor?.position !== position) this.#waitingFor = { position, sinceMs: nowMs };
    return nowMs - this.#waitingFor.sinceMs >= this.#causalWaitMs;
  }

  #giveUp(seen: Seen, marks: Seen): void {
    for (const origin of Object.keys(seen)) {
      const position = seen[origin];
      if (position !== undefined && !covers(marks, origin, position)) this.#givenUp.set(origin, position);
    }
  }
}
