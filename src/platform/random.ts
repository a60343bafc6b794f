// Randomness, injected wherever chance decides something, so that a simulation replays from its
// seed. The seeded generator is sfc32: fast, small, and it passes PractRand; its numbers are part
// of a seed's meaning and must not change between versions.

import { randomFillSync } from 'node:crypto';
import { invariant } from './assert.ts';

export interface Random {
  /** Uniform in [0, 2^32). */
  uint32(): number;
  /** Uniform in [0, 1). */
  float(): number;
  /** Uniform in [0, bound), for bounds up to 2^32. */
  below(bound: number): number;
  /** True with the given probability. */
  chance(probability: number): boolean;
  /** One element of an array that is not empty. */
  pick<T>(items: readonly T[]): T;
  /** A shuffled copy. */
  shuffle<T>(items: readonly T[]): T[];
}

const TWO_POW_32 = 0x1_0000_0000;

class Generator implements Random {
  readonly uint32: () => number;

  constructor(uint32: () => number) {
    this.uint32 = uint32;
  }

  float(): number {
    return this.uint32() / TWO_POW_32;
  }

  below(bound: number): number {
    invariant(Number.isInteger(bound) && bound > 0 && bound <= TWO_POW_32, 'a bound is an integer above zero');
    // Drawing again above the largest multiple keeps small numbers from being more likely.
    const limit = TWO_POW_32 - (TWO_POW_32 % bound);
    for (;;) {
      const drawn = this.uint32();
      if (drawn < limit) return drawn % bound;
    }
  }

  chance(probability: number): boolean {
    return this.float() < probability;
  }

  pick<T>(items: readonly T[]): T {
    invariant(items.length > 0, 'there is something to pick');
    return items[this.below(items.length)] as T;
  }

  shuffle<T>(items: readonly T[]): T[] {
    const shuffled = [...items];
    for (let last = shuffled.length - 1; last > 0; last -= 1) {
      const other = this.below(last + 1);
      [shuffled[last], shuffled[other]] = [shuffled[other] as T, shuffled[last] as T];
    }
    return shuffled;
  }
}

/** The same numbers for the same seed, on every machine. */
export function seededRandom(seed: number): Random {
  let a = 0;
  let b = 0x9e3779b9;
  let c = seed >>> 0;
  let counter = Math.floor(seed / TWO_POW_32) >>> 0 || 1;
  const next = (): number => {
    const result = (a + b + counter) >>> 0;
    counter = (counter + 1) >>> 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) >>> 0;
    c = ((c << 21) | (c >>> 11)) >>> 0;
    c = (c + result) >>> 0;
    return result;
  };
  // Seeds that are close to each other must not give similar beginnings.
  for (let round = 0; round < 15; round += 1) next();
  return new Generator(next);
}

const pool = new Uint32Array(256);
let used = pool.length;

/** Numbers of the operating system's generator, drawn in blocks. */
export const systemRandom: Random = new Generator(() => {
  if (used === pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  const value = pool[used] as number;
  used += 1;
  return value;
});
