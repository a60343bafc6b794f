/**
 * The clock of one embedded server, moved by libfaketime: Debian's package `faketime`, preloaded into the server process.
 *
 * The library reads a file, so a test sets a running server's clock back or forth; the monotonic clock stays true, which
 * the server's waits and timeouts go by. Each process reads the file every one or two seconds, so for that long some show
 * the new time and some the old one, as it is when a clock is stepped under load. It does not read at every look at the clock:
 * opening a file takes a lock of the C library, and a backend whose alarm goes off inside would wait for itself for ever.
 */
import { access, chmod, glob, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fail } from '../../src/platform/errors.ts';
import { sharedTemporaryFolder } from '../../src/platform/servers/postgres-binaries.ts';

/** What the library knows as whole seconds, and takes for passed once the next one has begun. */
const READ_EVERY_SECONDS = 1;
const READ_BY_ALL_MS = (READ_EVERY_SECONDS + 1) * 1_000 + 100;

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
    await forgetKilled();
    const folder = await mkdtemp(join(await sharedTemporaryFolder(), 'syncline-clock-'));
    // The server runs as another user than the tests do.
    await chmod(folder, 0o755);
    const clock = new ServerClock(folder, library);
    await clock.#write(offsetSeconds);
    return clock;
  }

  /** What the server process needs in its environment. */
  get environment(): Readonly<Record<string, string>> {
    return {
      LD_PRELOAD: this.#library,
      FAKETIME_TIMESTAMP_FILE: this.#path,
      FAKETIME_CACHE_DURATION: String(READ_EVERY_SECONDS),
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
    };
  }

  /** Sets the clock to the true time and so many seconds; resolves when every process has read it. */
  async set(offsetSeconds: number): Promise<void> {
    await this.#write(offsetSeconds);
    await delay(READ_BY_ALL_MS);
  }

  async #write(offsetSeconds: number): Promise<void> {
    const next = `${this.#path}.next`;
    await writeFile(next, `${offsetSeconds < 0 ? '' : '+'}${offsetSeconds}\n`, { mode: 0o644 });
    // A server that reads a file half written would take it for no offset.
    await rename(next, this.#path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
    await forgetKilled();
  }

  get #path(): string {
    return join(this.#folder, 'offset');
  }
}

/**
 * Each process that loads the library makes two files named for its pid, and removes them at its end unless it is killed. They
 * would keep a later process of that pid from starting.
 */
async function forgetKilled(): Promise<void> {
  for await (const path of glob('/dev/shm/{,sem.}faketime_{shm,sem}_*')) {
    const isAlive = await access(`/proc/${path.slice(path.lastIndexOf('_') + 1)}`).then(
      () => true,
      () => false,
    );
    if (!isAlive) await rm(path, { force: true });
  }
}

/** Null where it is not installed. */
export async function faketimeLibrary(): Promise<string | null> {
  // The folder in between is named for the machine's architecture.
  for await (const found of glob('/usr/lib/*/faketime/libfaketime.so.1')) return found;
  return null;
}

async function findLibrary(): Promise<string> {
  const found = await faketimeLibrary();
  if (found !== null) return found;
  throw fail(
    'SYN-D002',
    "libfaketime is not installed: the tests of the layer `clocks` need Debian's package faketime",
  );
}
