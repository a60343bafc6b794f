// Room on the disk of a stream that is kept for trimming. To delete takes room too, in the WAL, before it gives any back: a
// stream that has filled its own disk could not be trimmed, though nobody needs its content any more.
//
// It is a file, really written, since a sparse one has no room. A stream that is small has none, nor has a disk that is.

import { randomFillSync } from 'node:crypto';
import { statfsSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { hasNoRoom, sizeOf } from './stream-file.ts';

/** What a trim takes at most before it gives back: a few commits on their way from the WAL, and its own. */
const RESERVE_BYTES = 16 * 1024 * 1024;
/** It is taken only where there is several times as much. */
const FREE_MIN = 4;

export class Reserve {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  /** Takes the room, unless that is done. */
  take(): void {
    if (sizeOf(this.#path) >= RESERVE_BYTES) return;
    const { bavail, bsize } = statfsSync(dirname(this.#path));
    if (bavail * bsize < FREE_MIN * RESERVE_BYTES) return;
    // What is all the same would take no room on a file system that compresses.
    writeFileSync(this.#path, randomFillSync(Buffer.alloc(RESERVE_BYTES)));
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
