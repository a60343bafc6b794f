/**
 * Keeps a region's apply going: connects, opens the lane, reads every stream from its mark on, and starts again after
 * the connection was lost.
 *
 * The ledger is told the database's newest note before anything is applied, and before capture publishes anything (`opened`).
 * A new connection first ends the backend of the one before it: a COMMIT that is still under way there would bring a
 * note that the ledger does not know.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { isoToMicros } from '../../change/change-event.ts';
import { HLC_MAX, type Hlc, hlcFromMicros } from '../../change/hlc.ts';
import type { Position, Seen } from '../../change/position.ts';
import type { Heartbeat } from '../../change/stream-record.ts';
import { DatabaseClock } from '../../clock/database-clock.ts';
import type { NoteStore } from '../../clock/note-store.ts';
import type { NotesLedger } from '../../clock/notes-ledger.ts';
import type { Stability } from '../../clock/stability.ts';
import { WINDOW } from '../../clock/stamper.ts';
import type { EventLog, StreamReader } from '../../log/event-log.ts';
import { checkMark } from '../../log/mark-check.ts';
import { READ_AHEAD_IN_TURN, TransactionReader } from '../../log/transaction-reader.ts';
import { invariant } from '../../platform/assert.ts';
import { Backoff } from '../../platform/backoff.ts';
import { fail, isInfrastructure, isLogRefusal, SynclineError } from '../../platform/errors.ts';
import { systemRandom } from '../../platform/random.ts';
import { type RunState, runLoop } from '../../platform/run-loop.ts';
import type { ApplyPort, Mark } from '../apply-port.ts';
import type { OnError } from '../batch/batch-planner.ts';
import { type EventAt, readEvent } from '../event-at.ts';
import type { LaneItem } from '../lane-item.ts';
import type { Rest } from '../rest-watch.ts';
import type { OrphanLook } from '../upkeep/removed-parents.ts';
import type { AppliedReport } from './batch-attempt.ts';
import { Lane, type LaneOptions } from './lane.ts';
import { type Chore, LaneLoop } from './lane-loop.ts';
import type { LeadLimits } from './lead-gate.ts';
import { LinkConsumer } from './link-consumer.ts';
import { LinkFaults } from './link-faults.ts';
import type { RetryOutcome } from './quarantine-retry.ts';
import { readBack } from './read-back.ts';

const COMMANDS_MAX = 100;
/** Shorter than any caller waits: what is told to have failed must not be done later. */
const COMMAND_WAIT_MS = 10_000;
const RECONNECT_MS_MIN = 50;
const RECONNECT_MS_MAX = 10_000;
/** Between looks for the stream of a peer whose log is away. */
const RETURN_MS_MIN = 500;

export type Waiting = { readonly events: number; readonly oldest: string | null };

/** A connection for the lane, and what is read over it. */
export type ApplySession = AsyncDisposable & {
  readonly port: ApplyPort;
  readonly notes: Pick<NoteStore, 'newest'>;
  readonly orphans: OrphanLook;
};

export type ApplierOptions = {
  readonly region: string;
  readonly peers: readonly string[];
  /** The log where that region's stream is. */
  readonly logOf: (region: string) => EventLog;
  readonly openSession: () => Promise<ApplySession>;
  readonly ledger: NotesLedger;
  readonly stability: Stability;
  readonly batchRowsMax: number;
  readonly causalWaitMs: number;
  readonly onError: OnError;
  readonly isReplicated: (schema: string, table: string) => boolean;
  /** What tables merge by, and who runs the functions of it. */
  readonly merges: NonNullable<LaneOptions['merges']>;
  /** Where the own stream ends by what is published; null for nothing, undefined where that is not known. */
  readonly publishedTo: () => Position | null | undefined;
  readonly isPaused: (origin: string) => boolean;
  /** How far ahead of the local clock the events of a link may be. */
  readonly leadLimits: (origin: string) => LeadLimits;
  /** A heartbeat was read; its commit was this long ago by the local database's clock, or is still to come. */
  readonly onHeartbeat: (heartbeat: Heartbeat, delayMs: number) => void;
  readonly confirmedLsn: () => bigint;
  readonly onState: (state: RunState) => void;
  readonly onApplied: (report: AppliedReport) => void;
  readonly onBatch: (origin: string, items: readonly LaneItem[], durationMs: number) => void;
  /** Asked for what was passed by then; what it returns is called once that is durable. */
  readonly prepareAcknowledgement: () => () => void;
  readonly onFault: (origin: string, error: unknown) => void;
  /** As in `LaneLoop`; nothing is wrong with any chore when apply begins. */
  readonly onChoreFault: (chore: Chore, error: unknown) => void;
  /** How long a command may wait for its turn, in ms, unless as usual. */
  readonly commandWaitMs?: number;
};

export class Applier {
  readonly #options: ApplierOptions;
  #commands: (() => Promise<void>)[] = [];
  readonly #resting = new AbortController();
  readonly #opened = Promise.withResolvers<void>();
  /** By origin, up to where what is applied is durable. */
  readonly #durable = new Map<string, Mark>();
  /** The log may be closed, or gone, by then. */
  #isOver = false;
  #lane: Lane | null = null;
  #consumers: LinkConsumer[] = [];
  readonly #clock = new DatabaseClock();
  readonly #faults: LinkFaults;

  constructor(options: ApplierOptions) {
    this.#options = options;
    this.#faults = new LinkFaults(options.onFault);
  }

  /** Resolves once the ledger knows what the database had noted. */
  get opened(): Promise<void> {
    return this.#opened.promise;
  }

  get marks(): Seen {
    return this.#lane?.marks ?? {};
  }

  /** As in `Lane`; null while there is none. */
  get trackedFrom(): Hlc | null {
    return this.#lane?.trackedFrom ?? null;
  }

  mark(origin: string): Mark | undefined {
    return this.#lane?.mark(origin);
  }

  /** As in `Lane`; null while there is none. */
  get echoedLsn(): bigint | null {
    return this.#lane?.echoedLsn ?? null;
  }

  /** The mark as it is durable; undefined where that is not known yet. */
  durableMark(origin: string): Mark | undefined {
    return this.#durable.get(origin);
  }

  /** What waits of one stream: events read ahead, and the commit time of the oldest. Null while nobody reads it, or can. */
  waiting(origin: string): Waiting | null {
    const consumer = this.#consumers.find((each) => each.origin === origin);
    if (consumer === undefined) return null;
    const { waiting, oldestWaiting } = consumer;
    return oldestWaiting === null && this.#faults.isStanding(origin)
      ? null
      : { events: waiting, oldest: oldestWaiting };
  }

  /**
   * Runs until the signal aborts; rejects with what no new connection can mend. A log that refuses this region, by a password
   * or a right that it lacks, is asked again like one that is away: it is mended there, and the agent keeps telling of it.
   */
  async run(stopping: AbortSignal): Promise<void> {
    const { onState } = this.#options;
    try {
      await runLoop({
        signal: AbortSignal.any([stopping, this.#resting.signal]),
        onState,
        isRetryable: (error) => isInfrastructure(error) || isLogRefusal(error),
        backoff: new Backoff({ minMs: RECONNECT_MS_MIN, maxMs: RECONNECT_MS_MAX, random: systemRandom }),
        run: async (ending, healthy) => await this.#session(ending, healthy),
      });
    } finally {
      this.#isOver = true;
    }
  }

  async retry(eventIds: readonly string[]): Promise<RetryOutcome[]> {
    return await this.#command(async (lane) => await lane.retry(eventIds));
  }

  /** Whether the region is at rest; if it is, nothing is applied any more. Waits for its turn for as long as that takes. */
  async rest(): Promise<Rest> {
    const rest = async (lane: Lane): Promise<Rest> => {
      const found = await lane.rest();
      if (found.kind === 'rest') this.#resting.abort();
      return found;
    };
    return await this.#command(rest, null);
  }

  async discard(eventIds: readonly string[]): Promise<void> {
    await this.#command(async (lane) => await lane.discard(eventIds));
  }

  async #session(signal: AbortSignal, healthy: () => void): Promise<void> {
    const { region, peers, ledger, stability, logOf } = this.#options;
    await using session = await this.#options.openSession();
    ledger.reset(await session.notes.newest());
    const { isReplicated, onApplied, onError, merges } = this.#options;
    const readers: StreamReader[] = [];
    const returning: Promise<void>[] = [];
    const ended = new AbortController();
    const eventAt: EventAt = async (place) => {
      const reader = readers.find(({ stream }) => stream === place.origin);
      return reader === undefined ? null : await readEvent(reader, place);
    };
    const { port, orphans } = session;
    const options = { region, onError, isReplicated, onApplied, eventAt, orphans, merges };
    const lane = new Lane(port, ledger, stability, options);
    await lane.open();
    this.#lane = lane;
    // The server may be another one than that of the lane before, or an older copy of it.
    this.#durable.clear();
    this.#opened.resolve();
    try {
      const consumers: LinkConsumer[] = [];
      for (const origin of [region, ...peers]) {
        const reader = await logOf(origin).reader(origin);
        readers.push(reader);
        const consumer = await this.#consumer(lane, origin, reader);
        if (consumer === 'away') returning.push(this.#returns(origin, reader, ended.signal));
        else if (consumer !== null) consumers.push(consumer);
      }
      this.#consumers = consumers;
      const isBack = new AbortController();
      for (const each of returning) void each.then(() => isBack.abort());
      await this.#loop(session.port, lane, consumers).run(AbortSignal.any([signal, isBack.signal]), healthy);
      if (!signal.aborted) throw fail('SYN-L060', 'a stream can be read again that was away when apply began');
    } finally {
      ended.abort();
      await Promise.all(returning);
      this.#consumers = [];
      for (const reader of readers) await reader[Symbol.asyncDispose]();
    }
  }

  #loop(port: ApplyPort, lane: Lane, consumers: readonly LinkConsumer[]): LaneLoop {
    const { region, batchRowsMax, confirmedLsn, isPaused, leadLimits, onBatch, onChoreFault, publishedTo } =
      this.#options;
    return new LaneLoop({
      region,
      lane,
      port,
      consumers,
      batchRowsMax,
      confirmedLsn,
      publishedTo,
      isPaused,
      leadLimits,
      clock: this.#clock,
      wasStanding: (origin) => this.#faults.isStanding(origin),
      onFault: (origin, error) => this.#faults.lane(origin, error),
      onChoreFault,
      onBatch,
      prepareAcknowledgement: () => this.#prepareAcknowledgement(lane),
      nextCommand: () => this.#commands.shift(),
    });
  }

  /**
   * Reads on from the mark, makes sure that the log still holds there what was applied, and tells the lane what was.
   * Where it does not, this link stands still until the next connection, and the others go on: null. So it does where the log
   * of a peer is away, or refuses this region, a cluster of its own: then apply begins anew once it can be read.
   */
  async #consumer(lane: Lane, origin: string, reader: StreamReader): Promise<LinkConsumer | 'away' | null> {
    const mark = lane.mark(origin);
    try {
      await this.#takeBackAcknowledgement(lane, origin);
      if (mark !== undefined) {
        await checkMark(mark, reader);
        await remember(lane, mark, reader);
      }
    } catch (error) {
      const isAway = (error instanceof SynclineError && error.code === 'SYN-L060') || isLogRefusal(error);
      if ((isInfrastructure(error) && !isAway) || origin === this.#options.region) throw error;
      // Without this stream no conflict can be told for certain.
      lane.lacks(HLC_MAX);
      this.#faults.lane(origin, error);
      return isAway ? 'away' : null;
    }
    const transactions = new TransactionReader(reader, mark?.log_offset ?? 0, READ_AHEAD_IN_TURN);
    return new LinkConsumer(origin, transactions, this.#options.causalWaitMs, (heartbeat) => this.#heard(heartbeat));
  }

  /** Resolves once the stream can be read, or the signal aborts. */
  async #returns(origin: string, reader: StreamReader, signal: AbortSignal): Promise<void> {
    const backoff = new Backoff({ minMs: RETURN_MS_MIN, maxMs: RECONNECT_MS_MAX, random: systemRandom });
    while (!signal.aborted) {
      await delay(backoff.nextMs(), undefined, { signal }).catch(() => undefined);
      if (signal.aborted) return;
      try {
        await reader.bounds();
        this.#faults.lane(origin, null);
        return;
      } catch (error) {
        this.#faults.lane(origin, error);
      }
    }
  }

  #heard(heartbeat: Heartbeat): void {
    const nowMicros = this.#clock.nowMicros();
    if (nowMicros === null) return;
    const delayMs = Number(nowMicros - isoToMicros(heartbeat.committed_at)) / 1_000;
    this.#options.onHeartbeat(heartbeat, delayMs);
  }

  /** A database that was restored needs again what it had acknowledged before. */
  async #takeBackAcknowledgement(lane: Lane, origin: string): Promise<void> {
    const { logOf, region } = this.#options;
    const acknowledged = (await logOf(origin).acknowledged(origin)).get(region);
    const needed = (lane.mark(origin)?.log_offset ?? 0) - 1;
    if (acknowledged === undefined || acknowledged <= needed) return;
    await logOf(origin).acknowledge(origin, region, needed);
  }

  /** For what is committed by now; to be called once it is durable. */
  #prepareAcknowledgement(lane: Lane): () => void {
    // A stream that does not hold what was applied of it is another one: what is needed of that is unknown.
    const marks = this.#consumers.flatMap(({ origin }) => lane.mark(origin) ?? []);
    const tellLinks = this.#options.prepareAcknowledgement();
    return () => {
      for (const mark of marks) this.#acknowledge(mark);
      tellLinks();
    };
  }

  /** Tells the log what this region needs no more. */
  #acknowledge(mark: Mark): void {
    const { origin, log_offset } = mark;
    const known = this.#durable.get(origin)?.log_offset;
    this.#durable.set(origin, mark);
    if (known === log_offset || this.#isOver) return;
    const { logOf, region } = this.#options;
    // What conflicts are not settled with yet is read back after a restart, if the log still has it: to hold it there would
    // leave a full log full, since settling needs heartbeats that it has no room for.
    logOf(origin)
      .acknowledge(origin, region, log_offset - 1)
      .then(
        () => this.#faults.acknowledgement(origin, null),
        (error: unknown) => this.#faults.acknowledgement(origin, error),
      );
  }

  /** Runs in the lane's turn, between batches; one whose turn does not come in time is withdrawn. */
  async #command<T>(
    work: (lane: Lane) => Promise<T>,
    waitMs: number | null = this.#options.commandWaitMs ?? COMMAND_WAIT_MS,
  ): Promise<T> {
    if (this.#commands.length >= COMMANDS_MAX) throw fail('SYN-T009', `${COMMANDS_MAX} commands wait for the lane`);
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const command = async (): Promise<void> => {
      clearTimeout(timer);
      invariant(this.#lane !== null, 'commands run between batches of a lane');
      await work(this.#lane).then(resolve, reject);
    };
    const withdraw = (): void => {
      this.#commands = this.#commands.filter((each) => each !== command);
      const busy = `the lane was at work on a batch for ${waitMs} ms; nothing was done`;
      const isServed = this.#consumers.length > 0;
      reject(isServed ? fail('SYN-T009', busy) : fail('SYN-P009', 'apply is not connected to the database'));
    };
    const timer = waitMs === null ? undefined : setTimeout(withdraw, waitMs);
    timer?.unref();
    this.#commands.push(command);
    return await promise;
  }
}

/** Tells the lane what was applied before it began, as far as conflicts are not settled. */
async function remember(lane: Lane, mark: Mark, reader: StreamReader): Promise<void> {
  const onLack = (): void => lane.lacks(highestAt(mark));
  const parts = readBack(reader, mark, lane.neededFrom(mark.origin), onLack);
  for await (const items of parts) await lane.remember(mark.origin, items);
}

/** Nothing of the stream up to the mark is stamped at or above it. */
function highestAt({ event_id }: Mark): Hlc {
  const millis = BigInt(`0x${event_id.slice(0, 8)}${event_id.slice(9, 13)}`);
  return hlcFromMicros((millis + 1n) * 1000n) + WINDOW;
}
