// Values of options that have to be more than text.

import { InvalidArgumentError } from 'commander';

export function integer(minimum: number, maximum: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (Number.isInteger(value) && value >= minimum && value <= maximum) return value;
    throw new InvalidArgumentError(`expected ${minimum} to ${maximum}.`);
  };
}
