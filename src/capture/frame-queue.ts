// What has arrived and is not consumed yet, with the bytes it holds.
//
// The two marks are the backpressure of capture: at the upper one the socket is paused, at the
// lower one it is resumed. With a single mark the socket would change state for every frame. The
// queue itself may pass the upper mark by the frames of one chunk, and by one frame that is larger
// than the mark itself, which has to go through alone.

import { type Keepalive, XLogData } from './copy-framing.ts';

export type QueuedFrame = XLogData | Keepalive;

/** What one queued frame costs beyond its payload: the object and its place in the queue. */
const FRAME_OVERHEAD_BYTES = 64;
/** Consumed places at the head are reclaimed in blocks of at least this many. */
const COMPACT_AT = 4096;

export class FrameQueue {
  readonly #bytesMax: number;
  #frames: (QueuedFrame | undefined)[] = [];
  #head = 0;
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
    const frame = this.#frames[this.#head];
    if (frame === undefined) return undefined;
    this.#frames[this.#head] = undefined;
    this.#head += 1;
    this.#bytes -= sizeOf(frame);
    if (this.#head === this.#frames.length) {
      this.#frames.length = 0;
      this.#head = 0;
    } else if (this.#head >= COMPACT_AT && this.#head * 2 >= this.#frames.length) {
      this.#frames = this.#frames.slice(this.#head);
      this.#head = 0;
    }
    return frame;
  }

  clear(): void {
    this.#frames.length = 0;
    this.#head = 0;
    this.#bytes = 0;
  }
}

function sizeOf(frame: QueuedFrame): number {
  return FRAME_OVERHEAD_BYTES + (frame instanceof XLogData ? frame.end - frame.start : 0);
}
