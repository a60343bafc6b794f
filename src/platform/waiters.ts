/** Those who wait for a change that may not come for days: who waits no more leaves nothing behind. */
export class Waiters {
  readonly #waiting = new Set<() => void>();

  get count(): number {
    return this.#waiting.size;
  }

  /** Resolves when all are woken, at the limit, or when the signal aborts. */
  async wait({ limitMs, signal }: { limitMs?: number | undefined; signal?: AbortSignal | undefined }): Promise<void> {
    if (signal?.aborted === true) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const wake = (): void => resolve();
    const timer = limitMs === undefined ? undefined : setTimeout(wake, limitMs);
    signal?.addEventListener('abort', wake);
    this.#waiting.add(wake);
    await promise;
    this.#waiting.delete(wake);
    signal?.removeEventListener('abort', wake);
    clearTimeout(timer);
  }

  wakeAll(): void {
    for (const wake of this.#waiting) wake();
  }
}
