// One region of the demo: a PostgreSQL server, and an agent as a process of its own, as in production.
// It can be lost as a whole, database and agent at once, and brought back.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fail } from '../platform/errors.ts';
import { connect } from '../platform/postgres.ts';
import { EmbeddedPostgres } from '../platform/servers/embedded-postgres.ts';
import { AgentClient } from './agent-client.ts';
import type { DemoLogs } from './demo-logs.ts';
import type { OrphanWatch } from './orphan-watch.ts';
import { SHOP_SCHEMA } from './shop-schema.ts';

const PROGRAM = resolve(import.meta.dirname, '../../bin/syncline');
const DATABASE = 'shop';
const READY_LIMIT_MS = 60_000;
const STOP_LIMIT_MS = 10_000;
const POLL_MS = 50;
const LOG_TAIL_CHARACTERS = 2_000;

export interface RegionPlan {
  readonly name: string;
  /** Of the API of its agent, on loopback. */
  readonly port: number;
}

export class DemoRegion {
  readonly name: string;
  readonly agent: AgentClient;
  readonly #folder: string;
  readonly #server: EmbeddedPostgres;
  readonly #watch: OrphanWatch;
  #process: ChildProcess | undefined;

  private constructor(plan: RegionPlan, folder: string, server: EmbeddedPostgres, watch: OrphanWatch) {
    this.name = plan.name;
    this.agent = new AgentClient(`http://127.0.0.1:${plan.port}`);
    this.#folder = folder;
    this.#server = server;
    this.#watch = watch;
  }

  /** Starts the server with the shop in it, and writes the configuration of the agent. */
  static async create(
    plan: RegionPlan,
    all: readonly RegionPlan[],
    { folder, watch, logs }: { readonly folder: string; readonly watch: OrphanWatch; readonly logs: DemoLogs },
  ): Promise<DemoRegion> {
    const server = await EmbeddedPostgres.start({ version: 18 });
    try {
      const region = new DemoRegion(plan, folder, server, watch);
      await server.createDatabase(DATABASE);
      const client = await connect(region.url, { applicationName: 'syncline demo' });
      try {
        await client.query(SHOP_SCHEMA);
      } finally {
        await client.end();
      }
      await writeFile(region.configPath, configText(plan, all, region.url, logs), { mode: 0o600 });
      return region;
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
  }

  get url(): string {
    return this.#server.url(DATABASE);
  }

  get configPath(): string {
    return join(this.#folder, `${this.name}.yaml`);
  }

  get logPath(): string {
    return join(this.#folder, `${this.name}.log`);
  }

  /** Resolves once the agent captures and applies. */
  async startAgent(signal: AbortSignal): Promise<void> {
    const log = await open(this.logPath, 'a', 0o600);
    try {
      // A session of its own: Ctrl-C in the terminal is for the demo, which ends its agents in order.
      const child = spawn(PROGRAM, ['agent', '-c', this.configPath], {
        detached: true,
        stdio: ['ignore', log.fd, log.fd],
      });
      this.#process = child;
      this.#watch.add(child);
      child.once('error', () => undefined); // The wait below tells that it never became ready.
    } finally {
      await log.close();
    }
    await this.#becomesReady(signal);
  }

  /** kill -9 of the agent and of every process of the server. */
  async lose(): Promise<void> {
    await Promise.all([this.#end('SIGKILL'), this.#server.kill9()]);
  }

  /** The database alone; its users need no agent. */
  async restartServer(): Promise<void> {
    await this.#server.restart();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.#end('SIGTERM');
    } finally {
      await this.#server[Symbol.asyncDispose]();
    }
  }

  /** For an agent that should be at work. */
  async throwIfAgentEnded(): Promise<void> {
    const child = this.#process;
    if (child === undefined || (child.exitCode === null && child.signalCode === null)) return;
    const how = child.signalCode ?? `exit code ${child.exitCode}`;
    throw fail('SYN-D004', `the agent of ${this.name} ended by itself (${how}); it wrote:\n${await this.#logTail()}`);
  }

  async #becomesReady(signal: AbortSignal): Promise<void> {
    const limit = performance.now() + READY_LIMIT_MS;
    while (!(await this.agent.isReady(signal))) {
      signal.throwIfAborted();
      const child = this.#process;
      const hasEnded = child === undefined || child.exitCode !== null || child.signalCode !== null;
      if (hasEnded || performance.now() > limit) {
        const what = hasEnded ? 'ended while it started' : `was not ready within ${READY_LIMIT_MS / 1_000} s`;
        throw fail('SYN-D004', `the agent of ${this.name} ${what}; it wrote:\n${await this.#logTail()}`);
      }
      await delay(POLL_MS);
    }
  }

  async #logTail(): Promise<string> {
    const text = await readFile(this.logPath, 'utf8').catch(() => '');
    return text.slice(-LOG_TAIL_CHARACTERS) || '(nothing)';
  }

  /** Ends the agent, by force if it does not go in time. */
  async #end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exit = once(child, 'exit');
    child.kill(signal);
    const force = setTimeout(() => child.kill('SIGKILL'), STOP_LIMIT_MS);
    await exit;
    clearTimeout(force);
  }
}

/** JSON is YAML, and quotes whatever a path or a password may hold; a `$` would start a variable. */
function configText(plan: RegionPlan, all: readonly RegionPlan[], url: string, logs: DemoLogs): string {
  const others = all.filter(({ name }) => name !== plan.name);
  const config = {
    region: plan.name,
    database: url,
    log: logs.of(plan.name).own,
    api: { listen: `127.0.0.1:${plan.port}` },
    tables: { include: ['public.*'] },
    peers: others.map(({ name, port }) => {
      const { peer } = logs.of(name);
      return { region: name, api: `http://127.0.0.1:${port}`, ...(peer !== null && { log: peer }) };
    }),
  };
  return `${JSON.stringify(config, null, 2).replaceAll('${', '$${')}\n`;
}
