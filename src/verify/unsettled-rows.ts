// Tells rows that are in flight from rows that truly differ.
//
// While writes go on, a row that differs is mostly one whose change has not arrived yet. So suspects are
// looked up by key in all regions, again and again, each on its own:
//
//   the same everywhere                         → settled, forgotten
//   as it was at the last look, for settleMs    → different: nothing is under way for it any more
//   changed since the last look                 → in flight, and the time starts again
//   still in flight after giveUpMs              → given up: a hot row, or one that a region never gets
//
// Both times are counted from looks, not from writes, so that no clock of a server takes part.
// The set is bounded: when it is full, the one that fills it has to look first.

import { invariant } from '../platform/assert.ts';
import { type Key, keyText } from './key-range.ts';
import type { RowSource } from './region-connection.ts';

export interface SettleLimits {
  /** How long a difference may stay as it is before it counts. */
  readonly settleMs: number;
  /** How long a row may go on changing without ever being equal. */
  readonly giveUpMs: number;
}

export interface Settled {
  /** Rows that were seen to differ and have become equal. */
  readonly settled: number;
  /** Equal rows whose keys are written differently: 1.0 and 1.00. */
  readonly spelledDifferently: number;
  readonly different: readonly Key[];
  readonly inFlight: readonly InFlightRow[];
}

export interface InFlightRow {
  readonly key: Key;
  /** Regions in which the row changed while it was looked at. */
  readonly changedIn: readonly number[];
}

interface Suspect {
  readonly key: Key;
  readonly firstSeenMs: number;
  readonly changedIn: Set<number>;
  /** Digest per region at the last look; null where there is no row. */
  digests: readonly (string | null)[] | null;
  unchangedSinceMs: number;
}

export const UNSETTLED_MAX = 20_000;
const LOOK_UP_MAX = 500;

export class UnsettledRows {
  readonly #regions: readonly RowSource[];
  readonly #limits: SettleLimits;
  readonly #nowMs: () => number;
  readonly #suspects = new Map<string, Suspect>();

  constructor(regions: readonly RowSource[], limits: SettleLimits, nowMs: () => number) {
    this.#regions = regions;
    this.#limits = limits;
    this.#nowMs = nowMs;
  }

  get size(): number {
    return this.#suspects.size;
  }

  get isFull(): boolean {
    return this.size >= UNSETTLED_MAX;
  }

  /** How long to wait between two looks. */
  get lookEveryMs(): number {
    return Math.min(Math.max(this.#limits.settleMs / 8, 20), 500);
  }

  add(key: Key): void {
    const text = keyText(key);
    if (this.#suspects.has(text)) return;
    const now = this.#nowMs();
    this.#suspects.set(text, {
      key,
      firstSeenMs: now,
      changedIn: new Set(),
      digests: null,
      unchangedSinceMs: now,
    });
  }

  /** Looks at all of them once and takes out those that are decided. */
  async look(): Promise<Settled> {
    let settled = 0;
    let spelledDifferently = 0;
    const different = new Map<string, Key>();
    const inFlight = new Map<string, InFlightRow>();
    const suspects = [...this.#suspects.values()];
    for (let from = 0; from < suspects.length; from += LOOK_UP_MAX) {
      const batch = suspects.slice(from, from + LOOK_UP_MAX);
      const keys = batch.map(({ key }) => key);
      const found = await Promise.all(this.#regions.map((region) => region.lookUp(keys)));
      for (const [index, suspect] of batch.entries()) {
        const rows = found.map((list) => list[index] ?? null);
        const wasDifferent = suspect.digests !== null;
        const fate = this.#decide(
          suspect,
          rows.map((row) => row?.digest ?? null),
        );
        if (fate === 'undecided') continue;
        this.#suspects.delete(keyText(suspect.key));
        const spellings = new Set(rows.flatMap((row) => (row === null ? [] : [keyText(row.key)])));
        // Two spellings of one key may have been added as two suspects; the first region's stands for both.
        const [name = keyText(suspect.key)] = spellings;
        const key = JSON.parse(name) as Key;
        if (fate === 'different') different.set(name, key);
        else if (fate === 'in-flight') inFlight.set(name, { key, changedIn: [...suspect.changedIn] });
        else if (spellings.size > 1) spelledDifferently += 1;
        else if (wasDifferent) settled += 1;
      }
    }
    return { settled, spelledDifferently, different: [...different.values()], inFlight: [...inFlight.values()] };
  }

  #decide(suspect: Suspect, digests: readonly (string | null)[]): 'equal' | 'different' | 'in-flight' | 'undecided' {
    invariant(digests.length === this.#regions.length, 'every region answers for every key');
    if (digests.every((digest) => digest === digests[0])) return 'equal';
    const now = this.#nowMs();
    const before = suspect.digests;
    const changed = digests.flatMap((digest, region) => (before === null || before[region] !== digest ? [region] : []));
    suspect.digests = digests;
    if (changed.length > 0) {
      suspect.unchangedSinceMs = now;
      if (before !== null) for (const region of changed) suspect.changedIn.add(region);
    } else if (now - suspect.unchangedSinceMs >= this.#limits.settleMs) return 'different';
    return now - suspect.firstSeenMs >= this.#limits.giveUpMs ? 'in-flight' : 'undecided';
  }
}
