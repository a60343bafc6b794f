// Values of options that have to be more than text.

import { InvalidArgumentError } from 'commander';

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
