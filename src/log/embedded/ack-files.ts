// What each consumer of a stream has acknowledged: one small file per consumer, written by that
// consumer alone, so that nobody waits for anybody.
//
// An acknowledgement only allows trimming, so an older one, or none, is always safe. That is why the
// file is replaced by a rename but not flushed: after a power cut it may be old, or empty, which
// counts as absent.

import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileNameOf, nameOfFile, storeError } from './stream-file.ts';

const EXTENSION = '.ack';

export class AckFiles {
  readonly #folder: string;
  /** The end of the queue of writes, so that a consumer's later acknowledgement lands last. */
  #writes: Promise<unknown> = Promise.resolve();

  constructor(folder: string) {
    this.#folder = folder;
  }

  write(consumer: string, offset: number): Promise<void> {
    const written = this.#writes.then(() => this.#replace(consumer, offset));
    this.#writes = written.catch(() => undefined);
    return written;
  }

  async read(): Promise<Map<string, number>> {
    const acknowledged = new Map<string, number>();
    for (const file of await this.#files()) {
      const text = await readFile(join(this.#folder, file), 'utf8').catch(() => '');
      const match = /^(-?\d+)\n$/.exec(text);
      if (match !== null) acknowledged.set(nameOfFile(file.slice(0, -EXTENSION.length)), Number(match[1]));
    }
    return acknowledged;
  }

  async #replace(consumer: string, offset: number): Promise<void> {
    const path = join(this.#folder, `${fileNameOf(consumer)}${EXTENSION}`);
    const fresh = `${path}.${process.pid}.new`;
    try {
      await mkdir(this.#folder, { recursive: true });
      await writeFile(fresh, `${offset}\n`);
      await rename(fresh, path);
    } catch (error) {
      throw storeError(error, path);
    }
  }

  async #files(): Promise<string[]> {
    const files = await readdir(this.#folder).catch((error: unknown) => {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
      throw storeError(error, this.#folder);
    });
    return files.filter((file) => file.endsWith(EXTENSION));
  }
}
