// Time that passes at once, for code that waits with node:timers/promises.

import { syncBuiltinESMExports } from 'node:module';
import type { TestContext } from 'node:test';

const STEP_MS = 1_000;

/** Until the end of the test, timers go off only while `until` is waited for. */
export class PassingTime {
  readonly #context: TestContext;

  constructor(context: TestContext) {
    this.#context = context;
    context.mock.timers.enable({ apis: ['setTimeout'] });
    // What was imported by name before is the mock only then.
    syncBuiltinESMExports();
    context.after(() => {
      context.mock.timers.reset();
      syncBuiltinESMExports();
    });
  }

  async until<T>(coming: Promise<T>): Promise<T> {
    let isOver = false;
    const over = (): void => {
      isOver = true;
    };
    coming.then(over, over);
    while (!isOver) {
      await new Promise(setImmediate);
      this.#context.mock.timers.tick(STEP_MS);
    }
    return await coming;
  }
}
