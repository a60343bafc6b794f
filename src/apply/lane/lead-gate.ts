/**
 * What becomes of an event whose stamp is ahead of the local clock.
 *
 * Applied at once, it makes the next local write that follows it get a pushed stamp, and that costs another write of the
 * row. So a small lead, which clocks that are kept in step have, is waited out: then no local commit can come before it,
 * and nothing is pushed. A larger lead is a clock that is wrong. Waiting for it would only add to the lag, so it is applied
 * and pushes what follows. One beyond all measure is held: applied, it would push every local write here that far ahead,
 * and these would do the same to all other regions.
 *
 * The own stream is never waited for: echoes raise nobody's stamps, and the clock may just have been set back.
 */
import type { Hlc } from '../../change/hlc.ts';
import { leadMicros } from '../../clock/database-clock.ts';

export type LeadLimits = {
  /** Up to this lead it is waited for. */
  readonly waitMicros: bigint;
  /** Beyond this lead it is held. */
  readonly holdMicros: bigint;
};

export type Lead =
  | { readonly kind: 'due' }
  | { readonly kind: 'wait' | 'hold'; readonly leadMicros: bigint; readonly restMicros: bigint };

/** `restMicros` is how long the local clock needs until the event is due, if nobody sets it. */
export function leadOf(stamp: Hlc, nowMicros: bigint, { waitMicros, holdMicros }: LeadLimits): Lead {
  const lead = leadMicros(stamp, nowMicros);
  if (lead > holdMicros) return { kind: 'hold', leadMicros: lead, restMicros: lead - holdMicros };
  if (lead > 0n && lead <= waitMicros) return { kind: 'wait', leadMicros: lead, restMicros: lead };
  return { kind: 'due' };
}
