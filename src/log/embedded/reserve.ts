// Room on the disk of a stream that is kept for trimming. To delete takes room too, in the WAL, before it gives any back: a
// stream that has filled its own disk could not be trimmed, though nobody needs its content any more.
//
// It is a file, really written, since a sparse one has no room. A stream that is small has none, nor has a disk that is. It grows
// by as little at once as the stream does: all of it in one go would hold appends up for a tenth of a second.

import { randomFillSync } from 'node:crypto';
import { appendFileSync, statfsSync, truncateSync } from 'node:fs';
import { dirname } from 'node:path';
import { hasNoRoom, sizeOf } from './stream-file.ts';

/** What a trim takes at most before it gives back: a few commits on their way from the WAL, and its own. */
const RESERVE_BYTES = 16 * 1024 * 1024;
const STEP_BYTES_MIN = 64 * 1024;
const STEP_BYTES_MAX = 1024 * 1024;
/** It is taken only where there is several times as much. */
const FREE_MIN = 4;

export class Reserve {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  /** Takes a part of the room, as much as was appended or a little more; whether there is more to take. */
  grow(appendedBytes: number): boolean {
    const size = sizeOf(this.#path);
    if (size >= RESERVE_BYTES) return false;
    const { bavail, bsize } = statfsSync(dirname(this.#path));
    if (bavail * bsize + size < FREE_MIN * RESERVE_BYTES) return false;
    const step = Math.min(Math.max(appendedBytes, STEP_BYTES_MIN), STEP_BYTES_MAX);
    const bytes = Math.min(step, RESERVE_BYTES - size);
    // What is all the same would take no room on a file system that compresses.
    appendFileSync(this.#path, randomFillSync(Buffer.alloc(bytes)));
    return size + bytes < RESERVE_BYTES;
  }

  /** Does it; where there is no room, once more with this one. */
  use<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      if (!hasNoRoom(error) || sizeOf(this.#path) === 0) throw error;
      truncateSync(this.#path);
      return work();
    }
  }
}
