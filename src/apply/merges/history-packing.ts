/**
 * Events of a history outside of the heap: as JSON, deflated, some sixty bytes each for rows of a few columns, where objects
 * take a kilobyte or two.
 */
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import type { Image } from '../../change/change-event.ts';
import { hlcFromText, hlcToText } from '../../change/hlc.ts';
import type { Position, Seen } from '../../change/position.ts';
import type { Packing } from '../../resolve/event-run.ts';
import type { MergeRule } from '../../resolve/merge-rule.ts';
import type { HistoryEvent } from './merged-row.ts';

/** Enough for names and neighbours' values to be told once. */
const PACK_EVENTS = 16;
/** In characters of its images; beyond, one pack would keep the lane for longer than some hundredths of a second. */
const LARGE = 65_536;
/** The quickest: what is smaller by others is not worth their time. */
const DEFLATE = { level: 1 };

/** `null` for what is absent; the last is the number of the rule. */
type Packed = readonly [
  hlc: string,
  origin: string,
  position: Position,
  index: number,
  event_id: string,
  seen: Seen,
  before: Image | null,
  after: Image | null,
  merge: string | null,
  merge_shadow: string | null,
  rule: number | null,
];

export class HistoryPacking implements Packing<HistoryEvent> {
  readonly events: number;
  /** What packed events go by, which is the same for very many of them. */
  readonly #rules: MergeRule[] = [];
  readonly #numbers = new Map<MergeRule, number>();

  constructor(events = PACK_EVENTS) {
    this.events = events;
  }

  isLarge({ before, after }: HistoryEvent): boolean {
    return sizeOf(before) + sizeOf(after) > LARGE;
  }

  pack(events: readonly HistoryEvent[]): Uint8Array {
    const packed = events.map((event): Packed => {
      const { version, position, index, event_id, seen, before, after, merge, merge_shadow, rule } = event;
      const texts = [merge ?? null, merge_shadow ?? null] as const;
      const number = rule === undefined ? null : this.#numberOf(rule);
      return [hlcToText(version.hlc), version.origin, position, index, event_id, seen, before, after, ...texts, number];
    });
    // What zlib returns is part of a larger buffer.
    return new Uint8Array(deflateRawSync(JSON.stringify(packed), DEFLATE));
  }

  unpack(packed: Uint8Array): HistoryEvent[] {
    const events = JSON.parse(inflateRawSync(packed).toString()) as readonly Packed[];
    return events.map(
      ([hlc, origin, position, index, event_id, seen, before, after, merge, merge_shadow, rule]): HistoryEvent => ({
        version: { hlc: hlcFromText(hlc), origin },
        position,
        index,
        event_id,
        seen,
        before,
        after,
        merge: merge ?? undefined,
        ...(merge_shadow === null ? {} : { merge_shadow }),
        ...(rule === null ? {} : { rule: this.#rules[rule] }),
      }),
    );
  }

  #numberOf(rule: MergeRule): number {
    let number = this.#numbers.get(rule);
    if (number === undefined) {
      number = this.#rules.push(rule) - 1;
      this.#numbers.set(rule, number);
    }
    return number;
  }
}

function sizeOf(image: Image | null): number {
  let size = 0;
  for (const column in image) size += image[column]?.length ?? 0;
  return size;
}
