/**
 * Events of one row in their order, the older ones packed where a way to pack them is given.
 *
 * While a region is away, histories only grow, and nearly all of their events are never looked at before it is back: what
 * comes is newer than they are. An event that comes late unpacks those behind its place, which have to be folded again anyway.
 */

import { compareVersions, type Version } from '../change/version.ts';
import { invariant } from '../platform/assert.ts';
import { compareEvents, type FoldEvent } from './fold.ts';
import { type Observer, weakest } from './heads.ts';

export type Packing<Event> = {
  /** How many events are packed together; as many of the newest stay as they are. */
  readonly events: number;
  readonly pack: (events: readonly Event[]) => Uint8Array;
  /** Whether it is too large to be packed: it would take long, and in one piece. */
  readonly isLarge: (event: Event) => boolean;
  /** The same events. */
  readonly unpack: (packed: Uint8Array) => readonly Event[];
};

/** `first` is the version of its first event; `observers` know as little as any of its events (`weakest`). */
type Pack<Event> = {
  readonly count: number;
  readonly first: Version;
  readonly observers: readonly Observer[];
  /** Packed, or as they are where one of them is large. */
  readonly events: Uint8Array | readonly Event[];
};

export class EventRun<Event extends FoldEvent> {
  readonly #packing: Packing<Event> | null;
  #packs: Pack<Event>[] = [];
  #packed = 0;
  /** Those behind the packs; some wherever there is any event. */
  #open: Event[] = [];

  constructor(packing: Packing<Event> | null) {
    this.#packing = packing;
  }

  get length(): number {
    return this.#packed + this.#open.length;
  }

  get newest(): Event | undefined {
    return this.#open.at(-1);
  }

  /** The place where it stands by now; null for one that is here already. */
  insert(event: Event): number | null {
    this.#openFrom(event);
    let [low, high] = [0, this.#open.length];
    // What comes is newer than what is here, as a rule.
    for (let middle = high - 1; low < high; middle = (low + high) >> 1) {
      const order = compareEvents(event, this.#open[middle] as Event);
      if (order === 0) return null;
      if (order > 0) low = middle + 1;
      else high = middle;
    }
    this.#open.splice(low, 0, event);
    return this.#packed + low;
  }

  /** The events from one place up to another, or to the end. */
  slice(from: number, to = this.length): readonly Event[] {
    if (from >= this.#packed) return this.#open.slice(from - this.#packed, to - this.#packed);
    const parts: (readonly Event[])[] = [];
    let start = 0;
    for (const pack of this.#packs) {
      const end = start + pack.count;
      if (start >= to) break;
      if (end > from) parts.push(this.#unpack(pack).slice(Math.max(0, from - start), to - start));
      start = end;
    }
    if (to > this.#packed) parts.push(this.#open.slice(0, to - this.#packed));
    return parts.flat();
  }

  /** The first events, for as long as they are such. */
  first(isSuch: (event: Event) => boolean): readonly Event[] {
    const parts: (readonly Event[])[] = [];
    const take = (events: readonly Event[]): boolean => {
      const end = events.findIndex((event) => !isSuch(event));
      parts.push(end === -1 ? events : events.slice(0, end));
      return end === -1;
    };
    if (this.#packs.every((pack) => take(this.#unpack(pack)))) take(this.#open);
    return parts.flat();
  }

  /** How many are not above that version. */
  countUpTo(version: Version): number {
    const above = this.#open.findLastIndex((event) => compareVersions(event.version, version) <= 0) + 1;
    let count = this.#packed + above;
    if (above > 0) return count;
    for (const pack of this.#packs.toReversed()) {
      count -= pack.count;
      if (compareVersions(pack.first, version) > 0) continue;
      const events = this.#unpack(pack);
      return count + events.findLastIndex((event) => compareVersions(event.version, version) <= 0) + 1;
    }
    return count;
  }

  /** Among them is one that does not know an event exactly where such a one is among the events. */
  get observers(): readonly Observer[] {
    return [...this.#packs.flatMap(({ observers }) => observers), ...this.#open.map(observerOf)];
  }

  /** Forgets the first events. */
  drop(count: number): void {
    let left = count;
    while (left > 0 && this.#packs.length > 0) {
      const [pack] = this.#packs as [Pack<Event>];
      this.#packs.shift();
      this.#packed -= pack.count;
      if (left < pack.count) {
        const rest = this.#unpack(pack).slice(left);
        this.#packs.unshift(this.#pack(rest));
        this.#packed += rest.length;
      }
      left -= Math.min(left, pack.count);
    }
    if (left > 0) this.#open = this.#open.slice(left);
  }

  /** Packs all but the newest. */
  pack(): void {
    const size = this.#packing?.events ?? Number.POSITIVE_INFINITY;
    const made: Pack<Event>[] = [];
    let from = 0;
    for (; this.#open.length - from >= 2 * size; from += size)
      made.push(this.#pack(this.#open.slice(from, from + size)));
    if (from === 0) return;
    this.#packs = [...this.#packs, ...made];
    this.#packed += from;
    this.#open = this.#open.slice(from);
  }

  /** Opens the packs that have the place of that event, or stand behind it. */
  #openFrom(event: Event): void {
    const [first] = this.#open;
    if (first !== undefined && compareEvents(event, first) >= 0) return;
    // An event with the version of the first one of a pack may stand in the pack before.
    const last = this.#packs.findLastIndex((pack) => compareVersions(pack.first, event.version) < 0);
    const opened = this.#packs.splice(Math.max(0, last));
    for (const { count } of opened) this.#packed -= count;
    this.#open = [...opened.map((pack) => this.#unpack(pack)), this.#open].flat();
  }

  #pack(events: readonly Event[]): Pack<Event> {
    const [packing, first] = [this.#packing, events[0]];
    invariant(packing !== null && first !== undefined, 'packs are made by a packing, of some events');
    const { version } = first;
    const observers = weakest(events.map(observerOf));
    const packed = events.some((event) => packing.isLarge(event)) ? events : packing.pack(events);
    return { count: events.length, first: version, observers, events: packed };
  }

  #unpack({ events }: Pack<Event>): readonly Event[] {
    if (!(events instanceof Uint8Array)) return events;
    invariant(this.#packing !== null, 'packs are made by a packing');
    return this.#packing.unpack(events);
  }
}

function observerOf({ version, position, seen }: FoldEvent): Observer {
  return { origin: version.origin, position, seen };
}
