/**
 * Tables whose turn failed: each rests by itself, twice as long each time, while the others go on.
 *
 * Most failures pass, as a lock does that a user holds for a moment. One that lasts is told, for as long as it does: nobody else
 * would know why a table is not done with.
 */
import type { ErrorCode } from '../platform/errors.ts';

const REST_MS_MIN = 1_000;
const REST_MS_MAX = 30_000;
/** So many in a row are told. */
const LASTING = 3;

type Failed = { readonly times: number; readonly restsUntilMs: number; readonly detail: string };

export type LastingFailure = { readonly code: ErrorCode; readonly detail: string; readonly table: string };

export class FailedTurns {
  /** By table. */
  readonly #failed = new Map<string, Failed>();

  get lasting(): readonly LastingFailure[] {
    return [...this.#failed]
      .filter(([, { times }]) => times >= LASTING)
      .map(([table, { detail }]) => ({ code: 'SYN-K034', detail: `${table}: ${detail}`, table }));
  }

  isResting(table: string, nowMs: number): boolean {
    return nowMs < (this.#failed.get(table)?.restsUntilMs ?? 0);
  }

  /** Whether it is to be told from now on. */
  failed(table: string, error: unknown, nowMs: number): boolean {
    const times = (this.#failed.get(table)?.times ?? 0) + 1;
    const restMs = Math.min(REST_MS_MAX, REST_MS_MIN * 2 ** (times - 1));
    const detail = error instanceof Error ? error.message : String(error);
    this.#failed.set(table, { times, restsUntilMs: nowMs + restMs, detail });
    return times === LASTING;
  }

  passed(table: string): void {
    this.#failed.delete(table);
  }
}
