/**
 * When the lane takes what has come back of its own stream.
 *
 * No user waits for it, and a transaction of the database for each local one would cost the machine as much as applying what
 * other regions send. So after a batch the own stream rests for a while, and what comes meanwhile goes together. It does not rest while
 * more waits than fitted into the batch, nor while something of another region waits for it.
 */

/** Far below the period of heartbeats, whose floors wait with it. */
export const ECHO_REST_MS = 50;

export class EchoPace {
  #restsToMs = 0;
  #isAwaited = false;

  /** Not before this time; 0 for at once. */
  get notBeforeMs(): number {
    return this.#isAwaited ? 0 : this.#restsToMs;
  }

  /** An event of another region waits for the own stream. */
  awaited(): void {
    this.#isAwaited = true;
  }

  /** A batch of the own stream was applied. */
  applied(nowMs: number, isMoreWaiting: boolean): void {
    this.#isAwaited = false;
    this.#restsToMs = isMoreWaiting ? 0 : nowMs + ECHO_REST_MS;
  }
}
