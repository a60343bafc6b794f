// What has arrived and is not consumed yet, with the bytes it holds.
//
// The two marks are the backpressure of capture: at the upper one the socket is paused, at the
// lower one it is resumed. With a single mark the socket would change state for every frame. The
// queue itself may pass the upper mark by the frames of one chunk, and by one frame that is larger
// than the mark itself, which has to go through alone.

import { Fifo } from '../../platform/fifo.ts';
import { type Keepalive, type OversizedData, XLogData } from './copy-framing.ts';

export type QueuedFrame = XLogData | OversizedData | Keepalive;

/** What one queued frame costs beyond its payload: the object and its place in the queue. */
const FRAME_OVERHEAD_BYTES = 64;

export class FrameQueue {
  readonly #bytesMax: number;
  readonly #frames = new Fifo<QueuedFrame>();
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get isFull(): boolean {
    return this.#bytes >= this.#bytesMax;
  }

  get isDrained(): boolean {
    return this.#bytes <= this.#bytesMax / 2;
  }

  push(frame: QueuedFrame): void {
    this.#frames.push(frame);
    this.#bytes += sizeOf(frame);
  }

  shift(): QueuedFrame | undefined {
    const frame = this.#frames.shift();
    if (frame !== undefined) this.#bytes -= sizeOf(frame);
    return frame;
  }

  clear(): void {
    this.#frames.clear();
    this.#bytes = 0;
  }
}

function sizeOf(frame: QueuedFrame): number {
  return FRAME_OVERHEAD_BYTES + (frame instanceof XLogData ? frame.end - frame.start : 0);
}
