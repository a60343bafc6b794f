/**
 * Where the lane stands: its mark in every stream, and this database's own history, by which its own stream is told from
 * what it has lost.
 *
 * The marks in memory are those of the database as of the last commit. They move only once a batch is committed; where
 * the outcome of one is not known, they are read again with everything else.
 */
import { isoToMicros, keptMicros } from '../change/change-event.ts';
import type { Hlc } from '../change/hlc.ts';
import { type Epoch, type Position, positionEpoch, type Seen } from '../change/position.ts';
import { echoedLsn, isLost, type OwnHistory, seenOfOwn } from '../clock/own-history.ts';
import type { Stability } from '../clock/stability.ts';
import { invariant } from '../platform/assert.ts';
import { fail } from '../platform/errors.ts';
import type { ApplyPort, Mark, OwnCommit } from './apply-port.ts';
import type { LaneItem } from './lane-item.ts';

/** Stands for the own stream's epoch until it is known. */
const FIRST_EPOCH: Epoch = '0'.repeat(19);

export class LaneMarks {
  readonly #port: ApplyPort;
  readonly #region: string;
  readonly #marks = new Map<string, Mark>();
  /** The positions of the marks; null once one has moved. */
  #seen: Seen | null = null;
  #own: OwnHistory | null = null;

  constructor(port: ApplyPort, region: string) {
    this.#port = port;
    this.#region = region;
  }

  clear(): void {
    this.#marks.clear();
    this.#seen = null;
  }

  async readHistory(): Promise<void> {
    this.#own = await this.#port.ownHistory();
  }

  async readMarks(): Promise<void> {
    for (const mark of await this.#port.loadMarks()) this.move(mark);
  }

  of(origin: string): Mark | undefined {
    return this.#marks.get(origin);
  }

  move(mark: Mark): void {
    this.#marks.set(mark.origin, mark);
    this.#seen = null;
  }

  /** Marks of all origins, the own stream's included. */
  get seen(): Seen {
    this.#seen ??= Object.fromEntries([...this.#marks].map(([origin, mark]) => [origin, mark.position]));
    return this.#seen;
  }

  /** Everything up to it is applied everywhere, and echoed here. */
  stable(stability: Stability): Hlc {
    const echoed = stability.promiseAt(this.#region, this.of(this.#region)?.position);
    const watermark = stability.watermark();
    return watermark < echoed ? watermark : echoed;
  }

  /** The own stream's epoch. */
  get epoch(): Epoch {
    return this.#own?.epoch ?? FIRST_EPOCH;
  }

  /** How far in this database's WAL its own stream has come back. */
  get echoedLsn(): bigint {
    return this.#own === null ? 0n : echoedLsn(this.#own, this.#marks.get(this.#region)?.position);
  }

  /** Whether it is of the own stream, and not of this database's history. */
  isLost(origin: string, { position }: LaneItem): boolean {
    return origin === this.#region && this.#own !== null && isLost(this.#own, position);
  }

  /**
   * Whether two items of an origin may share a batch. Along an epoch, what its transactions had seen only grows; with the
   * next one it may go back. And what is lost here is applied, while the rest of the own stream is an echo.
   */
  areOfOneKind(origin: string, one: LaneItem, other: LaneItem): boolean {
    return (
      positionEpoch(one.position) === positionEpoch(other.position) &&
      this.isLost(origin, one) === this.isLost(origin, other)
    );
  }

  /** What is above the mark. Throws SYN-L001 on a gap. */
  fresh(origin: string, items: readonly LaneItem[]): LaneItem[] {
    const fresh: LaneItem[] = [];
    let last: Position | null = this.#marks.get(origin)?.position ?? null;
    for (const item of items) {
      if (last !== null && item.position <= last) continue;
      if (item.predecessor !== last) {
        throw fail('SYN-L001', `the stream of ${origin} goes from ${last ?? 'its start'} to ${item.position}`, {
          context: { origin, mark: last, position: item.position, predecessor: item.predecessor },
        });
      }
      fresh.push(item);
      last = item.position;
    }
    return fresh;
  }

  /** The mark behind these items. */
  behind(origin: string, items: readonly LaneItem[]): Mark {
    const last = items.at(-1);
    invariant(last !== undefined, 'a batch has at least one item');
    return { origin, position: last.position, event_id: last.event_id, log_offset: last.log_offset };
  }

  /** What is applied here once these items are; of the own stream, what this database holds by then. */
  seenBehind(origin: string, items: readonly LaneItem[]): Seen {
    const seen: { [origin: string]: Position } = {};
    for (const [other, mark] of this.#marks) if (other !== this.#region) seen[other] = mark.position;
    const last = items.at(-1);
    if (origin !== this.#region && last !== undefined) seen[origin] = last.position;
    const mark = origin === this.#region ? last?.position : this.#marks.get(this.#region)?.position;
    const ofOwn = this.#own === null ? undefined : seenOfOwn(this.#own, mark);
    if (ofOwn !== undefined) seen[this.#region] = ofOwn;
    return seen;
  }

  /**
   * The first of these own items that may be applied now: echoes of what is visible here, and what this database has to be
   * given because it was lost to it. What it seems to have made and has not is held back, until capture has found where
   * the histories part.
   */
  async ownDue(items: readonly LaneItem[]): Promise<readonly LaneItem[]> {
    const last = items.at(-1);
    const mayBeNewer = last !== undefined && positionEpoch(last.position) > (this.#own?.epoch ?? '');
    if (mayBeNewer) await this.readHistory();
    const states = await this.#port.ownCommits(items.map(commitOf));
    if (states.includes('elsewhere')) await this.readHistory();
    const own = this.#own;
    if (own === null) return [];
    const held = items.findIndex(({ position }, place) => {
      if (positionEpoch(position) > own.epoch) return true;
      return !isLost(own, position) && states[place] !== 'visible';
    });
    return held < 0 ? items : items.slice(0, held);
  }
}

function commitOf(item: LaneItem): OwnCommit {
  if (item.kind === 'heartbeat') {
    const { xid, committed_at } = item.heartbeat;
    return { xid, commitMicros: isoToMicros(committed_at) };
  }
  const { xid, committed_at, stated_micros } = item.source;
  return { xid, commitMicros: keptMicros(committed_at, stated_micros) };
}
