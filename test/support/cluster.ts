/**
 * Several regions as users run them: a real PostgreSQL and a real agent process each, over one log, which is the embedded
 * one unless the test or the environment (cluster-log.ts) names another.
 *
 * Agents are started by `bin/syncline agent`, so a SIGKILL hits what it would hit in production. `settle` waits until
 * every region has applied everything that was committed anywhere before the call.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { type Hlc, hlcFromMicros } from '../../src/change/hlc.ts';
import { lsnFromText, makePosition, type Position } from '../../src/change/position.ts';
import { connect, type PostgresClient } from '../../src/platform/postgres.ts';
import { EmbeddedPostgres } from '../../src/platform/servers/embedded-postgres.ts';
import { freePorts } from '../../src/platform/servers/free-port.ts';
import type { PostgresMajor } from '../../src/platform/servers/postgres-binaries.ts';
import {
  type AgentRole,
  DEFAULT_ROLE,
  HAS_ORIGINS,
  makePlainRole,
  mayNeedGrants,
  runDoctorsStatements,
} from './agent-role.ts';
import { logsOf } from './cluster-log.ts';
import { DEFAULT_MAJOR } from './postgres-majors.ts';
import { ServerClock } from './server-clock.ts';
import { TcpProxy } from './tcp-proxy.ts';
import { Hopeless, waitFor } from './wait-for.ts';

const PROGRAM = resolve(import.meta.dirname, '../../bin/syncline');
const SETTLE_LIMIT_MS = 120_000;
const STOP_LIMIT_MS = 60_000;
const READY_LIMIT_MS = 180_000;
/** An agent that is held, by a signal, answers nothing. */
const ANSWER_LIMIT_MS = 10_000;

export type ClusterOptions = {
  readonly regions?: readonly string[];
  /** Run in every region before the agents start. */
  readonly schema: string;
  readonly settings?: Readonly<Record<string, string>>;
  /** By how many seconds the clocks of servers are off, by region; needs libfaketime. */
  readonly clocks?: Readonly<Record<string, number>>;
  /** Region → version of its PostgreSQL, where a test names it. */
  readonly versions?: Readonly<Record<string, PostgresMajor>>;
  /** Where streams live, as YAML, for all regions alike. */
  readonly log?: string;
  /** The same by region. */
  readonly logs?: Readonly<Record<string, string>>;
  /** How the agent of a region reaches the log of a peer, where not as that one's own agent does. */
  readonly logOfPeer?: (region: string, peer: string) => string;
  /** Added to each agent's configuration file: YAML lines at the top level. */
  readonly config?: string;
  /** Whom agents connect as, where a test names it. */
  readonly role?: AgentRole;
  /** Regions that write under no replication origins; as SYNCLINE_ORIGINS says unless given. */
  readonly withoutOrigins?: readonly string[];
  /** Whether agents start with the cluster; else each is started by the test. */
  readonly agents?: boolean;
  /** Whether agents reach their databases through a proxy, which a test can cut. */
  readonly isProxied?: boolean;
};

/** Rows that are looked at once more, and tables whose rows are still to be told, before all is as it will be. */
const LOOKS = `select (select count(*) from syncline.look_again) + (select count(*) from syncline.transfer_hold)
  + (select count(*) from syncline.transfer t where state in ('published', 'sealed', 'ready') and not exists (
       select from syncline.transfer r where (r.schema_name, r.table_name, r.state) = (t.schema_name, t.table_name, 'refused')))
  + (select count(*) from syncline.merge_state where visit_at is not null)`;

/** An error that nobody catches ends this process and no agent: those would go on asking for servers that are gone. */
const RUNNING = new Set<ChildProcess>();
process.on('exit', () => {
  for (const agent of RUNNING) agent.kill('SIGKILL');
});

export class ClusterRegion {
  readonly name: string;
  readonly server: EmbeddedPostgres;
  readonly database: string;
  readonly configPath: string;
  readonly port: number;
  /** The clock of the server, where a test may set it. */
  readonly clock: ServerClock | null;
  readonly role: AgentRole;
  /** Between the agent and its database. */
  readonly proxy: TcpProxy | null;
  agent: ChildProcess | null = null;
  /** What is started as the agent: this build, unless a test puts another one there. */
  program = PROGRAM;
  #client: PostgresClient | null = null;

  constructor(
    name: string,
    server: EmbeddedPostgres,
    database: string,
    configPath: string,
    port: number,
    clock: ServerClock | null,
    role: AgentRole,
    proxy: TcpProxy | null = null,
  ) {
    this.name = name;
    this.clock = clock;
    this.role = role;
    this.proxy = proxy;
    this.server = server;
    this.database = database;
    this.configPath = configPath;
    this.port = port;
  }

  get url(): string {
    return this.server.url(this.database);
  }

  get api(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** A statement as a user would send it; rows as arrays of text. */
  async sql(text: string): Promise<(string | null)[][]> {
    if (this.#client === null || this.#client.lost.aborted) {
      this.#client = await connect(this.url, { applicationName: 'test', statementTimeoutMs: 600_000 });
      await this.#client.query('set search_path = public, pg_catalog');
    }
    const { rows } = await this.#client.queryArrays(text);
    if (this.role === 'plain' && mayNeedGrants(text)) await runDoctorsStatements(this.url, this.configPath);
    return rows as (string | null)[][];
  }

  async one(text: string): Promise<string | null> {
    return (await this.sql(text))[0]?.[0] ?? null;
  }

  /** A session of its own, for interleavings. */
  async session(url = this.url): Promise<PostgresClient> {
    const client = await connect(url, { applicationName: 'test session', statementTimeoutMs: 600_000 });
    await client.query('set search_path = public, pg_catalog');
    return client;
  }

  startAgent(): ChildProcess {
    const agent = spawn(this.program, ['agent', '-c', this.configPath], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.agent = agent;
    RUNNING.add(agent);
    agent.on('exit', () => RUNNING.delete(agent));
    agent.stdout.on('data', (chunk: Buffer) => this.#keep(chunk));
    agent.stderr.on('data', (chunk: Buffer) => this.#keep(chunk));
    return agent;
  }

  /** The end of what the agents of this region printed. */
  output = '';
  #keep(chunk: Buffer): void {
    this.output = `${this.output}${chunk.toString()}`.slice(-20_000);
  }

  async agentReady(limitMs = READY_LIMIT_MS): Promise<void> {
    await waitFor(
      async () => {
        if (this.agent?.exitCode != null) throw new Hopeless(`the agent of ${this.name} ended:\n${this.output}`);
        const answer = await fetch(`${this.api}/readyz`, { signal: AbortSignal.timeout(ANSWER_LIMIT_MS) });
        if (answer.ok) return true;
        throw new Error(await answer.text());
      },
      { what: () => `the agent of ${this.name} to be ready; it printed:\n${this.output}`, limitMs },
    );
  }

  async killAgent(): Promise<void> {
    const agent = this.agent;
    this.agent = null;
    if (agent === null || agent.exitCode !== null || agent.signalCode !== null) return;
    const gone = once(agent, 'exit');
    agent.kill('SIGKILL');
    await gone;
  }

  async stopAgent(): Promise<number | null> {
    const agent = this.agent;
    this.agent = null;
    if (agent === null || agent.exitCode !== null || agent.signalCode !== null) return agent?.exitCode ?? null;
    agent.kill('SIGTERM');
    try {
      await waitFor(() => agent.exitCode !== null || agent.signalCode !== null, {
        what: () => `the agent of ${this.name} to end; it printed:\n${this.output.slice(-2_000)}`,
        limitMs: STOP_LIMIT_MS,
      });
    } catch (error) {
      agent.kill('SIGKILL');
      throw error;
    }
    return agent.exitCode;
  }

  async end(): Promise<void> {
    await this.killAgent();
    await this.#client?.end();
    await this.proxy?.[Symbol.asyncDispose]();
    await this.server.stop('immediate');
    await this.clock?.[Symbol.asyncDispose]();
  }
}

export class Cluster implements AsyncDisposable {
  readonly regions: readonly ClusterRegion[];
  readonly #directory: string;

  private constructor(regions: readonly ClusterRegion[], directory: string) {
    this.regions = regions;
    this.#directory = directory;
  }

  static async start(options: ClusterOptions): Promise<Cluster> {
    const names = options.regions ?? ['eu', 'us', 'ap'];
    const directory = await mkdtemp(join(tmpdir(), 'syncline-cluster-'));
    await mkdir(join(directory, 'log'));
    const ports = await freePorts(names.length);
    const { log } = options;
    const logs =
      options.logs ?? (log === undefined ? await logsOf(names, join(directory, 'log')) : everywhere(names, log));
    const regions = await Promise.all(
      names.map(async (name, place) => {
        const offset = options.clocks?.[name];
        const clock = offset === undefined ? null : await ServerClock.create(offset);
        const environment = clock?.environment ?? {};
        const server = await EmbeddedPostgres.start({
          version: options.versions?.[name] ?? DEFAULT_MAJOR,
          settings: { ...options.settings },
          environment,
        });
        const database = await server.createDatabase();
        const port = ports[place] ?? 0;
        const path = join(directory, `${name}.yaml`);
        const role = options.role ?? DEFAULT_ROLE;
        const direct = role === 'plain' ? await makePlainRole(server, database) : server.url(database);
        const proxy = options.isProxied === true ? await proxyBefore(direct) : null;
        const url = proxy?.url(direct) ?? direct;
        const peers = names
          .flatMap((peer, other) => {
            if (peer === name) return [];
            const log = options.logOfPeer?.(name, peer) ?? logs[peer];
            const ofPeer = log === logs[name] ? '' : `, log: ${log}`;
            return [`  - { region: ${peer}, api: "http://127.0.0.1:${ports[other]}"${ofPeer} }`];
          })
          .join('\n');
        await writeFile(
          path,
          `region: ${name}
database: ${url}
log: ${logs[name]}
api: { listen: "127.0.0.1:${port}" }
peers:
${peers}
${(options.withoutOrigins?.includes(name) ?? !HAS_ORIGINS) ? withoutOrigins(options.config ?? '') : (options.config ?? '')}
`,
        );
        return new ClusterRegion(name, server, database, path, port, clock, role, proxy);
      }),
    );
    const cluster = new Cluster(regions, directory);
    try {
      for (const region of regions) {
        if (options.schema.trim() !== '') await region.sql(options.schema);
        if (region.role === 'plain') await runDoctorsStatements(region.url, region.configPath);
      }
      if (options.agents !== false) await cluster.startAgents();
      return cluster;
    } catch (error) {
      await cluster[Symbol.asyncDispose]();
      throw error;
    }
  }

  region(name: string): ClusterRegion {
    const region = this.regions.find((each) => each.name === name);
    if (region === undefined) throw new Error(`the cluster has no region ${name}`);
    return region;
  }

  async startAgents(): Promise<void> {
    for (const region of this.regions) if (region.agent === null) region.startAgent();
    await Promise.all(this.regions.map(async (region) => await region.agentReady()));
  }

  /** Waits until every region, or those alone that are named, has applied, of every region, all that is committed now. */
  async settle(limitMs = SETTLE_LIMIT_MS, targets = this.regions): Promise<void> {
    const ends = new Map<string, Position>();
    for (const region of this.regions) {
      const epoch = (await region.one(`select value from syncline.meta where key = 'epoch'`)) ?? '';
      const lsn = lsnFromText((await region.one('select pg_current_wal_insert_lsn()')) ?? '0/0');
      ends.set(region.name, makePosition(epoch, lsn));
    }
    for (const region of targets) {
      await waitFor(
        async () => {
          const marks = await region.sql('select origin, position from syncline.applied');
          return [...ends].every(([origin, end]) => {
            const position = marks.find(([name]) => name === origin)?.[1];
            return position != null && position >= end;
          });
        },
        {
          what: () => `${region.name} to apply everything; its agent printed:\n${region.output.slice(-4_000)}`,
          limitMs,
        },
      );
    }
    for (const region of targets) {
      await waitFor(async () => (await region.one(LOOKS)) === '0', {
        what: `${region.name} to look again`,
        limitMs,
      });
    }
  }

  /** Waits until every conflict of what is committed anywhere by now is final in every region. */
  async settleConflicts(limitMs = SETTLE_LIMIT_MS): Promise<void> {
    await this.settle(limitMs);
    const stamps = await Promise.all(this.regions.map(highestStamp));
    const highest = stamps.reduce((a, b) => (a > b ? a : b));
    for (const region of this.regions) {
      await waitFor(
        async () => (await region.one(`select undecided_from > ${highest} from syncline.conflict_horizon`)) === 't',
        {
          what: () => `${region.name} to settle its conflicts; its agent printed:\n${region.output.slice(-4_000)}`,
          limitMs,
        },
      );
    }
  }

  /** The rows of a query in every region, which must be the same; returns them. */
  async equal(query: string): Promise<(string | null)[][]> {
    const [first, ...others] = await Promise.all(
      this.regions.map(async (region) => ({ name: region.name, rows: await region.sql(query) })),
    );
    if (first === undefined) throw new Error('a cluster has regions');
    for (const other of others) {
      const a = JSON.stringify(first.rows);
      const b = JSON.stringify(other.rows);
      if (a !== b) {
        throw new Error(
          `${first.name} and ${other.name} differ in ${query}:\n${a.slice(0, 2_000)}\n${b.slice(0, 2_000)}`,
        );
      }
    }
    return first.rows;
  }

  async configOf(name: string): Promise<string> {
    return await readFile(this.region(name).configPath, 'utf8');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.regions.map(async (region) => await region.end()));
    await rm(this.#directory, { recursive: true, force: true });
  }
}

/** What this region's clock tells, or what was stamped by one that told more, and was set back since. */
async function highestStamp(region: ClusterRegion): Promise<Hlc> {
  const [row] = await region.sql(
    `select extract(epoch from clock_timestamp()) * 1000000, (select max(max_hlc) from syncline.applied_at)`,
  );
  const now = hlcFromMicros(BigInt(Math.ceil(Number(row?.[0]))));
  const applied = BigInt(row?.[1] ?? 0);
  return now > applied ? now : applied;
}

async function proxyBefore(url: string): Promise<TcpProxy> {
  const { hostname, port } = new URL(url);
  return await TcpProxy.start({ host: hostname, port: Number(port) });
}

const everywhere = (names: readonly string[], log: string): Record<string, string> =>
  Object.fromEntries(names.map((name) => [name, log]));

/** The same lines at the top level, with that. */
function withoutOrigins(config: string): string {
  const setting = 'replication_origins: false';
  return /^apply: \{/m.test(config)
    ? config.replace(/^apply: \{/m, `apply: { ${setting},`)
    : `${config}\napply: { ${setting} }`;
}
