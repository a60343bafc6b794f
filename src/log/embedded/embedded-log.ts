// The log of one machine: a directory that the agents of several regions share, with no server. Each
// stream is a folder of its own (stream-file.ts) with one writer; any process may read it.
//
// Commits run in one thread per log (writer-worker.ts), which is started with the first writer.

import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import type { EventLog, StreamReader, StreamWriter } from '../event-log.ts';
import { AckFiles } from './ack-files.ts';
import { makeFolder } from './durable-files.ts';
import { EmbeddedReader } from './embedded-reader.ts';
import { EmbeddedWriter } from './embedded-writer.ts';
import { storeError, streamPaths } from './stream-file.ts';
import { WriterThread } from './writer-thread.ts';

/** What one stream may occupy on disk unless the configuration says otherwise: 20 GiB. */
export const STREAM_BYTES_MAX = 20 * 1024 ** 3;

export type EmbeddedLogOptions = {
  /** The bound of each stream; an append that would pass it fails before anything is written. */
  readonly max_bytes?: number;
};

export class EmbeddedLog implements EventLog {
  readonly #directory: string;
  readonly #bytesMax: number;
  readonly #acks = new Map<string, AckFiles>();
  readonly #writers = new Set<StreamWriter>();
  readonly #readers = new Set<StreamReader>();
  #thread: WriterThread | undefined;

  private constructor(directory: string, options: EmbeddedLogOptions) {
    this.#directory = directory;
    this.#bytesMax = options.max_bytes ?? STREAM_BYTES_MAX;
  }

  /** Creates the directory where it does not exist, and makes sure that it can be written. */
  static async open(directory: string, options: EmbeddedLogOptions = {}): Promise<EmbeddedLog> {
    try {
      makeFolder(directory);
      await access(directory, constants.R_OK | constants.W_OK | constants.X_OK);
    } catch (error) {
      throw storeError(error, directory);
    }
    return new EmbeddedLog(directory, options);
  }

  async writer(stream: string): Promise<StreamWriter> {
    if (this.#thread?.hasEnded !== false) this.#thread = new WriterThread();
    const thread = this.#thread;
    await thread.call(stream, { kind: 'open', directory: this.#directory, bytesMax: this.#bytesMax });
    const writer: StreamWriter = new EmbeddedWriter(stream, thread, () => this.#writers.delete(writer));
    this.#writers.add(writer);
    return writer;
  }

  async reader(stream: string): Promise<StreamReader> {
    const paths = streamPaths(this.#directory, stream);
    const reader: StreamReader = new EmbeddedReader(stream, paths, () => this.#readers.delete(reader));
    this.#readers.add(reader);
    return reader;
  }

  acknowledge(stream: string, consumer: string, offset: number): Promise<void> {
    return this.#acksOf(stream).write(consumer, offset);
  }

  acknowledged(stream: string): Promise<ReadonlyMap<string, number>> {
    return this.#acksOf(stream).read();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const open of [...this.#readers, ...this.#writers]) await open[Symbol.asyncDispose]();
    await this.#thread?.terminate();
    this.#thread = undefined;
  }

  #acksOf(stream: string): AckFiles {
    const known = this.#acks.get(stream);
    if (known !== undefined) return known;
    const files = new AckFiles(streamPaths(this.#directory, stream).acks);
    this.#acks.set(stream, files);
    return files;
  }
}
