// Tells the server how far this side has got, and never more than that.
//
// The server moves the slot's confirmed position to whatever flush position it is told, and removes
// WAL and catalog rows behind it: a position that is too high loses changes for good. So nothing is
// reported before the first confirm(); the position never moves by receiving or delivering alone;
// and it never moves back. (0/0 means unknown to the server, which then leaves the slot as it is.)
//
// Updates also go out on a timer, whether or not anything was confirmed. They are what keeps
// wal_sender_timeout from cutting the connection while the socket is paused, because then the
// server's own requests for a reply wait unread behind the data.

import type { Writable } from 'node:stream';
import { systemClock } from '../../platform/clock.ts';
import { POSTGRES_EPOCH_MICROS } from './pgoutput-decoder.ts';

const STATUS_FRAME_BYTES = 39;
const COPY_DATA = 0x64; // d
const STATUS_UPDATE = 0x72; // r

/** A server that reads nothing gets no further updates; the next one that fits says it all. */
const UNSENT_BYTES_MAX = 64 * STATUS_FRAME_BYTES;

export class StandbyStatus {
  readonly #socket: Writable;
  readonly #spacingMs: number;
  readonly #nowMs: () => number;
  #confirmedLsn = 0n;
  #pending: NodeJS.Timeout | undefined;
  #sentAtMs = Number.NEGATIVE_INFINITY;

  /** What is not sent at once is sent within the spacing, together with what comes until then. */
  constructor(socket: Writable, spacingMs: number, nowMs: () => number = () => performance.now()) {
    this.#socket = socket;
    this.#spacingMs = spacingMs;
    this.#nowMs = nowMs;
  }

  get confirmedLsn(): bigint {
    return this.#confirmedLsn;
  }

  /** Reports the position soon; confirmations that follow each other share one update. */
  confirm(lsn: bigint): void {
    if (lsn <= this.#confirmedLsn) return;
    this.#confirmedLsn = lsn;
    this.#sendSoon();
  }

  /**
   * Replies to a request of the server: at once, unless it has just heard from us. A server that
   * shuts down asks again as soon as it is answered, until everything is confirmed; answering at
   * that pace keeps a core busy on both sides.
   */
  answer(): void {
    if (this.#nowMs() - this.#sentAtMs >= this.#spacingMs) this.send();
    else this.#sendSoon();
  }

  send(options: { replyRequested?: boolean } = {}): void {
    this.close();
    if (!this.#socket.writable || this.#socket.writableLength > UNSENT_BYTES_MAX) return;
    this.#socket.write(encodeStatus(this.#confirmedLsn, options.replyRequested ?? false));
    this.#sentAtMs = this.#nowMs();
  }

  /** Forgets an update that is due; the position that it would have reported stays. */
  close(): void {
    clearTimeout(this.#pending);
    this.#pending = undefined;
  }

  #sendSoon(): void {
    this.#pending ??= setTimeout(() => this.send(), this.#spacingMs);
  }
}

/** A CopyData frame with a standby status update: written, flushed and applied are one position. */
function encodeStatus(lsn: bigint, replyRequested: boolean): Buffer {
  const frame = Buffer.allocUnsafe(STATUS_FRAME_BYTES);
  frame[0] = COPY_DATA;
  frame.writeUInt32BE(STATUS_FRAME_BYTES - 1, 1);
  frame[5] = STATUS_UPDATE;
  frame.writeBigUInt64BE(lsn, 6);
  frame.writeBigUInt64BE(lsn, 14);
  frame.writeBigUInt64BE(lsn, 22);
  // Shown as pg_stat_replication.reply_time, and used for nothing else.
  frame.writeBigInt64BE(systemClock.nowMicros() - POSTGRES_EPOCH_MICROS, 30);
  frame[38] = replyRequested ? 1 : 0;
  return frame;
}
