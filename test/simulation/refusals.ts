/**
 * Constraints that one region has and others do not: what violates one is set aside there, until an operator drops it and has what
 * waits applied again.
 *
 * Users never write what their own region refuses.
 */
import type { Image } from '../../src/change/change-event.ts';
import type { Random } from '../../src/platform/random.ts';

const VALUE = /^t(\d+)$/;
/** Each constraint refuses one of so many values. */
const REFUSED_EVERY = 2;

export class Refusal {
  readonly #tables: ReadonlySet<string>;
  readonly #remainder: number;
  #isDropped = false;

  constructor(tables: readonly string[], remainder: number) {
    this.#tables = new Set(tables);
    this.#remainder = remainder;
  }

  /** Whether the constraint, while it stands, takes no such value of the column `v`. */
  covers(value: string): boolean {
    const digits = VALUE.exec(value)?.[1];
    return digits !== undefined && Number(digits) % REFUSED_EVERY === this.#remainder;
  }

  refuses(table: string, { v }: Image): boolean {
    return !this.#isDropped && this.#tables.has(table) && v != null && this.covers(v);
  }

  drop(): void {
    this.#isDropped = true;
  }
}

/** By region: some have a constraint, no two the same. */
export function chooseRefusals(
  random: Random,
  regions: readonly string[],
  tables: readonly string[],
): ReadonlyMap<string, Refusal> {
  const chosen = regions.slice(0, REFUSED_EVERY).filter(() => random.chance(0.5));
  const all = chosen.length > 0 ? chosen : regions.slice(0, 1);
  return new Map(all.map((region, remainder) => [region, new Refusal(tables, remainder)]));
}
