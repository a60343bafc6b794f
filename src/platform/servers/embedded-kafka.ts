// A real Apache Kafka broker for tests and for trial: one process that is a whole KRaft cluster, on
// loopback ports, with its data in one folder.
//
//   await using broker = await startKafka();
//   broker.brokers // ['127.0.0.1:23456']
//
// The jars and Java come from kafka-artifacts.ts. The broker does not outlive this process, for which
// guarded-process.ts cares; a folder that the caller named stays, and can be started again, also
// after a kill -9 of everything.
//
// It counts as started once it has written so into its log, whose text belongs to the pinned version:
// its ports are bound long before it serves anybody.

import type { ChildProcess } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, open, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { invariant } from '../assert.ts';
import { fail } from '../errors.ts';
import { freePort, isPortFree, LOOPBACK } from './free-port.ts';
import { Watchdog } from './guarded-process.ts';
import { installKafka, type KafkaInstallation } from './kafka-artifacts.ts';
import {
  type KafkaMember,
  type KafkaPorts,
  type KafkaSecurity,
  type KafkaSettings,
  kafkaSettings,
  propertiesText,
  scramOptions,
} from './kafka-properties.ts';

export interface KafkaOptions {
  /** Where data, settings and log go, and stay; without it they go with the broker. */
  readonly directory?: string;
  /** The port for clients; without it a free one is chosen. */
  readonly port?: number;
  readonly security?: KafkaSecurity;
  /** A broker of several; without it, it is a cluster by itself. Members are started at once: one alone is no quorum. */
  readonly member?: KafkaMember;
  /** Settings of server.properties that differ from what kafka-properties.ts says. */
  readonly overrides?: KafkaSettings;
  /** A broker that serves for long is worth the time that Java takes to compile it well. */
  readonly isLongLived?: boolean;
}

const START_ATTEMPTS_MAX = 5;
const START_LIMIT_MS = 120_000;
const FORMAT_LIMIT_MS = 60_000;
const STOP_LIMIT_MS = 30_000;
const POLL_MS = 20;
const QUOTED_CHARACTERS = 4_000;
const STARTED = / kafka\.server\.KafkaRaftServer: .* Kafka Server started$/m;

const JAVA_OPTIONS = [
  '-Xmx512m',
  '-XX:+UseSerialGC',
  '-XX:+ExitOnOutOfMemoryError',
  '-XX:-UsePerfData',
  '-Djava.awt.headless=true',
];
// Half of the work of a start is compiling, which a broker that lives for seconds does not repay.
const SHORT_LIVED = ['-XX:TieredStopAtLevel=1'];

const LOGGING = `appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %p %c: %m%n
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
logger.server.name = kafka.server.KafkaRaftServer
logger.server.level = info
`;

export async function startKafka(options: KafkaOptions = {}): Promise<KafkaBroker> {
  const installation = await installKafka();
  const directory = options.directory ?? (await mkdtemp(join(tmpdir(), 'syncline-kafka-')));
  await mkdir(directory, { recursive: true });
  return await KafkaBroker.start(installation, directory, options);
}

export class KafkaBroker {
  readonly directory: string;
  readonly #installation: KafkaInstallation;
  readonly #options: KafkaOptions;
  readonly #watchdog: Watchdog;
  #ports: KafkaPorts = { client: 0, internal: 0, controller: 0 };
  #overrides: KafkaSettings;

  private constructor(installation: KafkaInstallation, directory: string, options: KafkaOptions) {
    this.directory = directory;
    this.#installation = installation;
    this.#options = options;
    this.#overrides = options.overrides ?? {};
    this.#watchdog = new Watchdog({ signal: 'KILL', ...(options.directory === undefined && { folder: directory }) });
  }

  static async start(installation: KafkaInstallation, directory: string, options: KafkaOptions): Promise<KafkaBroker> {
    const broker = new KafkaBroker(installation, directory, options);
    try {
      await writeFile(broker.#path('log4j2.properties'), LOGGING);
      await broker.#choosePorts();
      if (!(await exists(broker.#dataFolder))) await broker.#format();
      await broker.#startOnFreePorts();
      return broker;
    } catch (error) {
      await broker[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The bootstrap addresses for clients, secured as asked for. */
  get brokers(): string[] {
    return [`${LOOPBACK}:${this.#ports.client}`];
  }

  /** The same broker without security, and with every right: to set something up. */
  get internalBrokers(): string[] {
    return [`${LOOPBACK}:${this.#ports.internal}`];
  }

  get port(): number {
    return this.#ports.client;
  }

  /** The process id, or undefined while the broker is down. */
  get pid(): number | undefined {
    return this.#watchdog.pid;
  }

  /** Ends the broker by a signal and keeps its data: SIGKILL is what a power cut is to the process. */
  async kill(signal: 'SIGKILL' | 'SIGTERM' = 'SIGKILL'): Promise<void> {
    if (!(await this.#end(signal))) throw fail('SYN-D043', `the broker ${this.pid} does not end by ${signal}`);
  }

  /** Shuts the broker down and keeps its data. */
  async stop(): Promise<void> {
    if (!(await this.#end('SIGTERM'))) await this.kill();
  }

  /** Starts the broker again on the same ports and data, also after kill, with the given settings changed. */
  async restart(changes: KafkaSettings = {}): Promise<void> {
    await this.stop();
    this.#overrides = { ...this.#overrides, ...changes };
    if (!(await this.#spawn())) throw await this.#notStarted();
  }

  /** Holds the process, as a long pause of its machine would: connections stay, and nothing answers. */
  pause(): void {
    this.#signal('SIGSTOP');
  }

  resume(): void {
    this.#signal('SIGCONT');
  }

  /** The end of the broker's log. */
  async logTail(characters = QUOTED_CHARACTERS): Promise<string> {
    const text = await readFile(this.#path('server.log'), 'utf8').catch(() => '');
    return text.slice(-characters);
  }

  /** Stops the broker; without ceremony where its data go too. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#options.directory === undefined) await this.kill();
    else await this.stop();
    await this.#watchdog.close();
  }

  get #dataFolder(): string {
    return this.#path('data');
  }

  #path(name: string): string {
    return join(this.directory, name);
  }

  async #choosePorts(): Promise<void> {
    const { port, member } = this.#options;
    const ofMember = member?.ports[member.node - 1];
    if (ofMember !== undefined) {
      this.#ports = ofMember;
      return;
    }
    if (port !== undefined && !(await isPortFree(port))) throw fail('SYN-D043', `port ${port} is taken`);
    const chosen = new Set<number>(port === undefined ? [] : [port]);
    while (chosen.size < 3) chosen.add(await freePort());
    const [client = 0, internal = 0, controller = 0] = chosen;
    this.#ports = { client, internal, controller };
  }

  /** Makes the data folder under another name first, so that one of the right name is always whole. */
  async #format(): Promise<void> {
    const { security = {}, member } = this.#options;
    const scratch = this.#path(`data.${randomBytes(6).toString('hex')}`);
    const properties = this.#path('format.properties');
    try {
      const settings = { ...kafkaSettings(scratch, this.#ports, security, member), ...this.#overrides };
      await writeFile(properties, propertiesText(settings), { mode: 0o600 });
      const format = ['kafka.tools.StorageTool', 'format', '-t', member?.clusterId ?? randomUUID(), '-c', properties];
      const formatting = await this.#launch([...format, ...scramOptions(security)]);
      for (const limit = Date.now() + FORMAT_LIMIT_MS; this.pid !== undefined; await delay(POLL_MS)) {
        if (Date.now() > limit) await this.kill();
      }
      if (formatting.exitCode !== 0) throw await this.#notStarted();
      await rename(scratch, this.#dataFolder);
    } finally {
      await rm(scratch, { recursive: true, force: true });
      await rm(properties, { force: true });
    }
  }

  /** Another process may take a port between the look and the start; a second look costs little. */
  async #startOnFreePorts(): Promise<void> {
    for (let attempt = 1; attempt <= START_ATTEMPTS_MAX; attempt += 1) {
      if (await this.#spawn()) return;
      const free = await Promise.all(Object.values(this.#ports).map((port) => isPortFree(port)));
      if (free.every(Boolean)) break;
      await this.#choosePorts();
    }
    throw await this.#notStarted();
  }

  async #notStarted(): Promise<Error> {
    return fail('SYN-D043', `the broker in ${this.directory} did not start:\n${await this.logTail()}`);
  }

  /** True once the broker serves, false if it ended instead. */
  async #spawn(): Promise<boolean> {
    const { security, member } = this.#options;
    const settings = kafkaSettings(this.#dataFolder, this.#ports, security, member);
    const properties = this.#path('server.properties');
    await writeFile(properties, propertiesText({ ...settings, ...this.#overrides }), { mode: 0o600 });
    const logged = (await stat(this.#path('server.log')).catch(() => undefined))?.size ?? 0;
    await this.#launch(['kafka.Kafka', properties]);
    return await this.#becomesReady(logged);
  }

  /** Starts Java under the watchdog; what it writes goes into the log. */
  async #launch(mainAndArguments: readonly string[]): Promise<ChildProcess> {
    const { java, classPath } = this.#installation;
    const logging = `-Dlog4j2.configurationFile=${this.#path('log4j2.properties')}`;
    const options = [...JAVA_OPTIONS, ...(this.#options.isLongLived === true ? [] : SHORT_LIVED), logging];
    await using log = await open(this.#path('server.log'), 'a');
    return this.#watchdog.start([java, ...options, '-cp', classPath, ...mainAndArguments], {
      cwd: this.directory,
      env: { PATH: process.env.PATH, HOME: process.env.HOME, LC_ALL: 'C.UTF-8' },
      output: log.fd,
    });
  }

  async #becomesReady(logOffset: number): Promise<boolean> {
    for (const limit = Date.now() + START_LIMIT_MS; this.pid !== undefined; await delay(POLL_MS)) {
      const log = await readFile(this.#path('server.log'));
      if (STARTED.test(log.toString('utf8', logOffset))) return true;
      if (Date.now() > limit) await this.kill();
    }
    return false;
  }

  /** Sends a signal and tells whether the broker ended within the limit. */
  async #end(signal: NodeJS.Signals): Promise<boolean> {
    if (this.pid === undefined) return true;
    this.#signal(signal);
    // A paused process would keep any other signal waiting.
    if (signal !== 'SIGKILL') this.resume();
    for (const limit = Date.now() + STOP_LIMIT_MS; this.pid !== undefined; await delay(POLL_MS)) {
      if (Date.now() > limit) return false;
    }
    return true;
  }

  #signal(signal: NodeJS.Signals): void {
    const { pid } = this;
    invariant(pid !== undefined, 'the broker runs');
    process.kill(pid, signal);
  }
}

const exists = async (path: string): Promise<boolean> => (await stat(path).catch(() => undefined)) !== undefined;
