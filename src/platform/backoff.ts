// How long to wait before the next attempt: doubling up to a bound, with half of each delay left to
// chance, so that many clients of a server that comes back do not return in step.

import type { Random } from './random.ts';

export interface BackoffOptions {
  readonly random: Random;
  readonly minMs?: number;
  readonly maxMs?: number;
}

const MIN_MS = 100;
const MAX_MS = 10_000;

export class Backoff {
  readonly #random: Random;
  readonly #minMs: number;
  readonly #maxMs: number;
  #attempt = 0;

  constructor(options: BackoffOptions) {
    this.#random = options.random;
    this.#minMs = options.minMs ?? MIN_MS;
    this.#maxMs = options.maxMs ?? MAX_MS;
  }

  /** Attempts since the last reset. */
  get attempt(): number {
    return this.#attempt;
  }

  /** The delay before the next attempt, between half of its bound and the bound. */
  nextMs(): number {
    const boundMs = Math.min(this.#maxMs, this.#minMs * 2 ** this.#attempt);
    this.#attempt += 1;
    return boundMs / 2 + (boundMs / 2) * this.#random.float();
  }

  /** After a success: the next failure starts with the shortest delay again. */
  reset(): void {
    this.#attempt = 0;
  }
}
