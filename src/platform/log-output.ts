/**
 * Where the lines of a log go: a file descriptor, written to at once, so that a crash loses no line.
 *
 * A log that cannot be written ends nobody's work: its disk is full, or its reader is gone or stands still. Lines that do not
 * fit are dropped and counted, and the first ones that do are told of it. Keeping them instead would take memory without a bound.
 */
import { writeSync } from 'node:fs';
import type { DestinationStream } from 'pino';

export type LogOutputOptions = {
  readonly fd: number;
  /** The line that tells how many were lost, and by what. */
  readonly noteOfLoss: (lines: number, why: string) => string;
  readonly write?: (fd: number, bytes: Buffer) => number;
};

/** A pipe takes no more while its reader is slow. A reader that stands still holds the agent up only once. */
const PATIENCE_MS = 1_000;
const POLL_MS = 10;

export class LogOutput implements DestinationStream {
  readonly #options: LogOutputOptions;
  readonly #write: NonNullable<LogOutputOptions['write']>;
  #lost = 0;
  #why = '';
  /** The last line that was written broke off. */
  #isTorn = false;

  constructor(options: LogOutputOptions) {
    this.#options = options;
    this.#write = options.write ?? writeSync;
  }

  write(line: string): void {
    if (this.#lost > 0 && this.#put(this.#options.noteOfLoss(this.#lost, this.#why))) this.#lost = 0;
    if (this.#lost > 0 || !this.#put(line)) this.#lost += 1;
  }

  #put(text: string): boolean {
    const bytes = Buffer.from(this.#isTorn ? `\n${text}` : text);
    const end = performance.now() + (this.#lost === 0 ? PATIENCE_MS : 0);
    let written = 0;
    while (written < bytes.length) {
      try {
        written += this.#write(this.#options.fd, bytes.subarray(written));
      } catch (error) {
        const why = error instanceof Error && 'code' in error ? String(error.code) : String(error);
        if (why === 'EAGAIN' && performance.now() < end) {
          pause();
          continue;
        }
        this.#why = why;
        this.#isTorn ||= written > 0;
        return false;
      }
    }
    this.#isTorn = false;
    return true;
  }
}

/** Holds the whole process, as a write to a slow reader does. */
function pause(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, POLL_MS);
}
