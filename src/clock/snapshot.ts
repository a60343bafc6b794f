/**
 * A snapshot of PostgreSQL, from its text `xmin:xmax:xip,…`: which transactions it sees. The one that came with the slot
 * tells, for ever, what is from before the region's stream.
 */
import { invariant } from '../platform/assert.ts';

export class Snapshot {
  readonly text: string;
  readonly #xmin: bigint;
  readonly #xmax: bigint;
  readonly #inProgress: ReadonlySet<bigint>;

  private constructor(text: string, xmin: bigint, xmax: bigint, inProgress: readonly bigint[]) {
    this.text = text;
    this.#xmin = xmin;
    this.#xmax = xmax;
    this.#inProgress = new Set(inProgress);
  }

  static parse(text: string): Snapshot {
    const match = /^(\d+):(\d+):([\d,]*)$/.exec(text);
    invariant(match !== null, `not a snapshot: ${text}`);
    const [, xmin = '', xmax = '', list = ''] = match;
    return new Snapshot(text, BigInt(xmin), BigInt(xmax), list === '' ? [] : list.split(',').map(BigInt));
  }

  /** Transactions that it does not see although they are older than some that it sees. */
  get inProgress(): readonly bigint[] {
    return [...this.#inProgress];
  }

  /** Whether it sees every transaction below that one. */
  seesAllBelow(xid: bigint): boolean {
    return xid <= this.#xmin;
  }

  sees(xid: bigint): boolean {
    return xid < this.#xmin || (xid < this.#xmax && !this.#inProgress.has(xid));
  }

  /** Whether it sees a transaction of which the lower 32 bits are known, and that it is recent. */
  seesRecent(xid: number): boolean {
    return this.sees(this.#xmax + BigInt.asIntN(32, BigInt(xid) - this.#xmax));
  }

  /** Whether everything that the other one sees is seen by this one too. */
  seesAllOf(other: Snapshot): boolean {
    return this.#xmax >= other.#xmax && this.inProgress.every((xid) => !other.sees(xid));
  }
}
