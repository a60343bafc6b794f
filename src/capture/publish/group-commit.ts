/**
 * Appends records to the stream, many transactions at a time, and tells what has become durable.
 *
 * While one append is in flight, further records wait; then all of them go in one append. So the cost of making
 * something durable is shared by whatever arrived meanwhile, and a single transaction waits for nobody. What waits is
 * bounded: `space()` returns a promise while there is too much of it, and the caller passes the wait on to the source.
 *
 * Invariant: `onDurable(endLsn)` is called in the order of the stream, and only after every record up to there was
 * acknowledged by the log. A failed append fails the whole for good: whether its records exist is unknown, so the only
 * safe way on is a new run that reads the stream's tail again. Appending the rest after a failure would leave a gap.
 */
import type { LogRecord } from '../../change/stream-record.ts';
import type { StreamWriter } from '../../log/event-log.ts';
import { invariant } from '../../platform/assert.ts';

export type GroupCommitOptions = {
  readonly writer: Pick<StreamWriter, 'append'>;
  readonly onDurable: (endLsn: bigint) => void;
  readonly rowsMax: number;
  readonly bytesMax: number;
  readonly defer: DeferAppend;
};

/**
 * Runs the start of an append, now or soon. A log that appends synchronously would otherwise never find anything to
 * share the append with. An urgent one waits for no company: there is as much as one append takes, or somebody waits for all.
 */
export type DeferAppend = (start: () => void, isUrgent: boolean) => void;

/** Records that go in one append, and the position that may be confirmed once they are durable. */
type Group = { readonly records: LogRecord[]; bytes: number; endLsn: bigint | null };

type Waiter = { readonly resolve: () => void; readonly reject: (error: unknown) => void };

const emptyGroup = (): Group => ({ records: [], bytes: 0, endLsn: null });

export class GroupCommit {
  readonly #options: GroupCommitOptions;
  readonly #failed = new AbortController();
  #pending = emptyGroup();
  #inFlight: Group | null = null;
  /** The append that is about to start; one that was told to wait is superseded by an urgent one. */
  #start: { readonly isUrgent: boolean } | null = null;
  #spaceWaiters: Waiter[] = [];
  #idleWaiters: Waiter[] = [];

  constructor(options: GroupCommitOptions) {
    this.#options = options;
  }

  /** Aborted, with the error as its reason, once nothing can be appended any more. */
  get failed(): AbortSignal {
    return this.#failed.signal;
  }

  /** Queues a record behind all earlier ones. It is appended with the transaction's end, or when the bound is reached. */
  add(record: LogRecord): void {
    this.#failed.signal.throwIfAborted();
    this.#pending.records.push(record);
    this.#pending.bytes += record.value.length;
    if (this.#isFull) this.#startSoon();
  }

  /** All records of the transaction that ends here were added (none, if it is not published). */
  seal(endLsn: bigint): void {
    this.#failed.signal.throwIfAborted();
    if (this.#pending.records.length > 0) {
      this.#pending.endLsn = endLsn;
      this.#startSoon();
    } else if (this.#inFlight !== null) this.#inFlight.endLsn = endLsn;
    else this.#options.onDurable(endLsn);
  }

  /** A promise while too much waits, nothing while there is room. */
  space(): Promise<void> | undefined {
    if (!this.#isFull || this.failed.aborted) return undefined;
    return new Promise((resolve, reject) => this.#spaceWaiters.push({ resolve, reject }));
  }

  /** Resolves once everything that was added is durable; rejects if that cannot be any more. */
  async durable(): Promise<void> {
    this.#failed.signal.throwIfAborted();
    if (this.#pending.records.length === 0 && this.#inFlight === null) return;
    const idle = new Promise<void>((resolve, reject) => this.#idleWaiters.push({ resolve, reject }));
    this.#startSoon();
    await idle;
  }

  /** Stops for good. What is in flight may still become durable, and is not reported any more. */
  fail(error: unknown): void {
    if (this.#failed.signal.aborted) return;
    this.#pending = emptyGroup();
    this.#failed.abort(error);
    for (const { reject } of [...this.#takeSpaceWaiters(), ...this.#takeIdleWaiters()]) reject(error);
  }

  get #isFull(): boolean {
    return this.#pending.records.length >= this.#options.rowsMax || this.#pending.bytes >= this.#options.bytesMax;
  }

  #startSoon(): void {
    const isUrgent = this.#isFull || this.#idleWaiters.length > 0;
    if (this.#inFlight !== null || (this.#start !== null && (this.#start.isUrgent || !isUrgent))) return;
    const start = { isUrgent };
    this.#start = start;
    this.#options.defer(() => {
      if (this.#start !== start) return;
      this.#start = null;
      void this.#append();
    }, isUrgent);
  }

  async #append(): Promise<void> {
    invariant(this.#inFlight === null, 'one append at a time');
    if (this.failed.aborted) return;
    const group = this.#pending;
    this.#pending = emptyGroup();
    this.#inFlight = group;
    for (const { resolve } of this.#takeSpaceWaiters()) resolve();
    try {
      await this.#options.writer.append(group.records);
      this.#inFlight = null;
      if (this.failed.aborted) return;
      if (group.endLsn !== null) this.#options.onDurable(group.endLsn);
    } catch (error) {
      this.#inFlight = null;
      this.fail(error);
      return;
    }
    if (this.#pending.records.length > 0) this.#startSoon();
    else for (const { resolve } of this.#takeIdleWaiters()) resolve();
  }

  #takeSpaceWaiters(): Waiter[] {
    const waiters = this.#spaceWaiters;
    this.#spaceWaiters = [];
    return waiters;
  }

  #takeIdleWaiters(): Waiter[] {
    const waiters = this.#idleWaiters;
    this.#idleWaiters = [];
    return waiters;
  }
}
