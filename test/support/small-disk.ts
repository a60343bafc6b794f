/**
 * A disk of a few megabytes that a test can fill and clear: a tmpfs, which takes root on Linux to mount.
 *
 * It is filled by one file, up to the last byte, so that whoever writes next meets ENOSPC at once.
 */
import { execFile } from 'node:child_process';
import { chmod, chown, mkdtemp, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { sharedTemporaryFolder } from '../../src/platform/servers/postgres-binaries.ts';

const run = promisify(execFile);
const CHUNK = Buffer.alloc(1 << 20);

const sizeOption = (sizeMb: number): string => `size=${Math.floor(sizeMb * 1024)}k`;

export class SmallDisk implements AsyncDisposable {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  /** Mounts one that belongs to the user under whom `likeFolder` was made. */
  static async mount(sizeMb: number, owner?: { readonly uid: number; readonly gid: number }): Promise<SmallDisk> {
    const path = await mkdtemp(join(await sharedTemporaryFolder(), 'syncline-disk-'));
    await run('mount', ['-t', 'tmpfs', '-o', sizeOption(sizeMb), 'tmpfs', path]);
    await chmod(path, 0o755);
    if (owner !== undefined) await chown(path, owner.uid, owner.gid);
    return new SmallDisk(path);
  }

  /** No smaller than what is on it. */
  async resize(sizeMb: number): Promise<void> {
    await run('mount', ['-o', `remount,${sizeOption(sizeMb)}`, this.path]);
  }

  /** Leaves no byte free. */
  async fill(): Promise<void> {
    await using file = await open(this.#filler, 'a');
    for (let size = CHUNK.length; size >= 1; ) {
      try {
        const { bytesWritten } = await file.write(CHUNK, 0, size);
        if (bytesWritten < size) size = Math.floor(size / 2);
      } catch (error) {
        if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error;
        size = Math.floor(size / 2);
      }
    }
  }

  /** Gives back what `fill` took. */
  async clear(): Promise<void> {
    await rm(this.#filler, { force: true });
  }

  get #filler(): string {
    return join(this.path, 'filler');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // What still has a file open there ends by itself.
    await run('umount', ['--lazy', this.path]);
    await rm(this.path, { recursive: true, force: true });
  }
}
