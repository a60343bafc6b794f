// The demo as a process of its own, in a temporary folder that nobody else uses: so what it left behind shows, whatever
// else runs on the machine.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { waitFor } from './wait-for.ts';

const PROGRAM = resolve(import.meta.dirname, '../../bin/syncline');
/** What it says once all regions take writes. */
export const OPEN = 'All three take writes now';
const STORY = [
  OPEN,
  'Killing us-east with kill -9',
  'Region us-east is down: eu-west and ap-south go on',
  'events wait for it',
  'The agent of us-east goes on where the killed one stood',
  'Every link has a lag of 0',
  'All regions are equal',
];
const SAYING_LIMIT_MS = 180_000;
/** What the processes of a demo name. */
const PLACES = ['syncline-demo', 'syncline-server', 'syncline-kafka'];

export class DemoFolder implements AsyncDisposable {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  static async create(): Promise<DemoFolder> {
    const path = await mkdtemp(join(tmpdir(), 'syncline-demo-test-'));
    await chmod(path, 0o1777);
    return new DemoFolder(path);
  }

  start(args: readonly string[], environment: NodeJS.ProcessEnv = {}): Demo {
    return new Demo(args, { ...process.env, TMPDIR: this.path, ...environment });
  }

  /** Names in the folder but for the cache of the binaries, and processes that name the folder. */
  async leftovers(): Promise<string[]> {
    const files = (await readdir(this.path)).filter((name) => !name.startsWith('syncline-postgres-'));
    const processes: string[] = [];
    for (const pid of await readdir('/proc').catch(() => [])) {
      const commandLine = /^\d+$/.test(pid) ? await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '') : '';
      if (PLACES.some((place) => commandLine.includes(`${this.path}/${place}`))) {
        processes.push(commandLine.replaceAll('\0', ' '));
      }
    }
    return [...files, ...processes];
  }

  async isEmpty(): Promise<void> {
    await waitFor(
      async () => {
        assert.deepEqual(await this.leftovers(), []);
        return true;
      },
      { what: 'processes and folders are gone' },
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.path, { recursive: true, force: true });
  }
}

export class Demo {
  stdout = '';
  stderr = '';
  readonly child: ChildProcess;
  readonly exit: Promise<unknown>;

  constructor(args: readonly string[], env: NodeJS.ProcessEnv) {
    this.child = spawn(PROGRAM, ['demo', ...args], { env, stdio: 'pipe' });
    this.child.stdout?.on('data', (chunk: Buffer) => {
      this.stdout += chunk.toString();
    });
    this.child.stderr?.on('data', (chunk: Buffer) => {
      this.stderr += chunk.toString();
    });
    this.exit = once(this.child, 'close');
  }

  async saying(text: string): Promise<void> {
    await waitFor(
      () => {
        if (this.child.exitCode !== null) throw new Error(`it ended: ${this.stdout}${this.stderr}`);
        return this.stdout.includes(text);
      },
      { what: `the demo to say "${text}"`, limitMs: SAYING_LIMIT_MS },
    );
  }
}

/** That a demo with --json told its story from the beginning to a good end, and ended with its result. */
export function checkStory(demo: Demo): void {
  assert.equal(demo.child.exitCode, 0, demo.stderr);
  const lines = demo.stdout.trimEnd().split('\n');
  assert.equal(lines.length, 1, 'standard output is the result alone');
  const result = JSON.parse(lines[0] ?? '') as Record<string, unknown>;
  assert.deepEqual(Object.keys(result), ['events', 'conflicts', 'regions', 'links', 'converged']);
  assert.equal(result.converged, true);
  assert.deepEqual(result.regions, ['eu-west', 'us-east', 'ap-south']);
  assert.ok(Number(result.events) > 0);
  assert.ok(Number(result.conflicts) > 0);
  const links = result.links as Record<string, unknown>[];
  assert.equal(new Set(links.map(({ source, target }) => `${source} ${target}`)).size, 6);
  for (const link of links) {
    assert.deepEqual(Object.keys(link), ['source', 'target', 'lag_p50_ms', 'lag_p99_ms']);
    assert.ok(typeof link.lag_p50_ms === 'number' && typeof link.lag_p99_ms === 'number');
  }
  const places = STORY.map((sentence) => demo.stderr.indexOf(sentence));
  assert.ok(!places.includes(-1), demo.stderr);
  assert.deepEqual(
    places,
    [...places].sort((a, b) => a - b),
  );
}
