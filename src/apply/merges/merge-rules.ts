/**
 * By what rules tables merge here: what the lane knows of the registry (`syncline.merge_version` and its companions).
 *
 * A table is tracked, and the history of its rows kept, from before this region acknowledges its first rule: another region
 * activates a rule only once all have acknowledged it and it has applied what they had by then, so whatever its events are
 * concurrent with is in the history. It stays tracked when last writer wins is active again.
 */
import { type KnownMerges, NO_MERGES, type Validity } from '../../resolve/known-merges.ts';
import type { MergeRule } from '../../resolve/merge-rule.ts';

const NOTHING_MORE: Validity = { not_null: [], checks: [], isPlain: true };

type Table = { readonly schema: string; readonly table: string };

export class MergeRules {
  readonly #load: () => Promise<KnownMerges>;
  #registry: KnownMerges = NO_MERGES;

  constructor(load: () => Promise<KnownMerges> = async () => NO_MERGES) {
    this.#load = load;
  }

  /** Returns whether a table is tracked now that was not. */
  async reload(): Promise<boolean> {
    const known = this.#registry.tracked;
    this.#registry = await this.#load();
    return [...this.#registry.tracked].some((table) => !known.has(table));
  }

  get areAny(): boolean {
    return this.#registry.tracked.size > 0;
  }

  isTracked({ schema, table }: Table): boolean {
    return this.#registry.tracked.has(JSON.stringify([schema, table]));
  }

  /** What this region merges the table by; undefined for last writer wins. */
  active({ schema, table }: Table): MergeRule | undefined {
    const version = this.#registry.active.get(JSON.stringify([schema, table]));
    return version === undefined ? undefined : this.#registry.rules.get(version)?.rule;
  }

  validity(rule: MergeRule): Validity {
    for (const registered of this.#registry.rules.values()) if (registered.rule === rule) return registered.validity;
    return NOTHING_MORE;
  }

  /** How conflicts that a version settles are named: by its strategies, or as a function's. */
  strategy(version: string): string {
    const rule = this.rule(version);
    if (rule === undefined) return 'unknown';
    const rows = typeof rule.rows === 'string' ? rule.rows : 'function';
    return [...new Set([rows, ...Object.values(rule.columns).map(({ strategy }) => strategy)])].join('+');
  }

  /** Undefined for an event that names none, and where the version has not come here. */
  rule(version: string | undefined): MergeRule | undefined {
    return version === undefined ? undefined : this.#registry.rules.get(version)?.rule;
  }
}
