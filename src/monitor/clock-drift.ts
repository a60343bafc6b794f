/**
 * How far the clock of another region's database is ahead of the local one's, measured as NTP does.
 *
 * A heartbeat carries its commit time by the source's clock, and is read here at a time of the local clock. The difference
 * is the way from commit to reading less the drift. The least one of a window is that of the quickest way. Each region
 * puts its least differences into its own heartbeats, so both directions are known: half of what they differ by is the
 * drift, and it is wrong by at most half of their sum, since neither way can be shorter than nothing. While only one
 * direction is known, the source is ahead by at least what that one says, and by how much more cannot be told.
 *
 * A clock that is set forward shows with the next heartbeat, one that is set back only once the window has passed.
 */

/** A difference of clocks below this is common, and costs nothing but the order of writes that nobody could tell apart. */
export const DRIFT_WARN_MS = 100;

const SLICES = 6;
const SLICE_MS = 5_000;

export type ClockDrift = {
  /** By how many ms the source is ahead; negative where it is behind. */
  readonly drift_ms: number;
  /** It is wrong by at most that much; null while only one direction is known. */
  readonly error_ms: number | null;
};

/** By how many ms the clocks differ at least, in whichever direction. */
export function surelyApartMs({ drift_ms, error_ms }: ClockDrift): number {
  return Math.max(0, error_ms === null ? drift_ms : Math.abs(drift_ms) - error_ms);
}

export class DriftWindow {
  readonly #monotonicMs: () => number;
  readonly #slices = Array.from({ length: SLICES }, () => ({ number: Number.NEGATIVE_INFINITY, leastMs: 0 }));
  #theirs: { readonly delayMs: number; readonly atMs: number } | null = null;

  constructor(monotonicMs: () => number = () => performance.now()) {
    this.#monotonicMs = monotonicMs;
  }

  /** Takes a heartbeat: the time from its commit to its reading, by two clocks, and what its region measured of ours. */
  record(delayMs: number, theirDelayMs: number | null): void {
    const now = this.#monotonicMs();
    const number = Math.floor(now / SLICE_MS);
    const slice = this.#slices[number % SLICES];
    if (slice === undefined) return;
    if (slice.number !== number) {
      slice.number = number;
      slice.leastMs = delayMs;
    } else if (delayMs < slice.leastMs) slice.leastMs = delayMs;
    this.#theirs = theirDelayMs === null ? null : { delayMs: theirDelayMs, atMs: now };
  }

  /** The least delay of the window; null where there was no heartbeat. */
  get leastMs(): number | null {
    const oldest = Math.floor(this.#monotonicMs() / SLICE_MS) - SLICES;
    const recent = this.#slices.filter((slice) => slice.number > oldest).map((slice) => slice.leastMs);
    return recent.length === 0 ? null : Math.min(...recent);
  }

  get drift(): ClockDrift | null {
    const ours = this.leastMs;
    if (ours === null) return null;
    if (this.#theirs === null) return { drift_ms: rounded(-ours), error_ms: null };
    const { delayMs: theirs } = this.#theirs;
    return { drift_ms: rounded((theirs - ours) / 2), error_ms: rounded(Math.max(0, (theirs + ours) / 2)) };
  }
}

/** To a tenth of a millisecond, and no negative zero. */
function rounded(ms: number): number {
  return Math.round(ms * 10) / 10 + 0;
}
