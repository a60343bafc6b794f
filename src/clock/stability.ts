/**
 * What is stable: a version that every member is known to have applied, so that nothing concurrent with it can still
 * arrive. Below the watermark, row versions, tombstones and history may be forgotten.
 *
 * Every region's heartbeat carries a floor: all events stamped at or below it, of every member, were applied there
 * before the heartbeat's commit. Whatever that region writes later has seen them; whatever it wrote before is in its
 * stream below the heartbeat, so it is applied here by the time the heartbeat is. So the least floor of all members'
 * heartbeats that this region has consumed is stable here. Floors rest on promises (see `stamper.ts`): a stream stamps
 * nothing later at or below its highest stamp so far less the window.
 */
import type { Hlc } from '../change/hlc.ts';
import { type Epoch, type Position, positionEpoch, type Seen } from '../change/position.ts';
import { WINDOW } from './stamper.ts';

/** Samples kept per origin; older ones are thinned out, which only makes answers more careful. */
const SAMPLES_MAX = 4096;

type Sample = { readonly position: Position; readonly highest: Hlc };

export class Stability {
  readonly #self: string;
  readonly #members: readonly string[];
  readonly #samples = new Map<string, Sample[]>();
  readonly #floors = new Map<string, Hlc>();
  readonly #epochs = new Map<string, Epoch>();
  #baseline: Hlc = 0n;

  constructor(self: string, peers: readonly string[]) {
    this.#self = self;
    this.#members = [self, ...peers];
  }

  get members(): readonly string[] {
    return this.#members;
  }

  /**
   * When the own stream's history began: local rows stamped well below it were there before, and are not sent. No event
   * can be concurrent with them.
   */
  beganAt(hlc: Hlc): void {
    this.#baseline = hlc > WINDOW ? hlc - WINDOW : 0n;
  }

  /**
   * Every tuple of that writer stamped at or below it had been seen by an event that had seen this position: what was
   * promised there, what is stable, and what was there before replication began.
   */
  seenBy(writer: string, position: Position | undefined): Hlc {
    const promised = this.promiseAt(writer, position);
    const stable = this.watermark();
    const known = promised > stable ? promised : stable;
    return writer === this.#self && this.#baseline > known ? this.#baseline : known;
  }

  /**
   * An item of that origin's stream comes next. With a new epoch the region stands where its database was restored to: what
   * it had stated before of what it has applied holds no more, until it says so again. Nothing that was forgotten for it is
   * missed: its stream stays above every floor that it ever stated, because a floor never exceeds its own promise.
   */
  enters(origin: string, position: Position): void {
    const epoch = positionEpoch(position);
    if (epoch <= (this.#epochs.get(origin) ?? '')) return;
    this.#epochs.set(origin, epoch);
    this.#floors.delete(origin);
  }

  /**
   * The lane begins anew, from what the database holds. A crash may have taken back the last of what it had applied, and the
   * heartbeats among that: they count once they are consumed again. What is known of streams themselves stays true.
   */
  beginsAnew(): void {
    this.#floors.clear();
    this.#epochs.clear();
  }

  /** A transaction of that origin was applied here (for the own stream: echoed); one that is known is passed over. */
  applied(origin: string, position: Position, hlc: Hlc): void {
    const samples = this.#samples.get(origin) ?? [];
    const last = samples.at(-1);
    if (last !== undefined && position <= last.position) return;
    samples.push({ position, highest: last !== undefined && last.highest > hlc ? last.highest : hlc });
    if (samples.length > SAMPLES_MAX) {
      this.#samples.set(
        origin,
        samples.filter((_, place) => place % 2 === 1 || place > samples.length - SAMPLES_MAX / 4),
      );
    } else this.#samples.set(origin, samples);
  }

  /** A heartbeat of that member was consumed here. */
  heartbeat(member: string, floor: Hlc): void {
    const known = this.#floors.get(member) ?? 0n;
    if (floor > known) this.#floors.set(member, floor);
  }

  /** The highest stamp of that origin's stream up to the position, as far as it is remembered; 0 where it is not. */
  highestAt(origin: string, position: Position | undefined): Hlc {
    const samples = this.#samples.get(origin);
    if (samples === undefined || position === undefined) return 0n;
    let low = 0;
    let high = samples.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const sample = samples[middle];
      if (sample !== undefined && sample.position <= position) low = middle + 1;
      else high = middle;
    }
    return samples[low - 1]?.highest ?? 0n;
  }

  /** Nothing of that origin beyond the position is stamped at or below it. */
  promiseAt(origin: string, position: Position | undefined): Hlc {
    const highest = this.highestAt(origin, position);
    return highest > WINDOW ? highest - WINDOW : 0n;
  }

  /**
   * What the own heartbeat may state as its floor, given what its transaction had seen. Of its own stream that is all, unless
   * the region had not been given back all of the earlier epochs by then.
   */
  floorFor(seen: Seen, own: 'all' | Position | null): Hlc {
    let floor: Hlc | null = null;
    for (const member of this.#members) {
      const ownTo = own === 'all' ? this.#samples.get(this.#self)?.at(-1)?.position : (own ?? undefined);
      const promise = this.promiseAt(member, member === this.#self ? ownTo : seen[member]);
      if (floor === null || promise < floor) floor = promise;
    }
    return floor ?? 0n;
  }

  /** Every version at or below it is stable here. */
  watermark(): Hlc {
    let watermark: Hlc | null = null;
    for (const member of this.#members) {
      const floor = this.#floors.get(member) ?? 0n;
      if (watermark === null || floor < watermark) watermark = floor;
    }
    return watermark ?? 0n;
  }
}
