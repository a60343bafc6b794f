/** The clock of one region's machine: off by something, too fast or too slow, and now and then set. */
import type { Random } from '../../src/platform/random.ts';

/** Spans of what a clock is off by, and of what it is set back or forth by: µs, more than the window of stamping, seconds. */
const SPANS_MICROS = [200, 5_000, 250_000, 3_000_000];
const PARTS_PER_MILLION_MAX = 50_000;
const MILLION = 1_000_000n;

export class RegionClock {
  readonly #trueMicros: () => bigint;
  readonly #startedMicros: bigint;
  #offset = 0n;
  /** What it gains, in µs per second; an absurd clock's shows within the moments of a simulation. */
  #gain = 0n;
  #highest = 0n;

  constructor(trueMicros: () => bigint) {
    this.#trueMicros = trueMicros;
    this.#startedMicros = trueMicros();
  }

  nowMicros(): bigint {
    const now = this.#trueMicros();
    const shown = now + this.#offset + ((now - this.#startedMicros) * this.#gain) / MILLION;
    if (shown > this.#highest) this.#highest = shown;
    return shown;
  }

  /** The highest time that it ever showed. */
  get highestMicros(): bigint {
    return this.#highest;
  }

  /** Makes it a bad one from the start: wrong by a constant, and mostly at a wrong pace. */
  goWrong(random: Random): void {
    if (random.chance(0.7)) this.set(random);
    if (random.chance(0.5)) this.#gain = BigInt(random.below(2 * PARTS_PER_MILLION_MAX) - PARTS_PER_MILLION_MAX);
  }

  /** Shows the true time from now on. */
  goRight(): void {
    this.#offset = 0n;
    this.#gain = 0n;
  }

  /** Sets the clock back or forth: mostly a little, sometimes by more than the window of stamping. */
  set(random: Random): void {
    const span = random.pick(SPANS_MICROS);
    this.#offset += BigInt(random.below(2 * span) - span);
  }
}
