/**
 * Hybrid logical clock (Kulkarni, Demirbas et al., "Logical Physical Clocks", 2014) as one integer.
 *
 * An HLC is physical Unix microseconds and a counter of 10 bits, packed as `micros << 10 | counter`. Packed so, it is a
 * positive `bigint` in PostgreSQL until the year 2255, and its 19 decimal digits sort as text as they do as a number.
 * Everything here is pure: the physical time is an argument, never read.
 *
 * The counter serves pushed stamps only: a local transaction's own stamp is its commit timestamp with counter 0. A
 * counter that overflows carries into the microseconds, which the packing gives for free.
 */
import { invariant } from '../platform/assert.ts';

/** A packed hybrid logical timestamp. Compare with `<` and `>`. */
export type Hlc = bigint;

const COUNTER_BITS = 10n;
const HLC_DIGITS = 19;
/** Above every stamp that a transaction can have. */
export const HLC_MAX: Hlc = 2n ** 63n - 1n;

/** Below every stamp that a transaction can have. */
export const HLC_ZERO: Hlc = 0n;

/** The HLC of a physical time (Unix µs) with counter 0. */
export function hlcFromMicros(micros: bigint): Hlc {
  invariant(
    micros >= 0n && micros << COUNTER_BITS <= HLC_MAX,
    `physical time ${micros} µs is outside the clock's range`,
  );
  return micros << COUNTER_BITS;
}

/** The physical part, in Unix µs, rounded down. */
export function hlcMicros(hlc: Hlc): bigint {
  return hlc >> COUNTER_BITS;
}

/** The counter: 0 for every stamp that is a commit timestamp. */
export function hlcCounter(hlc: Hlc): bigint {
  return hlc & ((1n << COUNTER_BITS) - 1n);
}

/** The least physical time (Unix µs) that is not below the stamp: what a commit timestamp must be to cover it. */
export function hlcMicrosCeil(hlc: Hlc): bigint {
  return (hlc + (1n << COUNTER_BITS) - 1n) >> COUNTER_BITS;
}

/** The least stamp above `hlc`. */
export function hlcNext(hlc: Hlc): Hlc {
  invariant(hlc < HLC_MAX, 'the hybrid logical clock is exhausted');
  return hlc + 1n;
}

/** 19 decimal digits: sorts as text, and casts to `bigint` in SQL. */
export function hlcToText(hlc: Hlc): string {
  return hlc.toString().padStart(HLC_DIGITS, '0');
}

/** The inverse of `hlcToText`; also takes what PostgreSQL prints for a `bigint`. */
export function hlcFromText(text: string): Hlc {
  invariant(/^\d{1,19}$/.test(text), `not a hybrid logical timestamp: ${text}`);
  return BigInt(text);
}
