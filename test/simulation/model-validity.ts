/** What the modelled database makes of a constraint: `column >= 0` and `column < 100`, of whole numbers, and NOT NULL. */

import type { Image } from '../../src/change/change-event.ts';
import type { Validity } from '../../src/resolve/known-merges.ts';

const CHECK = /^(\w+) (>=|<) (-?\d+)$/;

export function isValidRow(image: Image, { not_null, checks }: Validity): boolean {
  return not_null.every((column) => image[column] !== null) && checks.every((check) => holds(check, image));
}

function holds(check: string, image: Image): boolean {
  const [, column, comparison, bound] = CHECK.exec(check) ?? [];
  const value = image[column ?? ''];
  if (value == null || bound === undefined) return true;
  return comparison === '<' ? Number(value) < Number(bound) : Number(value) >= Number(bound);
}
