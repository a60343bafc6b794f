/**
 * Captures one region's changes for as long as its agent runs: sessions one after the other, with what is to be told
 * about them.
 *
 *   state      event                                         next
 *   starting   the slot is held and the stream was read      streaming
 *   starting   infrastructure fault                          retrying
 *   streaming  infrastructure fault                          retrying
 *   retrying   delay is over                                 starting
 *   any        any other fault                               stopped, with the error
 *   any        asked to stop                                 stopped
 *
 * A fault that an operator has to mend stops capture with its code. Nothing is lost by that: what is not in the log is
 * not confirmed, so the slot keeps it.
 */
import type { Position } from '../change/position.ts';
import { Backoff } from '../platform/backoff.ts';
import { isInfrastructure, SynclineError } from '../platform/errors.ts';
import { type Random, systemRandom } from '../platform/random.ts';
import { runLoop } from '../platform/run-loop.ts';
import type { BaselineState } from './baseline.ts';
import { runSession } from './capture-session.ts';
import { NOTHING_PUBLISHED, type PublishedCounts } from './publish/publisher.ts';
import type { CaptureOptions, OpenedEpoch, SessionEvents, StreamingSession } from './session-start.ts';
import type { SlotHistory } from './slot/slot.ts';
import type { PublicationReport } from './tables/publication.ts';

export type CaptureState =
  | { readonly kind: 'starting' }
  | { readonly kind: 'streaming'; readonly run: number }
  | { readonly kind: 'retrying'; readonly error: unknown; readonly attempt: number; readonly delayMs: number }
  /** `error` is null where it was asked to stop. */
  | { readonly kind: 'stopped'; readonly error: unknown };

export type CaptureListeners = {
  readonly onState?: (state: CaptureState) => void;
  /** After each look at the publication, also one that found nothing new. */
  readonly onPublication?: (report: PublicationReport) => void;
  /** Called where the database turned out to be another than the one that wrote the stream's end. */
  readonly onEpoch?: (opened: OpenedEpoch) => void;
  /** Where the stream begins, before anything else is told of it. */
  readonly onHistory?: (history: SlotHistory) => void;
  readonly onBaseline?: (state: BaselineState) => void;
  readonly random?: Random;
};

export class Capture implements AsyncDisposable {
  readonly #options: CaptureOptions;
  readonly #listeners: CaptureListeners;
  readonly #stop = new AbortController();
  readonly #ended: Promise<void>;
  #state: CaptureState = { kind: 'starting' };
  #before: PublishedCounts = NOTHING_PUBLISHED;
  #session: StreamingSession | null = null;
  #fault: unknown = null;
  #retainedBytes: number | null = null;
  #durableLsn: bigint | null = null;
  #lastDurableAtMs: number | null = null;
  #publication: PublicationReport | null = null;
  #baseline: BaselineState = { kind: 'starting' };

  private constructor(options: CaptureOptions, listeners: CaptureListeners) {
    this.#options = options;
    this.#listeners = listeners;
    this.#ended = this.#captureForEver();
  }

  /** Starts at once; what becomes of it is in `state`. */
  static start(options: CaptureOptions, listeners: CaptureListeners = {}): Capture {
    return new Capture(options, listeners);
  }

  get state(): CaptureState {
    return this.#state;
  }

  /** What was in the way last, until something is published again or it is asked to stop; null for nothing. */
  get fault(): unknown {
    return this.#fault;
  }

  /** Resolves once it has stopped, whatever the reason. */
  get ended(): Promise<void> {
    return this.#ended;
  }

  /** What was published since this object started, durable or on its way. */
  get counts(): PublishedCounts {
    const before = this.#before;
    const now = this.#session?.counts ?? NOTHING_PUBLISHED;
    return {
      transactions: before.transactions + now.transactions,
      heartbeats: before.heartbeats + now.heartbeats,
      rows: before.rows + now.rows,
      bytes: before.bytes + now.bytes,
      pushed: before.pushed + now.pushed,
      foreign: before.foreign + now.foreign,
    };
  }

  /** Where the stream ends, durable or on its way; null for one without anything, undefined while capture is interrupted. */
  get publishedTo(): Position | null | undefined {
    return this.#session?.publishedTo();
  }

  /** WAL that the server keeps for the slot, as of the last heartbeat; null while unknown. */
  get retainedBytes(): number | null {
    return this.#retainedBytes;
  }

  /** Everything that commits below it is in the log, or needs not be; null until the slot was looked at. */
  get durableLsn(): bigint | null {
    return this.#durableLsn;
  }

  /** When something became durable last, in Unix ms. */
  get lastDurableAtMs(): number | null {
    return this.#lastDurableAtMs;
  }

  /** What the tables held where the stream begins, as far as that is known. */
  get baseline(): BaselineState {
    return this.#baseline;
  }

  get publication(): PublicationReport | null {
    return this.#publication;
  }

  /** Drops records of the stream below the offset; does nothing while capture is interrupted. */
  async trim(offset: number): Promise<void> {
    await this.#session?.writer.trim(offset);
  }

  /** Ends in good order: what was published becomes durable and is confirmed. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #captureForEver(): Promise<void> {
    const backoff = new Backoff({ random: this.#listeners.random ?? systemRandom });
    try {
      await runLoop({
        run: async (signal, healthy) => {
          while (!signal.aborted) await this.#captureOnce(signal, healthy);
        },
        signal: this.#stop.signal,
        backoff,
        isRetryable,
        onState: (state) => {
          if (state.kind === 'waiting') this.#enter({ ...state, kind: 'retrying' });
        },
      });
      this.#enter({ kind: 'stopped', error: null });
    } catch (error) {
      this.#enter({ kind: 'stopped', error });
    }
  }

  async #captureOnce(signal: AbortSignal, healthy: () => void): Promise<void> {
    this.#enter({ kind: 'starting' });
    const events: SessionEvents = {
      onStreaming: (session) => {
        this.#session = session;
        // Another server's positions mean nothing here, be they higher or lower.
        this.#durableLsn = session.confirmedLsn;
        this.#enter({ kind: 'streaming', run: session.run });
      },
      onDurable: (endLsn) => {
        this.#fault = null;
        healthy();
        this.#durable(endLsn);
        this.#lastDurableAtMs = Date.now();
      },
      onEpoch: (opened) => this.#listeners.onEpoch?.(opened),
      onSlot: ({ retainedBytes }) => {
        this.#retainedBytes = retainedBytes;
      },
      onPublication: (report) => {
        this.#publication = report;
        this.#listeners.onPublication?.(report);
      },
      onHistory: (history) => this.#listeners.onHistory?.(history),
      onBaseline: (state) => {
        this.#baseline = state;
        this.#listeners.onBaseline?.(state);
      },
    };
    try {
      await runSession(this.#options, events, signal);
    } finally {
      this.#before = this.counts;
      this.#session = null;
    }
  }

  #durable(lsn: bigint): void {
    if (this.#durableLsn === null || lsn > this.#durableLsn) this.#durableLsn = lsn;
  }

  #enter(state: CaptureState): void {
    if ('error' in state) this.#fault = state.error;
    this.#state = state;
    this.#listeners.onState?.(state);
  }
}

/** The process that still writes the stream may be one that is just ending. */
function isRetryable(error: unknown): boolean {
  return isInfrastructure(error) || (error instanceof SynclineError && error.code === 'SYN-L008');
}
