// Assertions are for what a programmer got wrong; what the world does is handled with the codes of
// errors.ts. A broken invariant is never retried: going on could write a wrong row.

export class InvariantViolation extends Error {
  override readonly name = 'InvariantViolation';
}

/** Throws unless the condition holds, and narrows the type of what it names. */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new InvariantViolation(message);
}

/** The default branch of an exhaustive switch: a new variant is a compile error here. */
export function unreachable(value: never, what = 'variant'): never {
  throw new InvariantViolation(`unexpected ${what}: ${String(value)}`);
}
