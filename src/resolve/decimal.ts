/**
 * Exact decimal arithmetic on the text that PostgreSQL prints for integers and numeric.
 *
 * A value is an integer and a scale, so nothing is ever rounded, and the scale of a sum or difference is the larger of the
 * two, as PostgreSQL's own is: 1.5 + 2.25 prints as 3.75 and 1.50 - 0.50 as 1.00. A JavaScript number would lose digits
 * behind the 15th, and every zero at the end.
 */

export type Decimal = { readonly units: bigint; readonly scale: number };

const DECIMAL = /^(-?\d+)(?:\.(\d+))?$/;

/** Null for NaN, the infinities, and whatever is no decimal. */
export function parseDecimal(text: string): Decimal | null {
  const match = DECIMAL.exec(text);
  if (match === null) return null;
  const [, whole = '', fraction = ''] = match;
  return { units: BigInt(whole + fraction), scale: fraction.length };
}

export function printDecimal({ units, scale }: Decimal): string {
  if (scale === 0) return units.toString();
  const digits = (units < 0n ? -units : units).toString().padStart(scale + 1, '0');
  return `${units < 0n ? '-' : ''}${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
}

export function addDecimals(a: Decimal, b: Decimal): Decimal {
  const scale = Math.max(a.scale, b.scale);
  return { units: atScale(a, scale) + atScale(b, scale), scale };
}

export function subtractDecimals(a: Decimal, b: Decimal): Decimal {
  return addDecimals(a, { units: -b.units, scale: b.scale });
}

/** Negative, zero or positive. */
export function compareDecimals(a: Decimal, b: Decimal): number {
  const { units } = subtractDecimals(a, b);
  return units < 0n ? -1 : units > 0n ? 1 : 0;
}

function atScale({ units, scale }: Decimal, wanted: number): bigint {
  return scale === wanted ? units : units * 10n ** BigInt(wanted - scale);
}
