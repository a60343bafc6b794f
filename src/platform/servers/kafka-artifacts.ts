// Brings Apache Kafka to this checkout: the jars of one pinned version, fetched once by Maven into
// `.cache/kafka`, and the Java that runs them.
//
// Kafka has no npm package, and its brokers have no build for each platform: jars and a Java are all
// that is needed. Everything that Maven would otherwise choose by itself is pinned in the project
// file below, and checksums are enforced.
//
// Test files run in processes of their own, and several may come first. One at a time fetches, since
// Maven's local repository is not made for several writers; the jars go under a private name and are
// renamed into place, so that a folder of the right name is always whole. The lock is one that SQLite takes of the
// kernel, which frees it when its holder dies: a lock file would outlive a kill -9.

import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as delay } from 'node:timers/promises';
import { fail } from '../errors.ts';
import { Watchdog } from './guarded-process.ts';

export interface KafkaInstallation {
  /** The program that runs Java. */
  readonly java: string;
  /** All jars in one order, as `-cp` takes them. */
  readonly classPath: string;
}

const KAFKA_VERSION = '4.3.1';
const LOG4J_VERSION = '2.25.4';
const DEPENDENCY_PLUGIN_VERSION = '3.8.1';
const JAVA_MAJOR_MIN = 17;
const MAVEN_VERSION_MIN = [3, 6, 3];

const CACHE = join(import.meta.dirname, '../../../.cache/kafka');
const ASK_LIMIT_MS = 60_000;
const FETCH_LIMIT_MS = 600_000;
const POLL_MS = 100;
const QUOTED_CHARACTERS = 4_000;
const SQLITE_BUSY = 5;

const PROJECT = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>syncline</groupId>
  <artifactId>embedded-kafka</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>${KAFKA_VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId>
      <artifactId>log4j-slf4j-impl</artifactId>
      <version>${LOG4J_VERSION}</version>
    </dependency>
  </dependencies>
</project>
`;
const GOAL = `org.apache.maven.plugins:maven-dependency-plugin:${DEPENDENCY_PLUGIN_VERSION}:copy-dependencies`;

let installation: Promise<KafkaInstallation> | undefined;

/** Java and the jars, looked up and fetched at most once per process; the signal of the first caller ends the fetching. */
export function installKafka(signal?: AbortSignal): Promise<KafkaInstallation> {
  installation ??= prepare(signal).catch((error: unknown) => {
    installation = undefined;
    throw error;
  });
  return installation;
}

async function prepare(signal: AbortSignal | undefined): Promise<KafkaInstallation> {
  const java = await findJava();
  const jars = await fetchJars(CACHE, process.env, signal);
  const names = (await readdir(jars)).filter((name) => name.endsWith('.jar')).sort();
  return { java, classPath: names.map((name) => join(jars, name)).join(delimiter) };
}

/** The Java of JAVA_HOME, else the first on the path. */
export async function findJava(environment: NodeJS.ProcessEnv = process.env): Promise<string> {
  const home = environment.JAVA_HOME ?? '';
  const java = home === '' ? 'java' : join(home, 'bin', 'java');
  const answer = await ask(java, ['-version'], environment);
  const major = javaMajor(answer.output);
  if (major === undefined) throw fail('SYN-D040', `${java} -version: ${answer.failure ?? answer.output.trim()}`);
  if (major < JAVA_MAJOR_MIN) {
    throw fail('SYN-D040', `${java} is Java ${major}, and Kafka ${KAFKA_VERSION} needs ${JAVA_MAJOR_MIN} or later`);
  }
  return java;
}

/** Java 8 and before call themselves 1.8. */
export function javaMajor(versionText: string): number | undefined {
  const match = /version "(?:1\.)?(\d+)/.exec(versionText);
  return match === null ? undefined : Number(match[1]);
}

export async function findMaven(environment: NodeJS.ProcessEnv = process.env): Promise<string> {
  const maven = 'mvn';
  const answer = await ask(maven, ['-B', '-version'], environment);
  const match = /Apache Maven (\d+)\.(\d+)\.(\d+)/.exec(answer.output);
  if (match === null) throw fail('SYN-D041', `${maven} -version: ${answer.failure ?? answer.output.trim()}`);
  const version = match.slice(1).map(Number);
  if (compareVersions(version, MAVEN_VERSION_MIN) < 0) {
    throw fail('SYN-D041', `${maven} is of version ${version.join('.')}, before ${MAVEN_VERSION_MIN.join('.')}`);
  }
  return maven;
}

const compareVersions = (a: readonly number[], b: readonly number[]): number =>
  a.map((part, index) => part - (b[index] ?? 0)).find((difference) => difference !== 0) ?? 0;

/** The folder of the jars below the cache, fetched by one process at a time. */
export async function fetchJars(
  cache: string,
  environment: NodeJS.ProcessEnv = process.env,
  signal?: AbortSignal,
): Promise<string> {
  const hash = createHash('sha256').update(`${PROJECT}${GOAL}`).digest('hex').slice(0, 12);
  const folder = join(cache, `${KAFKA_VERSION}-${hash}`);
  if (await exists(folder)) return folder;
  await mkdir(cache, { recursive: true });
  await using _lock = await lockFile(join(cache, 'lock.db'), signal);
  if (await exists(folder)) return folder;

  const maven = await findMaven(environment);
  const scratch = `${folder}.${randomBytes(6).toString('hex')}`;
  await mkdir(scratch);
  const watchdog = new Watchdog({ signal: 'KILL', folder: scratch });
  try {
    await writeFile(join(scratch, 'pom.xml'), PROJECT);
    const options = ['-B', '-q', '--strict-checksums', '-f', 'pom.xml', GOAL, '-DoutputDirectory=jars'];
    const failure = await runMaven(watchdog, [maven, ...options], scratch, environment, signal);
    signal?.throwIfAborted();
    if (failure !== undefined) throw fail('SYN-D042', failure);
    await rename(join(scratch, 'jars'), folder);
    return folder;
  } finally {
    await watchdog.close();
  }
}

/** Why it failed, if it did. It ends with this process, so that whoever fetches next is alone. */
async function runMaven(
  watchdog: Watchdog,
  command: readonly string[],
  cwd: string,
  env: NodeJS.ProcessEnv,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  const path = join(cwd, 'maven.log');
  await using log = await open(path, 'a');
  const maven = watchdog.start(command, { cwd, env, output: log.fd });
  for (const limit = Date.now() + FETCH_LIMIT_MS; watchdog.pid !== undefined; await delay(POLL_MS)) {
    if (Date.now() > limit || signal?.aborted === true) maven.kill('SIGKILL');
  }
  if (maven.exitCode === 0) return undefined;
  const output = await readFile(path, 'utf8');
  return `Maven ended with ${maven.exitCode ?? maven.signalCode}:\n${output.trim().slice(-QUOTED_CHARACTERS)}`;
}

/** Waits for as long as another process fetches, which has a limit of its own. */
async function lockFile(path: string, signal: AbortSignal | undefined): Promise<AsyncDisposable> {
  const database = new DatabaseSync(path, { timeout: 0 });
  for (const limit = Date.now() + FETCH_LIMIT_MS; ; await delay(POLL_MS)) {
    try {
      database.exec('begin exclusive');
      return { [Symbol.asyncDispose]: async () => database.close() };
    } catch (cause) {
      if (isBusy(cause) && Date.now() < limit && signal?.aborted !== true) continue;
      database.close();
      signal?.throwIfAborted();
      throw fail('SYN-D042', `${path} cannot be locked`, { cause });
    }
  }
}

const isBusy = (error: unknown): boolean =>
  error instanceof Error && 'errcode' in error && error.errcode === SQLITE_BUSY;

const exists = async (path: string): Promise<boolean> => (await stat(path).catch(() => undefined)) !== undefined;

interface Answer {
  /** Both outputs. */
  readonly output: string;
  /** Why the program did not end with 0; undefined if it did. */
  readonly failure: string | undefined;
}

function ask(program: string, options: readonly string[], env: NodeJS.ProcessEnv): Promise<Answer> {
  return new Promise((resolve) => {
    execFile(program, options, { env, timeout: ASK_LIMIT_MS }, (error, stdout, stderr) => {
      const isMissing = error?.code === 'ENOENT';
      const ended = error === null ? undefined : `it ended with ${error.code ?? error.signal}`;
      resolve({ output: `${stdout}${stderr}`, failure: isMissing ? 'no such program' : ended });
    });
  });
}
