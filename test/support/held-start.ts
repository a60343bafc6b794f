/**
 * An agent that is held up while it starts: a table that the start has to read is locked. Its database is reached over a proxy,
 * and has what a first start makes.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { migrate } from '../../src/platform/migrations.ts';
import { connect, type PostgresClient } from '../../src/platform/postgres.ts';
import { type Running, start } from './command.ts';
import type { PostgresServer } from './postgres-server.ts';
import { TcpProxy } from './tcp-proxy.ts';
import { waitFor } from './wait-for.ts';

const NAME = { applicationName: 'syncline test' };
/** Of the connections that a start opens one after the other, those that can be held, and the table that each reads first. */
const FIRST_READ = {
  lease: 'syncline.lease',
  control: 'syncline.link',
  notes: 'syncline.applied_at',
  apply: 'syncline.parked',
} as const;

export class HeldStart implements AsyncDisposable {
  readonly region: string;
  readonly url: string;
  readonly configPath: string;
  readonly proxy: TcpProxy;
  /** By the agent that was started last. */
  printed = '';
  #running: Running | undefined;

  private constructor(region: string, url: string, configPath: string, proxy: TcpProxy) {
    this.region = region;
    this.url = url;
    this.configPath = configPath;
    this.proxy = proxy;
  }

  static async prepare(server: PostgresServer, folder: string): Promise<HeldStart> {
    const database = await server.createDatabase();
    const url = server.url(database);
    await using client = await connect(url, NAME);
    await migrate(client);
    const { hostname, port } = new URL(url);
    const proxy = await TcpProxy.start({ host: hostname, port: Number(port) });
    const region = database.replaceAll('_', '-');
    const config = {
      region,
      database: proxy.url(url),
      log: { path: join(folder, database) },
      api: { listen: '127.0.0.1:0' },
      peers: [{ region: 'other' }],
    };
    const path = join(folder, `${database}.yaml`);
    await writeFile(path, JSON.stringify(config));
    return new HeldStart(region, url, path, proxy);
  }

  /** A connection that does not go over the proxy. */
  async sql(): Promise<PostgresClient> {
    return await connect(this.url, NAME);
  }

  /** Keeps that connection of the next start waiting until the one that is returned ends. */
  async hold(role: keyof typeof FIRST_READ): Promise<PostgresClient> {
    const holder = await this.sql();
    await holder.query(`begin; lock table ${FIRST_READ[role]} in access exclusive mode`);
    return holder;
  }

  startAgent(args: readonly string[] = ['agent']): Running {
    this.printed = '';
    this.#running = start([...args, '-c', this.configPath]);
    this.#running.process.stdout?.on('data', (chunk: string) => {
      this.printed += chunk;
    });
    return this.#running;
  }

  async prints(text: string): Promise<void> {
    await waitFor(() => this.printed.includes(text), { what: () => `the agent to print ${text}: ${this.printed}` });
  }

  async ready(): Promise<void> {
    await waitFor(
      async () => {
        const api = /"api":"([^"]+)"/.exec(this.printed)?.[1];
        return api !== undefined && (await fetch(`${api}/readyz`)).ok;
      },
      { what: () => `the agent to be ready: ${this.printed}` },
    );
  }

  /** The pid of the backend that waits for a lock under that name. */
  async waiting(sql: PostgresClient, role: string): Promise<string> {
    return await waitFor(
      async () => {
        const { rows } = await sql.query(
          `select pid from pg_stat_activity where wait_event_type = 'Lock' and application_name like $1`,
          [`syncline/${this.region}/%/${role}`],
        );
        return rows[0]?.pid;
      },
      { what: () => `${role} to wait: ${this.printed}` },
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#running?.process.kill('SIGKILL');
    await this.#running?.outcome;
    await this.proxy[Symbol.asyncDispose]();
  }
}
