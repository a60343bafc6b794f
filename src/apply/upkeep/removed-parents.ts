/**
 * Which rows that foreign keys refer to were removed, until nothing can name them any more.
 *
 * A foreign key is checked where a user writes, and not by apply. So a row can only be left without its parent by a removal
 * whose region did not know of it. Whoever writes a child has either seen the removal, and is refused by the region's own check, or
 * is concurrent with it. Once the removal is stable, all that is concurrent with it has been applied here: only then can it be
 * told for good who names the row, and whatever parent a child came before has come by then.
 *
 * To look at children when they are applied would be wrong: a removal that looked before a child was visible, and was
 * committed after it, has seen the child and leaves it an orphan all the same.
 *
 * What is kept here is lost with the agent, and is taken in again from the log with what conflicts are judged from.
 */
import type { Image } from '../../change/change-event.ts';
import type { Hlc } from '../../change/hlc.ts';
import { compareVersions, type Version } from '../../change/version.ts';
import type { TableShape } from '../apply-port.ts';
import { type ChainLink, formerKey, type Step } from '../net-change.ts';

export type RemovedParent = {
  /** The id of its table. */
  readonly table: string;
  readonly version: Version;
  readonly event_id: string;
  /** The values that children may name; null where the whole table was emptied. */
  readonly values: Image | null;
};

/** By the id of a table, the columns of it that foreign keys refer to. */
export type ReferencedColumns = ReadonlyMap<string, ReadonlySet<string>>;

/** Looks for the rows that removed ones left behind, and keeps them on record. */
export interface OrphanLook {
  /** What is referred to now; a table that is new may be missing for some seconds. */
  referenced(): Promise<ReferencedColumns>;
  /** May be asked again for the same removals. */
  look(removed: readonly RemovedParent[]): Promise<void>;
  /** So many removals are not looked at, because too many were kept already; null for those that the log does not hold any more. */
  giveUp(count: number | null): void;
}

export const REMOVED_MAX = 100_000;
/** The lane waits meanwhile, and applies what is due between two looks. */
export const REMOVED_PER_LOOK = 10_000;

export class RemovedParents {
  #referenced: ReferencedColumns = new Map();
  #removed: RemovedParent[] = [];
  readonly #max: number;

  constructor(max = REMOVED_MAX) {
    this.#max = max;
  }

  get size(): number {
    return this.#removed.length;
  }

  refer(referenced: ReferencedColumns): void {
    this.#referenced = referenced;
  }

  /** The removals among steps; to be added once they are applied. */
  among(steps: readonly Step[]): RemovedParent[] {
    if (this.#referenced.size === 0) return [];
    return steps.flatMap((step) => {
      if (step.kind === 'truncate') return this.#of(step.shape, {}, step.link);
      return [...step.tables.values()].flatMap(({ shape, ops }) =>
        this.#referenced.has(shape.id)
          ? [...ops.values()].flatMap(({ pk, chain }) => chain.flatMap((link) => this.#of(shape, pk, link)))
          : [],
      );
    });
  }

  /** Returns how many of the oldest had to be given up. */
  add(removed: readonly RemovedParent[]): number {
    for (const each of removed) this.#removed.push(each);
    const tooMany = Math.max(0, this.#removed.length - this.#max);
    if (tooMany > 0) this.#removed = this.#removed.slice(tooMany);
    return tooMany;
  }

  /** Those up to a stable version, oldest version first. */
  upTo(stable: Hlc): RemovedParent[] {
    return this.#removed
      .filter(({ version }) => version.hlc <= stable)
      .sort((a, b) => compareVersions(a.version, b.version));
  }

  forget(removed: readonly RemovedParent[]): void {
    const gone = new Set(removed);
    this.#removed = this.#removed.filter((each) => !gone.has(each));
  }

  #of(shape: TableShape, pk: Image, { event, source, removes }: ChainLink): RemovedParent[] {
    const columns = this.#referenced.get(shape.id);
    if (columns === undefined) return [];
    const { before_image: before, after_image: after, event_id, region_id } = event;
    const removed = { table: shape.id, version: { hlc: source.hlc, origin: region_id }, event_id };
    if (event.operation === 'TRUNCATE') return [{ ...removed, values: null }];
    // A change of key comes as a removal as well.
    if (!removes && formerKey(shape, event) !== null) return [];
    const known: Image = { ...pk, ...before };
    const values = Object.fromEntries(
      [...columns].flatMap((name) => (name in known ? [[name, known[name] ?? null]] : [])),
    );
    // A row that stays can cease to have the value that others name.
    const isOther = (name: string): boolean =>
      before !== null && after?.[name] !== undefined && after[name] !== before[name];
    return removes || [...columns].some(isOther) ? [{ ...removed, values }] : [];
  }
}
