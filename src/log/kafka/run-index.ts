/**
 * Which run is the highest below an offset, for a log in which several writers may append and the front is trimmed.
 *
 * The highest run so far only rises, at few places: where a run begins. The index is the list of those places, and an
 * offset up to which it is complete. It is a fact about records that never change, so whoever extends or keeps it, a
 * zombie too, tells the truth; and whatever is not covered can be found out from the records' headers. So nothing has to
 * be written together with a record: an index that is behind costs reading, never a wrong answer.
 */
import { invariant } from '../../platform/assert.ts';

export type RunStep = readonly [offset: number, run: number];

export type RunCoverage = { readonly covered_to: number; readonly steps: readonly RunStep[] };

export class RunIndex {
  #steps: RunStep[] = [];
  #coveredTo = 0;

  /** Everything below it is known. */
  get coveredTo(): number {
    return this.#coveredTo;
  }

  /** -1 where there is no record below. */
  runBefore(before: number): number {
    invariant(before <= this.#coveredTo, `the index covers offset ${before}`);
    return this.#steps.findLast(([offset]) => offset < before)?.[1] ?? -1;
  }

  /** The next record, or the next of a few: all up to it are of runs that are known. */
  extend(offset: number, run: number): void {
    invariant(offset >= this.#coveredTo, 'the index grows at its end');
    if (run > (this.#steps.at(-1)?.[1] ?? -1)) this.#steps.push([offset, run]);
    this.#coveredTo = offset + 1;
  }

  /** No further record stands below `end`. */
  coverTo(end: number): void {
    if (end > this.#coveredTo) this.#coveredTo = end;
  }

  /** Takes over what somebody else found out, where that is more. */
  adopt({ covered_to, steps }: RunCoverage): void {
    if (covered_to <= this.#coveredTo) return;
    this.#steps = [...steps];
    this.#coveredTo = covered_to;
  }

  /** What to keep of it, where records below `first` are trimmed. */
  coverage(first: number): RunCoverage {
    const below = this.#steps.findLastIndex(([offset]) => offset < first);
    return { covered_to: this.#coveredTo, steps: this.#steps.slice(Math.max(0, below)) };
  }
}
