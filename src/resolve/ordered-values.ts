/**
 * The order of a type's values, from their text alone, as PostgreSQL orders them.
 *
 * Numbers by value (NaN above all), times by the moment, with the infinities and the years before Christ, uuid and boolean as their text.
 * Text goes by its bytes, that is by the collation "C", whatever the column's own collation says: another one's order is
 * known to its server alone, and changes with the version of its library.
 */
import { compareDecimals, parseDecimal } from './decimal.ts';

type Compare = (a: string, b: string) => number;

const byBytes: Compare = (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b));

const COMPARES: Readonly<Record<string, Compare>> = {
  int2: compareNumerics,
  int4: compareNumerics,
  int8: compareNumerics,
  numeric: compareNumerics,
  float4: compareFloats,
  float8: compareFloats,
  date: compareTimes,
  timestamp: compareTimes,
  timestamptz: compareTimes,
  text: byBytes,
  varchar: byBytes,
  bool: byBytes,
  uuid: byBytes,
};

/** Null for a type whose order cannot be told from text. */
export function orderOf(typeName: string): Compare | null {
  return COMPARES[typeName] ?? null;
}

/** The greater (`sign` 1) or the lesser (-1) of what both sides made of it; what one side alone changed is its own. NULL is nothing to compare. */
export function mergeExtreme(
  sign: 1 | -1,
  typeName: string,
  base: string | null,
  a: string | null,
  b: string | null,
): string | null {
  const compare = orderOf(typeName);
  if (b === base) return a;
  if (a === base || a === null || compare === null) return b;
  if (b === null) return a;
  return compare(a, b) * sign > 0 ? a : b;
}

const SPECIAL: Readonly<Record<string, number>> = { '-Infinity': -1, Infinity: 1, NaN: 2 };

function compareNumerics(a: string, b: string): number {
  const [one, other] = [parseDecimal(a), parseDecimal(b)];
  if (one !== null && other !== null) return compareDecimals(one, other);
  return (SPECIAL[a] ?? 0) - (SPECIAL[b] ?? 0);
}

/** Output of floats is exact, so the number is too. */
function compareFloats(a: string, b: string): number {
  const [one, other] = [Number(a), Number(b)];
  if (Number.isNaN(one) || Number.isNaN(other)) return Number(Number.isNaN(one)) - Number(Number.isNaN(other));
  return one < other ? -1 : one > other ? 1 : 0;
}

const TIME =
  /^(\d{4,})-(\d\d)-(\d\d)(?: (\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?)?(?:([+-])(\d\d)(?::(\d\d))?(?::(\d\d))?)?( BC)?$/;

function compareTimes(a: string, b: string): number {
  const difference = timeMicros(a) - timeMicros(b);
  return difference < 0n ? -1 : difference > 0n ? 1 : 0;
}

/** Beyond every finite time, either way. */
const INFINITE = 1n << 80n;

/** Microseconds of the Gregorian calendar, from its year 0 on; a text that is no time is below all. */
function timeMicros(text: string): bigint {
  if (text === 'infinity') return INFINITE;
  const match = TIME.exec(text);
  if (match === null) return text === '-infinity' ? -INFINITE : -INFINITE - 1n;
  const part = (at: number): number => Number(match[at] ?? 0);
  const year = match[12] === undefined ? part(1) : 1 - part(1);
  const fraction = Number((match[7] ?? '').padEnd(6, '0'));
  const zone = (part(9) * 60 + part(10)) * 60 + part(11);
  const seconds = (part(4) * 60 + part(5)) * 60 + part(6) - (match[8] === '-' ? -zone : zone);
  return (BigInt(dayNumber(year, part(2), part(3))) * 86_400n + BigInt(seconds)) * 1_000_000n + BigInt(fraction);
}

/** Days since March 1st of the year 0: a year then begins with March, and its leap day is the last. */
function dayNumber(year: number, month: number, day: number): number {
  const moved = month < 3 ? year - 1 : year;
  const leaps = Math.floor(moved / 4) - Math.floor(moved / 100) + Math.floor(moved / 400);
  return moved * 365 + leaps + Math.floor((153 * ((month + 9) % 12) + 2) / 5) + day - 1;
}
