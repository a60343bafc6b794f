// The wall clock, in microseconds, injected wherever time decides something.
//
// PostgreSQL stamps commits in microseconds, and Date.now() has milliseconds. The monotonic timer
// has the digits but does not follow when the clock of the machine is set. So the digits below the
// millisecond are interpolated with the timer, and every reading agrees with Date.now() to the
// millisecond: a stepped clock shows at once, as it does in the database beside it.

export interface PhysicalClock {
  /** Microseconds since 1970. May step back, as clocks of machines do. */
  nowMicros(): bigint;
}

const MICROS_PER_MILLI = 1_000n;
const NANOS_PER_MICRO = 1_000n;

export class SystemClock implements PhysicalClock {
  readonly #millis: () => number;
  readonly #nanos: () => bigint;
  /** What to add to the timer, in microseconds, to get the time. */
  #offset = 0n;

  constructor(millis: () => number = Date.now, nanos: () => bigint = () => process.hrtime.bigint()) {
    this.#millis = millis;
    this.#nanos = nanos;
  }

  nowMicros(): bigint {
    const floor = BigInt(this.#millis()) * MICROS_PER_MILLI;
    const timer = this.#nanos() / NANOS_PER_MICRO;
    const reading = timer + this.#offset;
    const ceiling = floor + MICROS_PER_MILLI - 1n;
    const agreed = reading < floor ? floor : reading > ceiling ? ceiling : reading;
    this.#offset = agreed - timer;
    return agreed;
  }
}

export const systemClock: PhysicalClock = new SystemClock();
