/**
 * The clock of the database server, as it is known between two readings.
 *
 * Commit timestamps are the server's, so its clock is what leads and drift are measured against; the agent's machine may
 * show another time. A reading tells what the server showed some time between question and answer; so at the answer it
 * shows at least that, and at most that and the time between. What the readings before let expect is kept within these
 * bounds, and counts for no more than the least where there were none: what waits for the clock to pass a stamp does not
 * go on too soon. Between readings the clock goes on at the pace of the agent's monotonic one.
 */
import { type Hlc, hlcMicrosCeil } from '../change/hlc.ts';

type Reading = { readonly serverMicros: bigint; readonly receivedMs: number };

export class DatabaseClock {
  readonly #monotonicMs: () => number;
  #reading: Reading | null = null;

  constructor(monotonicMs: () => number = () => performance.now()) {
    this.#monotonicMs = monotonicMs;
  }

  /** Asks for a reading. */
  async read(ask: () => Promise<bigint>): Promise<void> {
    const askedMs = this.#monotonicMs();
    const least = await ask();
    const receivedMs = this.#monotonicMs();
    const most = least + toMicros(receivedMs - askedMs);
    const expected = this.nowMicros() ?? least;
    const serverMicros = expected < least ? least : expected > most ? most : expected;
    this.#reading = { serverMicros, receivedMs };
  }

  /** Unix µs; null before the first reading. */
  nowMicros(): bigint | null {
    if (this.#reading === null) return null;
    const { serverMicros, receivedMs } = this.#reading;
    return serverMicros + toMicros(this.#monotonicMs() - receivedMs);
  }

  /** How long ago it was read. */
  get ageMs(): number {
    return this.#reading === null ? Number.POSITIVE_INFINITY : this.#monotonicMs() - this.#reading.receivedMs;
  }
}

function toMicros(ms: number): bigint {
  return BigInt(Math.floor(ms * 1_000));
}

/** By how many µs a stamp is ahead of a clock; 0 where it is not. */
export function leadMicros(stamp: Hlc, nowMicros: bigint): bigint {
  const lead = hlcMicrosCeil(stamp) - nowMicros;
  return lead > 0n ? lead : 0n;
}
