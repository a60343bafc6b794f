// Values of options that have to be more than text.

import { InvalidArgumentError } from 'commander';

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** A time such as 500ms, 90s, 10m, 2h or 1d, in ms; or `none`, which is itself, since null is no value of an option. */
export function spanMs(text: string): number | 'none' {
  if (text === 'none') return text;
  const match = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text);
  const ms = Number(match?.[1]) * (UNIT_MS[match?.[2] ?? ''] ?? Number.NaN);
  if (ms >= 1) return ms;
  throw new InvalidArgumentError('expected a time such as 90s, 10m, 2h or 1d, or none.');
}

export function integer(minimum: number, maximum: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (Number.isInteger(value) && value >= minimum && value <= maximum) return value;
    throw new InvalidArgumentError(`expected ${minimum} to ${maximum}.`);
  };
}

/** Gathers `column=value` of every use of the option. */
export function keyPart(text: string, former: Readonly<Record<string, string>> = {}): Readonly<Record<string, string>> {
  const equals = text.indexOf('=');
  if (equals <= 0) throw new InvalidArgumentError('expected column=value.');
  return { ...former, [text.slice(0, equals)]: text.slice(equals + 1) };
}
