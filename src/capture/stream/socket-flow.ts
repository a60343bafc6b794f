// Decides when the socket of a stream is read: not while the queue is full, and in larger pieces
// while much arrives.
//
// The WAL sender flushes after every few rows, so a busy stream arrives in chunks of some hundred
// bytes, and reading each of them costs more than decoding what it holds: three quarters of the
// CPU time of capture were measured to go there. In a burst of small chunks the socket therefore
// rests for a millisecond after each read, and the kernel joins what comes meanwhile. A stream with
// little traffic is never delayed, because a burst takes many chunks to begin and one small chunk
// to end.

import type { Duplex } from 'node:stream';

const REST_MS = 1;
/** So many chunks, each soon after the one before, are a burst. */
const BURST_CHUNKS = 32;
const BURST_GAP_MS = 4;
/** Less than this after a rest: the burst is over. */
const BURST_BYTES_MIN = 2 * 1024;
/** As much as one read takes: more may be waiting already, so there is nothing to rest for. */
const FULL_READ_BYTES = 64 * 1024;

export class SocketFlow {
  readonly #socket: Duplex;
  readonly #nowMs: () => number;
  #isHeld = false;
  #rest: NodeJS.Timeout | undefined;
  #chunks = 0;
  #arrivedAtMs = 0;

  constructor(socket: Duplex, nowMs: () => number = () => performance.now()) {
    this.#socket = socket;
    this.#nowMs = nowMs;
  }

  /** Nothing is read until release(). */
  get isHeld(): boolean {
    return this.#isHeld;
  }

  hold(): void {
    this.#isHeld = true;
    this.#socket.pause();
  }

  release(): void {
    this.#isHeld = false;
    if (this.#rest === undefined) this.#socket.resume();
  }

  /** Is told of every chunk, and lets the socket rest where that pays. */
  arrived(bytes: number): void {
    const nowMs = this.#nowMs();
    const isLate = nowMs - this.#arrivedAtMs > BURST_GAP_MS;
    const isBurst = this.#chunks >= BURST_CHUNKS;
    this.#arrivedAtMs = nowMs;
    this.#chunks = isLate || (isBurst && bytes < BURST_BYTES_MIN) ? 1 : this.#chunks + 1;
    if (this.#chunks < BURST_CHUNKS || bytes >= FULL_READ_BYTES || this.#rest !== undefined) return;
    this.#socket.pause();
    this.#rest = setTimeout(() => {
      this.#rest = undefined;
      if (!this.#isHeld) this.#socket.resume();
    }, REST_MS);
  }

  /** From now on the socket is left alone, and reads if it can. */
  close(): void {
    clearTimeout(this.#rest);
    this.#rest = undefined;
    this.#isHeld = false;
    this.#socket.resume();
  }
}
