/**
 * Events that have passed the lane, as they concern one row each: of most only what the judge of conflicts needs is kept.
 */
import { type ChangeEvent, type Image, isoToMicros } from '../../change/change-event.ts';
import type { Hlc } from '../../change/hlc.ts';
import { haveSeenTheSame, type Position, type Seen } from '../../change/position.ts';
import type { Version } from '../../change/version.ts';
import type { Contender, Loss, Origination } from '../../resolve/losses.ts';
import { EVERY_ROW, type RowKey, type TableShape } from '../apply-port.ts';
import { isPushed } from '../decide.ts';
import { type ChainLink, formerKey, type SourceTransaction, type Step } from '../net-change.ts';
import { NOT_COLD } from './cold-events.ts';
import { PackedEvents } from './packed-events.ts';

export type PassedSource = Origination & { readonly first_offset: number | undefined; readonly is_pushed: boolean };

/** What an event is kept and forgotten with. */
export type EventHolder = { readonly isForgotten: boolean };

/** An event that has passed the lane, as it concerns one row. */
export type Passed = Omit<Contender, 'found'> & {
  readonly source: PassedSource;
  /** Whether it left nothing of the row. */
  readonly removes: boolean;
  /** The merge version that it names. */
  readonly merge: string | undefined;
  /** null once its image is read from the log again. */
  event: ChangeEvent | null;
  found?: Image | null | undefined;
  readonly holder: EventHolder;
  /** Its place in `ColdEvents`, if it has been written there. */
  coldAt: number;
  isSettled: boolean;
  isNotLost?: boolean;
};

export type RowLoss = Loss<Passed> & { readonly shape: TableShape; readonly key: RowKey };

/** Whether an event on the row may be packed. */
export type Packs = (shape: TableShape, key: RowKey, source: PassedSource) => boolean;

/** The highest floor that the line had stated before a transaction of the batch, by its position. */
export type StatedBefore = (position: Position) => Hlc;

const NOTHING_SEEN: Seen = {};
const NOTHING_STATED: StatedBefore = () => 0n;
const NO_ENTRIES: PassedEntry[] = [];

/** An event on one row. */
export type PassedEntry = { readonly shape: TableShape; readonly key: RowKey; readonly passed: Passed };

/** Events of one batch of one origin, to be kept or forgotten together. */
export class PassedBatch implements EventHolder {
  readonly origin: string;
  isForgotten = false;
  highest: Hlc = 0n;
  firstOffset: number | null = null;
  #stated: StatedBefore;
  readonly #eventsMax: number;
  #sources: Map<SourceTransaction, PassedSource> | null = null;
  /** Of a giant, by table. */
  #packed: Map<string, PackedEvents> | null = null;
  #isTooLarge = false;
  #seen: Seen = NOTHING_SEEN;
  #entries: PassedEntry[] = [];
  /** How many there were that are kept by their rows alone. */
  #released = 0;

  constructor(origin: string, stated: StatedBefore, eventsMax = Number.POSITIVE_INFINITY) {
    this.origin = origin;
    this.#stated = stated;
    this.#eventsMax = eventsMax;
  }

  /** Those that are not packed, until they are released. */
  get entries(): readonly PassedEntry[] {
    return this.#entries;
  }

  /** From now on they are kept by their rows alone. There may be as many batches as events: what else took room goes. */
  release(): void {
    this.#released += this.#entries.length;
    this.#entries = NO_ENTRIES;
    this.#sources = null;
    this.#stated = NOTHING_STATED;
    this.#seen = NOTHING_SEEN;
  }

  /** It is forgotten, and whoever still names it keeps nothing by that. */
  clear(): void {
    this.release();
    this.#packed = null;
  }

  get size(): number {
    let size = this.#entries.length + this.#released;
    for (const { total } of this.packed) size += total;
    return size;
  }

  get packed(): Iterable<PackedEvents> {
    return this.#packed?.values() ?? [];
  }

  /** There were more events than may be kept, so that none is. */
  get isTooLarge(): boolean {
    return this.#isTooLarge;
  }

  /** Takes a piece of a giant transaction; its images are read from the log again. */
  takePiece(steps: readonly Step[], packs: Packs): void {
    this.#each(steps, (shape, key, link) => this.#pack(shape, key, link, packs));
    if (this.#isTooLarge || this.size <= this.#eventsMax) return;
    this.#isTooLarge = true;
    this.#entries = [];
    this.#packed = null;
  }

  /** `keepsImages` is false where they would be too many. */
  take(steps: readonly Step[], keepsImages: boolean): void {
    this.#each(steps, (shape, key, link) => this.#take(shape, key, link, keepsImages));
  }

  /** Rows that are only told of are no events. */
  #each(steps: readonly Step[], take: (shape: TableShape, key: RowKey, link: ChainLink) => void): void {
    for (const step of steps) {
      if (step.kind === 'truncate') take(step.shape, EVERY_ROW, step.link);
      else if (step.areClaims !== true) {
        for (const { shape, ops } of step.tables.values()) {
          for (const op of ops.values()) for (const link of op.chain) take(shape, op.key, link);
        }
      }
    }
    this.#sources = null;
  }

  #pack(shape: TableShape, key: RowKey, link: ChainLink, packs: Packs): void {
    const source = this.#source(link.source);
    if (this.#isTooLarge) return;
    if (key === EVERY_ROW || source.is_pushed || !packs(shape, key, source)) {
      // What came to the row since an earlier piece keeps this one from being packed, and it speaks for that one too.
      this.#packed?.get(shape.id)?.drop(key);
      this.#entries.push({ shape, key, passed: toPassed(shape, link, source, this, false) });
      return;
    }
    this.#packed ??= new Map();
    let packed = this.#packed.get(shape.id);
    if (packed === undefined) {
      packed = new PackedEvents(shape, source, this);
      this.#packed.set(shape.id, packed);
    }
    packed.add(key, link.event.transaction.index, { removes: link.removes, merge: link.event.merge });
  }

  #take(shape: TableShape, key: RowKey, link: ChainLink, keepsImages: boolean): void {
    const passed = toPassed(shape, link, this.#source(link.source), this, keepsImages);
    this.#entries.push({ shape, key, passed });
  }

  #source(transaction: SourceTransaction): PassedSource {
    // That of a single event is asked for once, or twice with a change of its key.
    const isShared = transaction.events.length > 1;
    const known = isShared ? this.#sources?.get(transaction) : undefined;
    if (known !== undefined) return known;
    const { hlc, position, first_offset, committed_at } = transaction;
    // Most neighbours had seen the same.
    if (!haveSeenTheSame(this.#seen, transaction.seen)) this.#seen = transaction.seen;
    const is_pushed = isPushed(hlc, isoToMicros(committed_at));
    const stated = this.#stated(position);
    const source = { origin: this.origin, hlc, position, seen: this.#seen, stated, first_offset, is_pushed };
    if (isShared) {
      this.#sources ??= new Map();
      this.#sources.set(transaction, source);
    }
    if (hlc > this.highest) this.highest = hlc;
    if (first_offset !== undefined && (this.firstOffset === null || first_offset < this.firstOffset)) {
      this.firstOffset = first_offset;
    }
    return source;
  }
}

export function versionOf({ source }: Passed): Version {
  return { hlc: source.hlc, origin: source.origin };
}

/** What the event left of the row: null for a removal. */
export function imageOf({ removes }: Passed, event: ChangeEvent): Image | null {
  return removes ? null : event.after_image;
}

export function originationOf({ event, source }: ChainLink): PassedSource {
  const { hlc, position, seen, first_offset, committed_at } = source;
  const is_pushed = isPushed(hlc, isoToMicros(committed_at));
  return { origin: event.region_id, hlc, position, seen, first_offset, is_pushed };
}

export function toPassed(
  shape: TableShape,
  { event, removes }: ChainLink,
  source: PassedSource,
  holder: EventHolder,
  keepsImage: boolean,
): Passed {
  const isTruncate = event.operation === 'TRUNCATE';
  const isElsewhere = !removes && !isTruncate && formerKey(shape, event) !== null;
  return {
    source,
    index: event.transaction.index,
    isTruncate,
    left: source.is_pushed && !removes && event.after_image !== null ? event.after_image : undefined,
    found: isTruncate ? undefined : isElsewhere ? null : event.before_image,
    removes,
    merge: event.merge,
    event: keepsImage ? event : null,
    holder,
    coldAt: NOT_COLD,
    isSettled: false,
  };
}
