/**
 * Tells when what the lane has committed is durable.
 *
 * The lane's commits do not wait until the WAL is flushed, as those of PostgreSQL's own apply workers do not: a crash of the
 * server may take the last ones back, and the log delivers them again. The WAL keeps its order, so whatever the region says
 * of what it has applied (in its stream, which is read from flushed WAL alone) is durable with what it speaks of. But the log
 * must not be told before that it may forget.
 */
import type { ApplyPort } from '../apply-port.ts';

export class FlushWatch {
  readonly #port: Pick<ApplyPort, 'walEnds'>;
  readonly #prepare: () => () => void;
  /** What is to be told of once the WAL is flushed up to there. */
  #pending: { readonly end: bigint; readonly tell: () => void } | null = null;
  #hasMoved = false;

  /** `prepare` is asked for what is committed by then, and what it returns is called once that is durable. */
  constructor(port: Pick<ApplyPort, 'walEnds'>, prepare: () => () => void) {
    this.#port = port;
    this.#prepare = prepare;
  }

  /** The lane has committed something. */
  moved(): void {
    this.#hasMoved = true;
  }

  /** To be called in the lane's turn, between batches. Throws errors of the connection. */
  async look(): Promise<void> {
    if (this.#pending === null && !this.#hasMoved) return;
    // What is committed before the question lies below the end that the answer gives.
    const tell = this.#hasMoved ? this.#prepare() : null;
    const { inserted, flushed } = await this.#port.walEnds();
    if (this.#pending !== null && flushed >= this.#pending.end) {
      this.#pending.tell();
      this.#pending = null;
    }
    if (tell === null || this.#pending !== null) return;
    this.#hasMoved = false;
    if (flushed >= inserted) tell();
    else this.#pending = { end: inserted, tell };
  }
}
