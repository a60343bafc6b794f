/**
 * The counter: an event adds what it has added at its origin, its value less the one that it found there.
 *
 * So concurrent additions all count, whatever their order, and the total is what the row began with plus all of them. NULL
 * counts as 0. A value that is not finite has no difference: an event that sets one, or replaces one, sets the column as
 * last writer wins would; adding to NaN or to an infinity changes nothing, as in PostgreSQL. Only exact types can be
 * counted: with floats, a sum depends on its order, and the origin's own does not follow this one.
 */
import { addDecimals, type Decimal, parseDecimal, printDecimal, subtractDecimals } from './decimal.ts';

/** No value of the column's type. */
export const OUT_OF_RANGE = Symbol('out of range');

const ZERO: Decimal = { units: 0n, scale: 0 };
const BITS: Readonly<Record<string, bigint>> = { int2: 15n, int4: 31n, int8: 63n };

export function mergeCounter(
  typeName: string,
  base: string | null,
  a: string | null,
  b: string | null,
): string | null | typeof OUT_OF_RANGE {
  if (base === b) return a;
  const [from, current, to] = [base, a, b].map((value) => (value === null ? ZERO : parseDecimal(value)));
  if (from == null || to == null) return b;
  if (current == null) return a;
  const sum = addDecimals(current, subtractDecimals(to, from));
  const bits = BITS[typeName];
  if (bits !== undefined && (sum.units >= 1n << bits || sum.units < -(1n << bits))) return OUT_OF_RANGE;
  return printDecimal(sum);
}
