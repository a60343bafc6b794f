/**
 * Interleaved sequences: with `of` regions at most, each region's sequences hand out every `of`-th number, and each
 * region has a remainder of its own, `offset`. So no two regions ever draw the same number, without asking each other.
 *
 * The numbers are written out in the configuration rather than derived from the list of regions: a region that is added
 * would move the remainders of those behind it in the list, onto numbers that others have drawn. For the same reason
 * `of` is chosen with room for regions to come.
 *
 * The statements of `alignment` are one transaction. ALTER SEQUENCE takes a lock that nextval and setval wait for, and
 * that waits for every transaction that has called them. A new increment gives the sequence a new file, by which every
 * session sees that the numbers it holds in reserve (CACHE) are void. What was drawn before lies at or below last_value,
 * which is read under the lock, and the new start lies above. Hence no number is drawn twice, and none of another's
 * remainder after the commit. START moves too, for TRUNCATE … RESTART IDENTITY, and MINVALUE where the sequence cycles.
 */
import { quoteLiteral } from '../platform/postgres.ts';

export type Interleave = {
  /** How many shares there are. */
  readonly of: number;
  /** This region's share: 1 to `of`. */
  readonly offset: number;
};

export type SequenceState = {
  /** Schema-qualified and quoted. */
  readonly name: string;
  readonly increment: bigint;
  readonly start: bigint;
  readonly minimum: bigint;
  readonly maximum: bigint;
  readonly cycles: boolean;
  /** The last number drawn, or the first to be; null where the role may not know. */
  readonly value: bigint | null;
};

/** How many steps ahead an aligned sequence begins: others may have drawn numbers that have not arrived here yet. */
const STEPS_AHEAD = 100n;

export function remainderOf(value: bigint, of: bigint): bigint {
  return ((value % of) + of) % of;
}

/** The lowest number of the share that is not below the value. */
export function firstFrom(value: bigint, { of, offset }: Interleave): bigint {
  return value + remainderOf(BigInt(offset) - value, BigInt(of));
}

export function isAligned(sequence: SequenceState, interleave: Interleave): boolean {
  const isInShare = (value: bigint): boolean => firstFrom(value, interleave) === value;
  const { increment, value, start, minimum, cycles } = sequence;
  return (
    increment === BigInt(interleave.of) &&
    isInShare(start) &&
    (value === null || isInShare(value)) &&
    (!cycles || isInShare(minimum))
  );
}

/** Why a sequence cannot be aligned; null where it can. */
export function unfitness({ increment, maximum, value }: SequenceState, { of }: Interleave): string | null {
  if (increment < 0n) return 'it counts down';
  if (maximum - (value ?? 0n) < BigInt(of) * (STEPS_AHEAD + 1n)) return `${maximum} is its last number`;
  return null;
}

/**
 * The statements that give a sequence its share, from above everything drawn and above the `highest` numbers in the
 * tables, as SQL; without BEGIN and COMMIT.
 */
export function alignment(sequence: SequenceState, interleave: Interleave, highest: readonly string[]): string[] {
  const { name, start, minimum, cycles } = sequence;
  const { of, offset } = interleave;
  const lowest = cycles ? ` minvalue ${firstFrom(minimum, interleave)}` : '';
  const above = `greatest(${['last_value', ...highest, '0'].join(', ')})`;
  return [
    `alter sequence ${name} increment by ${of}${lowest} start with ${firstFrom(start, interleave)};`,
    `select setval(${quoteLiteral(name)}, (${above} / ${of} + ${STEPS_AHEAD}) * ${of} + ${offset}) from ${name};`,
  ];
}

/**
 * A plan for so many regions, each with the share of its place among them: the least power of two that leaves room for as
 * many regions again.
 */
export function suggestedInterleave(region: string, others: readonly string[]): Interleave {
  const regions = [region, ...others].sort();
  let of = 4;
  while (of < regions.length * 2) of *= 2;
  return { of, offset: regions.indexOf(region) + 1 };
}

/** Whether two regions' sequences, as they step now, can ever hand out one number. */
export function canMeet(one: Pick<SequenceState, 'increment' | 'value'>, other: typeof one): boolean {
  if (one.value === null || other.value === null) return false;
  let [a, b] = [one.increment, other.increment].map((step) => (step < 0n ? -step : step)) as [bigint, bigint];
  while (b !== 0n) [a, b] = [b, a % b];
  return remainderOf(one.value, a) === remainderOf(other.value, a);
}
