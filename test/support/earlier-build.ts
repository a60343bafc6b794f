/**
 * An earlier build of this repository, in a worktree of its own for as long as it is used. Its dependencies are those that are
 * installed here where these are the same versions, and are installed for it where not.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, realpath, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';

const ROOT = resolve(import.meta.dirname, '../..');
const execute = promisify(execFile);

export class EarlierBuild implements AsyncDisposable {
  readonly commit: string;
  readonly directory: string;

  private constructor(commit: string, directory: string) {
    this.commit = commit;
    this.directory = directory;
  }

  /** Without a name, the last commit from before the newest migration of the schema came. */
  static async make(name?: string): Promise<EarlierBuild> {
    const commit = await git('rev-parse', '--verify', `${name ?? (await beforeNewestMigration())}^{commit}`);
    const parent = await mkdtemp(join(tmpdir(), 'syncline-earlier-'));
    const build = new EarlierBuild(commit, join(parent, 'build'));
    try {
      await git('worktree', 'add', '--detach', build.directory, commit);
      if (await build.#hasSameDependencies()) {
        await symlink(await realpath(join(ROOT, 'node_modules')), join(build.directory, 'node_modules'));
      } else await execute('npm', ['ci', '--no-audit', '--no-fund'], { cwd: build.directory });
      return build;
    } catch (error) {
      await build[Symbol.asyncDispose]();
      throw error;
    }
  }

  get program(): string {
    return join(this.directory, 'bin/syncline');
  }

  async schemaVersion(): Promise<number> {
    return await countMigrations(this.directory);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await git('worktree', 'remove', '--force', this.directory).catch(() => undefined);
    await rm(resolve(this.directory, '..'), { recursive: true, force: true });
    await git('worktree', 'prune');
  }

  /** What it needs is here in the same version; what came later does not matter to it. */
  async #hasSameDependencies(): Promise<boolean> {
    const [theirs, ours] = await Promise.all([lockedIn(this.directory), lockedIn(ROOT)]);
    return [...theirs].every(([path, version]) => ours.get(path) === version);
  }
}

export const schemaVersionHere = async (): Promise<number> => await countMigrations(ROOT);

async function countMigrations(root: string): Promise<number> {
  return (await readdir(join(root, 'sql'))).filter((name) => /^\d{3}_.*\.sql$/.test(name)).length;
}

async function beforeNewestMigration(): Promise<string> {
  const newest = (await readdir(join(ROOT, 'sql'))).toSorted().at(-1) ?? '';
  const added = await git('log', '--diff-filter=A', '-1', '--format=%H', '--', join('sql', newest));
  if (added === '') throw new Error(`git does not know when sql/${newest} came: name a commit`);
  return `${added}^`;
}

async function git(...args: readonly string[]): Promise<string> {
  return (await execute('git', ['-C', ROOT, ...args])).stdout.trim();
}

async function lockedIn(root: string): Promise<Map<string, string | undefined>> {
  const { packages } = JSON.parse(await readFile(join(root, 'package-lock.json'), 'utf8')) as {
    readonly packages: Readonly<Record<string, { readonly version?: string }>>;
  };
  return new Map(
    Object.entries(packages).flatMap(([path, { version }]) => (path === '' ? [] : [[path, version] as const])),
  );
}
