// A real PostgreSQL server from the npm binaries, for the demo and for tests.
//
// Each server copies the template of postgres-binaries.ts into a folder of its own (below SYNCLINE_SERVER_FOLDER,
// or the temporary folder), listens on a loopback port and does not outlive this process, for which
// guarded-process.ts cares.
//
// Backends are in process groups of their own (PostgreSQL calls setsid in each), so killing the
// group of the postmaster would leave them behind, holding locks and slots: kill9 looks them up.

import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { appendFile, chown, mkdir, open, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import { fail } from '../errors.ts';
import { renewSystemIdentifier } from './control-file.ts';
import { freePort, LOOPBACK } from './free-port.ts';
import { Watchdog } from './guarded-process.ts';
import {
  installPostgres,
  type PostgresInstallation,
  type PostgresMajor,
  sharedTemporaryFolder,
} from './postgres-binaries.ts';
import { childrenOf, isAlive } from './processes.ts';

export type PostgresSettings = Readonly<Record<string, string>>;

const START_ATTEMPTS_MAX = 5;
const START_LIMIT_MS = 60_000;
const STOP_LIMIT_MS = 15_000;
const POLL_MS = 10;

const DEFAULTS: PostgresSettings = {
  wal_level: 'logical',
  track_commit_timestamp: 'on',
  max_replication_slots: '20',
  max_wal_senders: '20',
  max_connections: '200',
  shared_buffers: '64MB',
  listen_addresses: LOOPBACK,
  unix_socket_directories: '',
  // Files below the data directory go with it; a killed server would leave POSIX segments behind.
  dynamic_shared_memory_type: 'mmap',
};

export class EmbeddedPostgres {
  readonly host = LOOPBACK;
  readonly version: PostgresMajor;
  readonly folder: string;
  readonly #installation: PostgresInstallation;
  readonly #environment: Readonly<Record<string, string>>;
  readonly #watchdog: Watchdog;
  #port = 0;
  #server: ChildProcess | undefined;

  private constructor(
    version: PostgresMajor,
    folder: string,
    installation: PostgresInstallation,
    environment: Readonly<Record<string, string>>,
  ) {
    this.version = version;
    this.#environment = environment;
    this.folder = folder;
    this.#installation = installation;
    this.#watchdog = new Watchdog({ signal: 'QUIT', folder, runAs: installation.runAs });
  }

  /** `environment` is what the server process gets beyond its own few variables. */
  static async start(options: {
    version: PostgresMajor;
    settings?: PostgresSettings;
    environment?: Readonly<Record<string, string>>;
  }): Promise<EmbeddedPostgres> {
    const installation = await installPostgres(options.version);
    const { runAs, template } = installation;
    const parent = process.env.SYNCLINE_SERVER_FOLDER ?? (await sharedTemporaryFolder());
    const folder = join(parent, `syncline-server-${randomBytes(6).toString('hex')}`);
    await mkdir(folder, { mode: 0o755 });
    if (runAs.uid !== undefined && runAs.gid !== undefined) await chown(folder, runAs.uid, runAs.gid);
    const server = new EmbeddedPostgres(options.version, folder, installation, options.environment ?? {});
    try {
      const copy = spawn('cp', ['-Rp', template, join(folder, 'data')], { ...runAs, stdio: 'ignore' });
      const [status] = await once(copy, 'exit');
      if (status !== 0) throw fail('SYN-D002', `the template cannot be copied to ${folder}`);
      await renewSystemIdentifier(server.dataDirectory);
      await server.#configure({ ...DEFAULTS, ...options.settings });
      await server.restart();
      return server;
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
  }

  get dataDirectory(): string {
    return join(this.folder, 'data');
  }

  get port(): number {
    return this.#port;
  }

  /** The process id of the postmaster, or undefined while the server is down. */
  get pid(): number | undefined {
    return this.#watchdog.pid;
  }

  /** The URL of a database for the superuser `postgres`, or for another role. */
  url(database = 'postgres', role: { user: string; password: string } = this.#superuser): string {
    const user = `${encodeURIComponent(role.user)}:${encodeURIComponent(role.password)}`;
    return `postgres://${user}@${LOOPBACK}:${this.#port}/${encodeURIComponent(database)}`;
  }

  get #superuser(): { user: string; password: string } {
    return { user: 'postgres', password: this.#installation.password };
  }

  /** Makes an empty database and returns its name. */
  async createDatabase(name = `db_${randomBytes(6).toString('hex')}`): Promise<string> {
    const client = new Client({ connectionString: this.url() });
    client.on('error', () => undefined); // The awaited call below reports it.
    await client.connect();
    try {
      await client.query(`create database ${client.escapeIdentifier(name)}`);
    } finally {
      await client.end();
    }
    return name;
  }

  /** Stops the server and keeps its data; restart() brings it back on the same port. */
  async stop(mode: 'fast' | 'immediate' = 'fast'): Promise<void> {
    if (mode === 'fast' && (await this.#signal('SIGINT', STOP_LIMIT_MS))) return;
    if (await this.#signal('SIGQUIT', STOP_LIMIT_MS)) return;
    await this.kill9();
  }

  /** kill -9 of the postmaster and of every backend: what a power cut is to the processes. */
  async kill9(): Promise<void> {
    const pid = this.pid;
    if (pid === undefined) return;
    // A stopped postmaster cannot fork, so the list of its children is complete.
    process.kill(pid, 'SIGSTOP');
    const processes = [pid, ...(await childrenOf(pid))];
    for (const each of processes) {
      try {
        process.kill(each, 'SIGKILL');
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
      }
    }
    const limit = Date.now() + STOP_LIMIT_MS;
    for (const each of processes) {
      while (await isAlive(each)) {
        if (Date.now() > limit) throw fail('SYN-D002', `process ${each} does not die`);
        await delay(POLL_MS);
      }
    }
    await this.#signal('SIGKILL', STOP_LIMIT_MS);
  }

  /** Starts the server again, also after kill9 or a crash, with the given settings changed. */
  async restart(settings: PostgresSettings = {}): Promise<void> {
    await this.stop();
    await this.#configure(settings);
    const isFirst = this.#port === 0;
    for (let attempt = 1; ; attempt += 1) {
      if (isFirst) this.#port = await freePort();
      if (await this.#spawn()) return;
      // Another process may have taken the port in between; a second look costs little.
      if (!isFirst || attempt === START_ATTEMPTS_MAX) {
        throw fail('SYN-D002', `PostgreSQL ${this.version} did not start:\n${await this.logTail()}`);
      }
    }
  }

  /** The end of the server's log. */
  async logTail(characters = 4_000): Promise<string> {
    const text = await readFile(join(this.folder, 'server.log'), 'utf8').catch(() => '');
    return text.slice(-characters);
  }

  /** Stops the server without ceremony and removes its data. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop('immediate');
    await this.#watchdog.close();
    await rm(this.folder, { recursive: true, force: true });
  }

  async #configure(settings: PostgresSettings): Promise<void> {
    const lines = Object.entries(settings).map(([name, value]) => `${name} = '${value.replaceAll("'", "''")}'\n`);
    await appendFile(join(this.dataDirectory, 'postgresql.conf'), lines.join(''));
  }

  /** True once the server accepts connections, false if it ended instead. */
  async #spawn(): Promise<boolean> {
    const log = await open(join(this.folder, 'server.log'), 'a', 0o644);
    try {
      const postgres = join(this.#installation.bin, 'postgres');
      const options = ['-D', this.dataDirectory, '-p', String(this.#port)];
      const server = this.#watchdog.start([postgres, ...options], {
        cwd: this.folder,
        env: { PATH: process.env.PATH, LC_ALL: 'C', ...this.#environment },
        output: log.fd,
      });
      server.on('exit', () => {
        if (this.#server === server) this.#server = undefined;
      });
      this.#server = server;
      return await this.#becomesReady(server);
    } finally {
      await log.close();
    }
  }

  /** The postmaster writes its pid and, once it is up, `ready` into postmaster.pid, as pg_ctl reads it. */
  async #becomesReady(server: ChildProcess): Promise<boolean> {
    const limit = Date.now() + START_LIMIT_MS;
    while (this.#server === server) {
      const lines = (await readFile(join(this.dataDirectory, 'postmaster.pid'), 'utf8').catch(() => '')).split('\n');
      if (lines[0] === String(server.pid) && lines[7]?.trim() === 'ready') return true;
      if (Date.now() > limit) {
        await this.kill9();
        return false;
      }
      await delay(POLL_MS);
    }
    return false;
  }

  /** Sends a signal and tells whether the server ended within the limit. */
  async #signal(signal: NodeJS.Signals, limitMs: number): Promise<boolean> {
    const server = this.#server;
    if (server === undefined) return true;
    server.kill(signal);
    const limit = Date.now() + limitMs;
    while (this.#server === server) {
      if (Date.now() > limit) return false;
      await delay(POLL_MS);
    }
    return true;
  }
}
