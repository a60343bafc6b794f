/** The clock of one region's machine: off by something, and now and then set. */
import type { Random } from '../../src/platform/random.ts';

const OFFSET_MICROS_MAX = 250_000;
const SMALL_STEP_MICROS_MAX = 200;

export class RegionClock {
  readonly #trueMicros: () => bigint;
  #offset = 0n;

  constructor(trueMicros: () => bigint) {
    this.#trueMicros = trueMicros;
  }

  nowMicros(): bigint {
    return this.#trueMicros() + this.#offset;
  }

  /** Sets the clock: mostly a little back or forth, sometimes by more than the window of stamping. */
  set(random: Random): void {
    const span = random.chance(0.7) ? SMALL_STEP_MICROS_MAX : OFFSET_MICROS_MAX;
    this.#offset += BigInt(random.below(2 * span) - span);
  }
}
