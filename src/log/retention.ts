/**
 * How much of a stream is kept that everybody has read.
 *
 * A region that is restored from an older copy of its database reads again what it had applied since, of its own stream and
 * of the others': as long as the log holds it, nothing is lost. So a stream is kept for a time beyond its last reader, the
 * age of copies that can come back without a transfer. Space goes first: beyond a part of the bound, what nobody needs is
 * let go at once, because a full log makes capture wait.
 *
 * When a record was needed last is known from looks at the log, which are kept in memory: after a start, all counts as just
 * read, and is kept for as long again.
 */

/** Looks that are remembered; those in between are thinned out, which keeps more. */
const LOOKS_MAX = 1_000;
/** The part of the bound that may be filled with what nobody needs. */
const KEPT_PART = 0.5;

type Look = { readonly offset: number; readonly atMs: number };

export class Retention {
  readonly #keepMs: number;
  readonly #bytesMax: number;
  #looks: Look[] = [];

  constructor(keepMs: number, bytesMax: number) {
    this.#keepMs = keepMs;
    this.#bytesMax = bytesMax;
  }

  /** Below which offset the stream may be trimmed, where nobody needs anything below `neededFrom` now. */
  trimTo(neededFrom: number, bytes: number, nowMs: number): number {
    if (this.#looks.at(-1)?.offset !== neededFrom) this.#looks.push({ offset: neededFrom, atMs: nowMs });
    if (this.#looks.length > LOOKS_MAX) this.#looks = this.#looks.filter((_, place) => place % 2 === 1);
    if (bytes > this.#bytesMax * KEPT_PART) return neededFrom;
    const old = this.#looks.findLastIndex(({ atMs }) => atMs + this.#keepMs <= nowMs);
    if (old > 0) this.#looks.splice(0, old);
    const [oldest] = this.#looks;
    return oldest !== undefined && oldest.atMs + this.#keepMs <= nowMs ? Math.min(oldest.offset, neededFrom) : 0;
  }
}
