/**
 * The clock of one embedded server, moved by libfaketime: Debian's package `faketime`, preloaded into the server process.
 *
 * The library reads a file at every look at the clock, so a test sets a running server's clock back or forth; every
 * backend sees it at once. The monotonic clock stays true, which the server's waits and timeouts go by.
 */
import { chmod, glob, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fail } from '../../src/platform/errors.ts';
import { sharedTemporaryFolder } from '../../src/platform/postgres-binaries.ts';

export class ServerClock implements AsyncDisposable {
  readonly #folder: string;
  readonly #library: string;

  private constructor(folder: string, library: string) {
    this.#folder = folder;
    this.#library = library;
  }

  /** A clock that is off by so many seconds. */
  static async create(offsetSeconds: number): Promise<ServerClock> {
    const library = await findLibrary();
    const folder = await mkdtemp(join(await sharedTemporaryFolder(), 'syncline-clock-'));
    // The server runs as another user than the tests do.
    await chmod(folder, 0o755);
    const clock = new ServerClock(folder, library);
    await clock.set(offsetSeconds);
    return clock;
  }

  /** What the server process needs in its environment. */
  get environment(): Readonly<Record<string, string>> {
    return {
      LD_PRELOAD: this.#library,
      FAKETIME_TIMESTAMP_FILE: this.#path,
      FAKETIME_NO_CACHE: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
    };
  }

  /** Sets the clock to the true time and so many seconds. */
  async set(offsetSeconds: number): Promise<void> {
    const next = `${this.#path}.next`;
    await writeFile(next, `${offsetSeconds < 0 ? '' : '+'}${offsetSeconds}\n`, { mode: 0o644 });
    // A server that reads a file half written would take it for no offset.
    await rename(next, this.#path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }

  get #path(): string {
    return join(this.#folder, 'offset');
  }
}

async function findLibrary(): Promise<string> {
  // The folder in between is named for the machine's architecture.
  for await (const found of glob('/usr/lib/*/faketime/libfaketime.so.1')) return found;
  throw fail(
    'SYN-D002',
    "libfaketime is not installed: the tests of the layer `clocks` need Debian's package faketime",
  );
}
