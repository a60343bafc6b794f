// Finds the PostgreSQL binaries that npm installed and makes them fit to run.
//
// Three things stand between the npm packages and a server that starts. PostgreSQL refuses to run
// as root, and an unprivileged user cannot read binaries below /root. The packages carry their
// library symlinks as a list that an install script recreates, and install scripts may be switched
// off. And initdb takes most of a second per server. So the binaries are copied once into a folder
// that everybody can read, with the symlinks made, and initdb runs once into a template that each
// server copies (src/platform/servers/embedded-postgres.ts).
//
// Both are built under a private name and renamed into place, so that parallel processes never see
// half of one. A cleaner of the temporary folder may remove files one by one: each tree records how
// many it has, and one that is not whole is moved aside and built again.

import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { chmod, chown, cp, lstat, mkdir, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { fail } from '../errors.ts';
import type { RunAs } from './guarded-process.ts';

/** The major versions that there are packages of, and that Syncline is proven on. */
export const POSTGRES_MAJORS = [14, 15, 16, 17, 18] as const;

export type PostgresMajor = (typeof POSTGRES_MAJORS)[number];

export interface PostgresInstallation {
  /** The folder of initdb, pg_ctl and postgres. */
  readonly bin: string;
  /** A data directory fresh from initdb, to be copied, never started. */
  readonly template: string;
  /** The password of the superuser `postgres` in the template. */
  readonly password: string;
  /** Whom the server has to run as; empty where the current user will do. */
  readonly runAs: RunAs;
}

const run = promisify(execFile);
const WHOLE = '.file-count';
const NOBODY = 65534;

const installations = new Map<PostgresMajor, Promise<PostgresInstallation>>();

/** The installation of one major version, prepared at most once per process. */
export function installPostgres(major: PostgresMajor): Promise<PostgresInstallation> {
  let installation = installations.get(major);
  if (installation === undefined) {
    installation = prepare(major);
    installations.set(major, installation);
    installation.catch(() => installations.delete(major));
  }
  return installation;
}

async function prepare(major: PostgresMajor): Promise<PostgresInstallation> {
  const source = await findPackage(major);
  const manifest = await readFile(join(source, 'package.json'), 'utf8');
  const runAs = await unprivilegedUser();
  const base = await sharedTemporaryFolder();
  const owner = process.getuid?.() ?? 0;
  const hash = createHash('sha256').update(`${manifest} ${owner}`).digest('hex').slice(0, 12);
  const home = join(base, `syncline-postgres-${major}-${hash}`);

  await buildOnce(join(home, 'native'), owner, (folder) => copyBinaries(join(source, 'native'), folder));
  const bin = join(home, 'native', 'bin');
  const passwordFile = join(home, 'password');
  await buildOnce(join(home, 'template'), owner, async (folder) => {
    const password = await readFile(passwordFile, 'utf8').catch(() => undefined);
    // The first of parallel builders wins: `wx` refuses to overwrite its password.
    if (password === undefined)
      await writeFile(passwordFile, randomBytes(18).toString('base64url'), { flag: 'wx', mode: 0o600 }).catch(
        () => undefined,
      );
    await initialise(bin, folder, await readFile(passwordFile, 'utf8'), runAs);
  });
  return { bin, template: join(home, 'template', 'data'), password: await readFile(passwordFile, 'utf8'), runAs };
}

async function findPackage(major: PostgresMajor): Promise<string> {
  const name = `postgres-${major}-${process.platform}-${process.arch}`;
  try {
    return dirname(dirname(fileURLToPath(import.meta.resolve(name))));
  } catch (cause) {
    throw fail('SYN-D001', `the package ${name} is not installed`, { cause, context: { package: name } });
  }
}

/** As root: `nobody` by its number on this machine. Otherwise nobody else is needed. */
async function unprivilegedUser(): Promise<RunAs> {
  if (process.getuid?.() !== 0) return {};
  const passwd = await readFile('/etc/passwd', 'utf8').catch(() => '');
  const match = /^nobody:[^:]*:(\d+):(\d+):/m.exec(passwd);
  return { uid: Number(match?.[1] ?? NOBODY), gid: Number(match?.[2] ?? NOBODY) };
}

/** The temporary folder, unless another user cannot reach it (TMPDIR below /root, for example). */
export async function sharedTemporaryFolder(): Promise<string> {
  if (process.getuid?.() !== 0) return tmpdir();
  for (let folder = tmpdir(); ; folder = dirname(folder)) {
    const { mode } = await lstat(folder);
    if ((mode & 0o001) === 0) return '/tmp';
    if (folder === dirname(folder)) return tmpdir();
  }
}

async function copyBinaries(from: string, to: string): Promise<void> {
  const left = /\/(pgxs|pkgconfig|pg-symlinks\.json)$|\.a$/;
  await cp(from, to, { recursive: true, verbatimSymlinks: true, filter: (path) => !left.test(path) });
  const links = JSON.parse(await readFile(join(from, 'pg-symlinks.json'), 'utf8').catch(() => '[]')) as {
    source: string;
    target: string;
  }[];
  for (const { source, target } of links) {
    // Paths start at the package; both ends of a link are in one folder.
    const link = join(dirname(to), target.replace(/^native/, basename(to)));
    await symlink(basename(source), link).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
  }
  // The umask of the install may have taken away what other users need.
  for (const entry of await readdir(to, { recursive: true, withFileTypes: true })) {
    if (entry.isSymbolicLink()) continue;
    const executable = entry.isDirectory() || basename(entry.parentPath) === 'bin';
    await chmod(join(entry.parentPath, entry.name), executable ? 0o755 : 0o644);
  }
}

async function initialise(bin: string, folder: string, password: string, runAs: RunAs): Promise<void> {
  const data = join(folder, 'data');
  const passwordFile = join(folder, 'password');
  await mkdir(data, { mode: 0o700 });
  await writeFile(passwordFile, password, { mode: 0o600 });
  if (runAs.uid !== undefined && runAs.gid !== undefined) {
    await chown(data, runAs.uid, runAs.gid);
    await chown(passwordFile, runAs.uid, runAs.gid);
  }
  const options = ['--username=postgres', '--auth=scram-sha-256', '--locale=C', '--encoding=UTF8', '--no-sync'];
  await run(join(bin, 'initdb'), [`--pgdata=${data}`, `--pwfile=${passwordFile}`, ...options], {
    ...runAs,
    cwd: folder,
    env: { PATH: process.env.PATH, LC_ALL: 'C' },
  });
  await rm(passwordFile);
}

/** Builds the folder under a private name and renames it into place, unless a whole one is there. */
async function buildOnce(folder: string, owner: number, build: (folder: string) => Promise<void>): Promise<void> {
  if (await isWhole(folder, owner)) return;
  await mkdir(dirname(folder), { mode: 0o755, recursive: true });
  await chmod(dirname(folder), 0o755);
  const unique = randomBytes(6).toString('hex');
  const scratch = `${folder}.${unique}`;
  try {
    await mkdir(scratch, { mode: 0o755 });
    await build(scratch);
    await chmod(scratch, 0o755);
    await writeFile(join(scratch, WHOLE), String(await countFiles(scratch)), { mode: 0o644 });
    // Whoever was faster built the same, and is left alone; what is there and not whole goes aside.
    if (!(await isPut(scratch, folder)) && !(await isWhole(folder, owner))) {
      await rename(folder, `${scratch}.broken`).catch(() => undefined);
      await isPut(scratch, folder);
    }
    if (!(await isWhole(folder, owner))) throw fail('SYN-D002', `${folder} cannot be built`);
  } finally {
    await rm(scratch, { recursive: true, force: true });
    await rm(`${scratch}.broken`, { recursive: true, force: true });
  }
}

/** False where something is at that place already. */
const isPut = (scratch: string, folder: string): Promise<boolean> =>
  rename(scratch, folder).then(
    () => true,
    () => false,
  );

/**
 * Whether the folder has all its files. Its parent must belong to this user: in a shared temporary
 * folder another user could have put a program of the expected name there.
 */
async function isWhole(folder: string, owner: number): Promise<boolean> {
  const parent = await lstat(dirname(folder)).catch(() => undefined);
  if (parent === undefined) return false;
  if (parent.uid !== owner || !parent.isDirectory() || (parent.mode & 0o022) !== 0) {
    throw fail('SYN-D002', `${dirname(folder)} belongs to another user or can be written by others; remove it`);
  }
  const count = await readFile(join(folder, WHOLE), 'utf8').catch(() => undefined);
  return count !== undefined && Number(count) === (await countFiles(folder));
}

const countFiles = async (folder: string): Promise<number> =>
  (await readdir(folder, { recursive: true })).filter((path) => path !== WHOLE).length;
