import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { waitFor } from '../support/wait-for.ts';

const PROGRAM = resolve(import.meta.dirname, '../../bin/syncline');
const OPEN = 'All three take writes now';

// A temporary folder of its own tells what the demo left behind, whatever else runs on the machine.
let folder: string;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'syncline-demo-test-'));
  await chmod(folder, 0o1777);
});
after(async () => {
  await rm(folder, { recursive: true, force: true });
});

class Demo {
  stdout = '';
  stderr = '';
  readonly child: ChildProcess;
  readonly exit: Promise<unknown>;

  constructor(args: readonly string[], temporary = folder) {
    this.child = spawn(PROGRAM, ['demo', ...args], { env: { ...process.env, TMPDIR: temporary }, stdio: 'pipe' });
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
      { what: `the demo to say "${text}"`, limitMs: 120_000 },
    );
  }
}

/** Names in the folder but for the cache of the binaries, and processes that name the folder. */
async function leftovers(): Promise<string[]> {
  const files = (await readdir(folder)).filter((name) => !name.startsWith('syncline-postgres-'));
  const processes: string[] = [];
  for (const pid of await readdir('/proc').catch(() => [])) {
    const commandLine = /^\d+$/.test(pid) ? await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '') : '';
    if (commandLine.includes(`${folder}/syncline-demo`) || commandLine.includes(`${folder}/syncline-server`)) {
      processes.push(commandLine.replaceAll('\0', ' '));
    }
  }
  return [...files, ...processes];
}

describe('the demo', () => {
  test('loses a region, brings it back, and ends with equal regions and the result as JSON', async () => {
    const demo = new Demo(['--seconds', '8', '--json']);
    await demo.exit;
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
    const story = [
      OPEN,
      'Killing us-east with kill -9',
      'Region us-east is down: eu-west and ap-south go on',
      'events wait for it',
      'The agent of us-east goes on where the killed one stood',
      'Every link has a lag of 0',
      'All regions are equal',
    ];
    const places = story.map((sentence) => demo.stderr.indexOf(sentence));
    assert.ok(!places.includes(-1), demo.stderr);
    assert.deepEqual(
      places,
      [...places].sort((a, b) => a - b),
    );
    assert.deepEqual(await leftovers(), []);
  });

  test('SIGINT and SIGTERM end everything in order', async () => {
    for (const [signal, exitCode] of [
      ['SIGINT', 130],
      ['SIGTERM', 143],
    ] as const) {
      const demo = new Demo(['--seconds', '600']);
      await demo.saying(OPEN);
      demo.child.kill(signal);
      await demo.exit;
      assert.equal(demo.child.exitCode, exitCode, demo.stderr);
      assert.deepEqual(await leftovers(), []);
    }
  });

  test('kill -9 leaves nothing behind either', async () => {
    const demo = new Demo(['--seconds', '600']);
    await demo.saying(OPEN);
    demo.child.kill('SIGKILL');
    await demo.exit;
    await waitFor(
      async () => {
        assert.deepEqual(await leftovers(), []);
        return true;
      },
      { what: 'processes and folders are gone' },
    );
  });

  test('a start that fails says what, where and what to do', async () => {
    const demo = new Demo([], join(folder, 'missing'));
    await demo.exit;
    assert.equal(demo.child.exitCode, 1);
    assert.match(demo.stderr, /SYN-D005/);
    assert.match(demo.stderr, /missing/);
    assert.match(demo.stderr, /Set TMPDIR/);
    const wrong = new Demo(['--seconds', '1']);
    await wrong.exit;
    assert.notEqual(wrong.child.exitCode, 0);
    assert.match(wrong.stderr, /expected 5 to 3600/);
  });
});
