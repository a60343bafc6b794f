// A running logical replication stream: owns the socket from START_REPLICATION on.
//
//   socket → framing → queue → decoder → consumer (for await)
//                        ↑ full: the socket is held; half empty: it is released
//
// The consumer pulls, and nothing else decides the pace: a slow consumer fills the queue, the
// queue pauses the socket, TCP stops the server, and the server keeps the rest in its own spill
// files. Memory stays at the queue's bound plus one frame, however large a transaction is. Frames
// wait undecoded, so the bound is about bytes that really arrived.
//
// Requests of the server for a reply are answered when they arrive, not when they are consumed; the
// timer of StandbyStatus covers the time in which nothing is read. Silence of the server counts
// only while this side reads, and in ticks rather than in time, so that a blocked event loop or a
// slow consumer is never mistaken for a dead server. Nor is a server that works its way through what
// is not published, as the rows of a table that was rewritten: up to PostgreSQL 15 it says nothing
// meanwhile and answers no request, be it for hours, and would begin again from the start if the
// connection was cut. So the database is asked first, where that is possible.
//
// A failure is delivered in its place: after everything that arrived before it.

import type { Duplex } from 'node:stream';
import { invariant } from '../../platform/assert.ts';
import { type ErrorContext, fail, type SynclineError } from '../../platform/errors.ts';
import type { AppliedWork } from './applied-work.ts';
import {
  type BackendFrame,
  CopyFraming,
  type Keepalive,
  type OversizedData,
  type ServerReport,
  tooLarge,
  type XLogData,
} from './copy-framing.ts';
import { FrameQueue } from './frame-queue.ts';
import { PgoutputDecoder } from './pgoutput-decoder.ts';
import type { OversizedMessage, PgoutputMessage } from './pgoutput-messages.ts';
import { clientFailure, codeOf, serverFailure } from './replication-errors.ts';
import { SocketFlow } from './socket-flow.ts';
import { StandbyStatus } from './standby-status.ts';

export type StreamItem = PgoutputMessage | Keepalive;

export interface StreamLimits {
  /** The socket is paused while this much waits to be consumed. */
  readonly queueBytesMax: number;
  /** Of a larger row only that it is there is told; any other larger frame stops the stream with SYN-K007. */
  readonly frameBytesMax: number;
  /** How often the server hears from this side; well below any sensible wal_sender_timeout. */
  readonly statusIntervalMs: number;
  /** How long a confirmed position may wait for further ones to share its update. */
  readonly confirmDelayMs: number;
  /** How long a server that shuts down is kept waiting for confirmations. */
  readonly shutdownGraceMs: number;
  /** A server that says nothing for this long, though asked to, counts as lost unless it is known to be at work. */
  readonly silenceLimitMs: number;
  /** How long stop() waits for the server to end the stream before it cuts the connection. */
  readonly stopLimitMs: number;
}

const COPY_DONE = Buffer.from([0x63, 0, 0, 0, 4]);
const TERMINATE = Buffer.from([0x58, 0, 0, 0, 4]);

// A server asks for a reply once per wal_sender_timeout / 2 at most; only one that shuts down asks
// again and again, and it does so until all it sent is confirmed. If the log is away, that would
// hold up the shutdown for ever.
const INSISTENT_REQUESTS = 5;

type Phase = 'starting' | 'streaming' | 'stopping' | 'ended';

interface Waiter {
  resolve(result: IteratorResult<StreamItem, undefined>): void;
  reject(error: SynclineError): void;
}

const DONE: IteratorResult<StreamItem, undefined> = { value: undefined, done: true };

export interface StreamOptions {
  /** Of transactions that it knows, inserts, updates and deletes are dropped undecoded. */
  readonly applied?: AppliedWork | undefined;
  /** Whether the server's end of this stream is still there, asked in another way. */
  readonly isAtWork?: (() => Promise<boolean>) | undefined;
}

export class ReplicationStream implements AsyncIterable<StreamItem>, AsyncDisposable {
  readonly #socket: Duplex;
  readonly #limits: StreamLimits;
  readonly #context: ErrorContext;
  readonly #framing: CopyFraming;
  readonly #flow: SocketFlow;
  readonly #queue: FrameQueue;
  readonly #decoder = new PgoutputDecoder();
  readonly #status: StandbyStatus;
  readonly #started = Promise.withResolvers<void>();
  readonly #closed = Promise.withResolvers<void>();
  readonly #readyForQuery = Promise.withResolvers<void>();
  #phase: Phase = 'starting';
  #failure: SynclineError | undefined;
  #waiter: Waiter | undefined;
  readonly #ticker: NodeJS.Timeout;
  #stopping: Promise<void> | undefined;
  #silentTicks = 0;
  #insistentTicks = 0;
  #replyRequests = 0;
  /** The highest position up to which everything has been handed to the consumer. */
  #deliveredLsn: bigint;

  readonly #options: StreamOptions;
  #isAsking = false;

  /** Takes over the socket, on which nobody else listens for data any more. */
  constructor(
    socket: Duplex,
    startLsn: bigint,
    limits: StreamLimits,
    context: ErrorContext,
    options: StreamOptions = {},
  ) {
    this.#options = options;
    this.#socket = socket;
    this.#limits = limits;
    this.#context = context;
    this.#deliveredLsn = startLsn;
    this.#flow = new SocketFlow(socket);
    this.#queue = new FrameQueue(limits.queueBytesMax);
    this.#framing = new CopyFraming((frame) => this.#onFrame(frame), limits.frameBytesMax);
    this.#status = new StandbyStatus(socket, limits.confirmDelayMs);
    socket.on('data', (chunk: Buffer) => this.#onChunk(chunk));
    socket.on('error', (error) => this.#fail(clientFailure(error, this.#faultPhase, context)));
    socket.on('end', () => this.#onClose());
    socket.on('close', () => this.#onClose());
    this.#ticker = setInterval(() => this.#tick(), limits.statusIntervalMs);
    this.#started.promise.catch(() => undefined); // A caller may only be interested in the iterator.
  }

  /** Resolves once the server streams, and rejects with the reason why it does not. */
  get started(): Promise<void> {
    return this.#started.promise;
  }

  /** Bytes that arrived and wait to be consumed. */
  get queuedBytes(): number {
    return this.#queue.bytes;
  }

  /** Nothing is read, because the queue is full. */
  get isPaused(): boolean {
    return this.#flow.isHeld;
  }

  get confirmedLsn(): bigint {
    return this.#status.confirmedLsn;
  }

  /**
   * Lets the server forget what committed below this position. The caller has made all of it
   * durable. Only positions that this stream has delivered can be confirmed: anything above belongs
   * to changes that nobody has seen, and the slot would drop them.
   */
  confirm(lsn: bigint): void {
    invariant(lsn <= this.#deliveredLsn, `confirming ${lsn}, and only ${this.#deliveredLsn} was delivered`);
    if (this.#phase === 'streaming') this.#status.confirm(lsn);
  }

  /**
   * Messages in WAL order, and keepalives at their place between them. There is one consumer;
   * leaving the loop leaves the stream open, so that another loop goes on where this one stopped.
   */
  [Symbol.asyncIterator](): AsyncIterator<StreamItem, undefined> {
    return { next: () => this.#next() };
  }

  /** Ends the stream in good order: what is not consumed is dropped, and the slot is released. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #next(): Promise<IteratorResult<StreamItem, undefined>> {
    invariant(this.#waiter === undefined, 'a replication stream has one consumer at a time');
    const item = this.#take();
    if (item !== undefined) return { value: item, done: false };
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#phase === 'stopping' || this.#phase === 'ended') return DONE;
    return new Promise((resolve, reject) => {
      this.#waiter = { resolve, reject };
    });
  }

  #take(): StreamItem | undefined {
    for (;;) {
      const frame = this.#queue.shift();
      if (frame === undefined) return undefined;
      if (this.#flow.isHeld && this.#queue.isDrained) this.#flow.release();
      if (frame.kind === 'keepalive') {
        this.#delivered(frame.walEnd);
        return frame;
      }
      const tag = frame.kind === 'oversized' ? frame.tag : frame.bytes[frame.start];
      if (this.#options.applied?.isUnderWay !== true || !isRowChange(tag)) return this.#decode(frame);
    }
  }

  #decode(frame: XLogData | OversizedData): PgoutputMessage | undefined {
    try {
      const message =
        frame.kind === 'oversized' ? this.#oversized(frame) : this.#decoder.decode(frame.bytes, frame.start, frame.end);
      this.#options.applied?.next(message);
      if (message.kind === 'commit') this.#delivered(message.endLsn);
      else if (message.kind === 'message' && !message.transactional) this.#delivered(message.lsn);
      return message;
    } catch (error) {
      // What follows a message that cannot be read must not be handed out as if nothing was missing.
      this.#queue.clear();
      this.#fail(clientFailure(error, 'stream', this.#context));
      return undefined;
    }
  }

  #oversized({ tag, oid, frameBytes }: OversizedData): OversizedMessage {
    const relation = isRowChange(tag) ? this.#decoder.relation(oid) : undefined;
    if (relation === undefined) throw tooLarge(frameBytes, this.#limits.frameBytesMax);
    return { kind: 'oversized', relationOid: oid, relation, frameBytes };
  }

  #delivered(lsn: bigint): void {
    if (lsn > this.#deliveredLsn) this.#deliveredLsn = lsn;
  }

  #onChunk(chunk: Buffer): void {
    this.#silentTicks = 0;
    try {
      this.#framing.push(chunk);
    } catch (error) {
      this.#fail(clientFailure(error, 'stream', this.#context));
      return;
    }
    if (this.#phase !== 'streaming') return;
    this.#wakeConsumer();
    this.#flow.arrived(chunk.length);
    if (this.#queue.isFull) this.#flow.hold();
  }

  #wakeConsumer(): void {
    const waiter = this.#waiter;
    if (waiter === undefined) return;
    const item = this.#take();
    if (item === undefined) return;
    this.#waiter = undefined;
    waiter.resolve({ value: item, done: false });
  }

  #onFrame(frame: BackendFrame): void {
    switch (frame.kind) {
      case 'xlog-data':
      case 'oversized':
      case 'keepalive':
        if (this.#phase !== 'streaming') return;
        this.#queue.push(frame);
        if (frame.kind === 'keepalive' && frame.replyRequested) {
          this.#replyRequests += 1;
          this.#status.answer();
        }
        return;
      case 'copy-both':
        this.#begin();
        return;
      case 'error':
        this.#fail(serverFailure(frame.report, this.#faultPhase, this.#context));
        return;
      case 'notice':
        this.#onNotice(frame.report);
        return;
      case 'ready-for-query':
        this.#readyForQuery.resolve();
        return;
      case 'copy-done':
      case 'command-complete':
        if (this.#phase === 'streaming') this.#fail(this.#cut('the server ended the stream: it is shutting down'));
        return;
      case 'parameter-status':
        return;
    }
  }

  /** A notice is an error where it says that changes are left out: to go on would lose them. */
  #onNotice(report: ServerReport): void {
    if (codeOf(report, this.#faultPhase) === 'SYN-K002') {
      this.#fail(serverFailure(report, this.#faultPhase, this.#context));
    }
  }

  #begin(): void {
    if (this.#phase !== 'starting') return;
    this.#phase = 'streaming';
    this.#started.resolve();
  }

  #tick(): void {
    if (!this.#flow.isHeld) this.#silentTicks += 1;
    if (this.#isSilent && !this.#isAsking) void this.#judgeSilence();
    if (this.#phase !== 'streaming') return;
    this.#insistentTicks = this.#replyRequests >= INSISTENT_REQUESTS ? this.#insistentTicks + 1 : 0;
    this.#replyRequests = 0;
    if (this.#insistentTicks * this.#limits.statusIntervalMs > this.#limits.shutdownGraceMs) {
      this.#fail(this.#cut('the server waits for confirmations to shut down; what is not confirmed stays in the slot'));
      return;
    }
    // An idle server that hears from us has no reason to speak, so it is asked to.
    this.#status.send({ replyRequested: this.#silentMs > this.#limits.silenceLimitMs / 2 });
  }

  get #silentMs(): number {
    return this.#silentTicks * this.#limits.statusIntervalMs;
  }

  get #isSilent(): boolean {
    return this.#silentMs > this.#limits.silenceLimitMs;
  }

  /** Fails the stream unless the server is known to be at work; then it has as much time again. */
  async #judgeSilence(): Promise<void> {
    const detail = `the server said nothing for ${this.#silentMs} ms`;
    const { isAtWork } = this.#options;
    if (isAtWork === undefined) {
      this.#fail(this.#cut(detail));
      return;
    }
    this.#isAsking = true;
    try {
      const isThere = await isAtWork();
      if (isThere) this.#silentTicks = 0;
      else if (this.#isSilent) this.#fail(this.#cut(`${detail}, and no longer holds the slot for this stream`));
    } catch (cause) {
      if (this.#isSilent) this.#fail(this.#cut(`${detail}, and does not answer another connection either`, cause));
    } finally {
      this.#isAsking = false;
    }
  }

  #onClose(): void {
    if (this.#phase === 'starting' || this.#phase === 'streaming') {
      this.#fail(this.#cut('the server closed the connection'));
    }
    this.#closed.resolve();
  }

  #fail(failure: SynclineError): void {
    if (this.#phase === 'stopping' || this.#phase === 'ended') return;
    this.#failure = failure;
    this.#started.reject(failure);
    this.#end();
    this.#flow.close();
    this.#socket.destroy();
    // What arrived before it in the same chunk goes first; none of that may be for the consumer.
    this.#wakeConsumer();
    this.#waiter?.reject(failure);
    this.#waiter = undefined;
  }

  #end(): void {
    this.#phase = 'ended';
    clearInterval(this.#ticker);
    this.#status.close();
  }

  async #stop(): Promise<void> {
    if (this.#phase === 'ended') {
      await this.#untilOneOf(this.#closed.promise);
      return;
    }
    const wasStreaming = this.#phase === 'streaming';
    this.#phase = 'stopping';
    clearInterval(this.#ticker);
    this.#queue.clear();
    this.#waiter?.resolve(DONE);
    this.#waiter = undefined;
    this.#started.reject(this.#cut('the stream was stopped before it began'));
    // In the middle of a large transaction the server sends all of it before it looks at CopyDone;
    // the limit decides how much of that is worth waiting for.
    this.#flow.close();
    if (wasStreaming && this.#socket.writable) {
      this.#status.send();
      this.#socket.write(COPY_DONE);
      await this.#untilOneOf(this.#readyForQuery.promise, this.#closed.promise);
      if (this.#socket.writable) this.#socket.end(TERMINATE);
      await this.#untilOneOf(this.#closed.promise);
    }
    this.#end();
    this.#socket.destroy();
  }

  /** Waits for the first of them, or for the limit of stop(). */
  async #untilOneOf(...events: readonly Promise<void>[]): Promise<void> {
    const limit = Promise.withResolvers<void>();
    const timer = setTimeout(limit.resolve, this.#limits.stopLimitMs);
    await Promise.race([...events, limit.promise]);
    clearTimeout(timer);
  }

  #cut(detail: string, cause?: unknown): SynclineError {
    return fail('SYN-K003', detail, { cause, context: this.#context });
  }

  get #faultPhase(): 'start' | 'stream' {
    return this.#phase === 'starting' ? 'start' : 'stream';
  }
}

/** Insert, update, delete: https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html */
function isRowChange(tag: number | undefined): boolean {
  return tag === 0x49 || tag === 0x55 || tag === 0x44;
}
