/**
 * Moves the slot's confirmed position, and never past what is durable.
 *
 * The server forgets what committed below the confirmed position, so one that is too high loses changes for good, while
 * one that is too low only makes the server send again what is skipped then. Hence the two rules: a position is
 * confirmed only if it ends a transaction that was handed on and reported durable, and it never moves back.
 */
import { lsnToText } from '../../change/position.ts';
import { invariant } from '../../platform/assert.ts';

export class SlotAcker {
  readonly #confirm: (lsn: bigint) => void;
  #receivedLsn: bigint;
  #durableLsn: bigint;

  /** `confirmedLsn` is where the slot stands; `confirm` tells the server. */
  constructor(confirmedLsn: bigint, confirm: (lsn: bigint) => void) {
    this.#receivedLsn = confirmedLsn;
    this.#durableLsn = confirmedLsn;
    this.#confirm = confirm;
  }

  /** Everything up to here needs no sending again. */
  get durableLsn(): bigint {
    return this.#durableLsn;
  }

  /** The end of a transaction has arrived; it is not durable yet. */
  received(endLsn: bigint): void {
    invariant(endLsn > this.#receivedLsn, `transactions end in WAL order: ${lsnToText(endLsn)} comes again`);
    this.#receivedLsn = endLsn;
  }

  /** Everything up to the end of that transaction is durable in the log, or needs not be. */
  durable(endLsn: bigint): void {
    invariant(endLsn <= this.#receivedLsn, `durable before it was received: ${lsnToText(endLsn)}`);
    invariant(endLsn >= this.#durableLsn, `durable out of order: ${lsnToText(endLsn)}`);
    if (endLsn === this.#durableLsn) return;
    this.#durableLsn = endLsn;
    this.#confirm(endLsn);
  }
}
