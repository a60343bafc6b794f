/**
 * The schedule: which actor takes its next step. Everything that happens in the simulation waits here first, so one seed
 * is one interleaving, and replaying the seed replays it.
 *
 * An actor that was killed never steps again; what it was about to do does not happen.
 */
import type { Random } from '../../src/platform/random.ts';

type Waiting = {
  readonly actor: string;
  readonly what: string;
  readonly resume: () => void;
  readonly when: (() => boolean) | null;
  /** The step before which it is not this actor's turn. */
  readonly notBefore: number;
};

export class Scheduler {
  readonly #random: Random;
  #waiting: Waiting[] = [];
  readonly #dead = new Set<string>();
  /** The last steps taken, for the report of a failing seed. */
  readonly trace: string[] = [];
  readonly #keepsTrace: boolean;
  steps = 0;
  /** Called before each step: lets time pass, and lets faults happen. */
  beforeStep: () => void = () => {};

  constructor(random: Random, keepsTrace: boolean) {
    this.#random = random;
    this.#keepsTrace = keepsTrace;
  }

  /** Resolves when it is this actor's turn, which it is only while `when` holds. */
  async step(actor: string, what: string, when: (() => boolean) | null = null): Promise<void> {
    await new Promise<void>((resume) => {
      if (!this.#dead.has(actor)) this.#waiting.push({ actor, what, resume, when, notBefore: 0 });
    });
  }

  /** Resolves when the others have had about so many turns each; at once when nobody else can step. */
  async rest(actor: string, what: string, turns: number): Promise<void> {
    await new Promise<void>((resume) => {
      const notBefore = this.steps + turns * this.#waiting.length;
      if (!this.#dead.has(actor)) this.#waiting.push({ actor, what, resume, when: null, notBefore });
    });
  }

  kill(actor: string): void {
    this.#dead.add(actor);
    this.#waiting = this.#waiting.filter((waiting) => waiting.actor !== actor);
  }

  isDead(actor: string): boolean {
    return this.#dead.has(actor);
  }

  note(what: string): void {
    if (this.#keepsTrace) this.trace.push(`${this.steps} ${what}`);
  }

  /** Lets actors step until none can, or `stepsMax` is reached; false then. */
  async run(stepsMax: number): Promise<boolean> {
    for (let taken = 0; taken < stepsMax; taken += 1) {
      await everybodyRanOn();
      this.beforeStep();
      let next = this.#next();
      if (next === null) {
        // A fault that struck just now may have let somebody go on.
        await everybodyRanOn();
        next = this.#next();
      }
      if (next === null) return true;
      this.#waiting.splice(this.#waiting.indexOf(next), 1);
      this.steps += 1;
      this.note(`${next.actor}: ${next.what}`);
      next.resume();
    }
    return false;
  }

  /** One whose turn it can be; of those who rest the first to be rested, where all others wait for something. */
  #next(): Waiting | null {
    const runnable: Waiting[] = [];
    let resting: Waiting | null = null;
    for (const waiting of this.#waiting) {
      if (waiting.notBefore > this.steps) {
        if (resting === null || waiting.notBefore < resting.notBefore) resting = waiting;
      } else if (waiting.when === null || waiting.when()) runnable.push(waiting);
    }
    return runnable.length === 0 ? resting : this.#random.pick(runnable);
  }
}

/** Microtasks first: whoever was resumed runs on to its next step. */
async function everybodyRanOn(): Promise<void> {
  await new Promise<void>((resolve) => process.nextTick(resolve));
}
