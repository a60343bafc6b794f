// The embedded log among several processes that are killed and stopped at any moment.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, test } from 'node:test';
import { EmbeddedLog } from '../../src/log/embedded/embedded-log.ts';
import { TransactionReader } from '../../src/log/transaction-reader.ts';
import { seededRandom } from '../../src/platform/random.ts';
import { runStart, transaction } from '../support/stream-records.ts';
import { waitFor } from '../support/wait-for.ts';

const PROGRAM = new URL('../support/embedded-log-process.ts', import.meta.url).pathname;
const ALL = { records_max: 1_000_000, bytes_max: 1_000_000_000 };

/** A running writer or reader, and the highest number that it printed. */
class LogProcess {
  readonly #child: ChildProcess;
  readonly #closed: Promise<unknown>;
  number = -1;
  lines = 0;

  constructor(mode: 'write' | 'read', directory: string, stream: string) {
    this.#child = spawn(process.execPath, [PROGRAM, mode, directory, stream], { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#closed = once(this.#child, 'close');
    assert.ok(this.#child.stdout !== null);
    createInterface(this.#child.stdout).on('line', (line) => {
      this.lines += 1;
      if (/^(acked|seen) /.test(line)) this.number = Math.max(this.number, Number(line.split(' ')[1]));
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#child.kill(signal);
  }

  /** Resolves once the process has printed so many more lines. */
  async printed(more: number): Promise<void> {
    const lines = this.lines + more;
    await waitFor(() => this.lines >= lines || !this.isRunning, {
      what: `${more} lines of process ${this.pid}`,
      limitMs: 120_000,
    });
    assert.ok(this.isRunning, `process ${this.pid} goes on`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.isRunning) this.#child.kill('SIGKILL');
    await this.#closed;
  }
}

async function temporaryDirectory(): Promise<{ path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), 'syncline-log-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

describe('the embedded log among processes', () => {
  test('a writer that is killed in mid-append 20 times loses nothing that it acknowledged', async () => {
    const random = seededRandom(20);
    await using directory = await temporaryDirectory();
    await using first = new LogProcess('read', directory.path, 'eu');
    await using second = new LogProcess('read', directory.path, 'eu');
    let acknowledged = 0;
    for (let round = 0; round < 20; round += 1) {
      const writer = new LogProcess('write', directory.path, 'eu');
      await writer.printed(1 + random.below(200));
      await writer[Symbol.asyncDispose]();
      assert.ok(writer.number <= 0 || writer.number > acknowledged);
      acknowledged = Math.max(acknowledged, writer.number);
    }

    await using log = await EmbeddedLog.open(directory.path);
    await using reader = await log.reader('eu');
    const transactions = new TransactionReader(reader, 0);
    let stored = 0;
    let runs = 0;
    while (await transactions.fill(0)) {
      if (transactions.shift().kind === 'run') runs += 1;
      else stored += 1;
    }
    assert.equal(runs, 20);
    assert.ok(stored >= acknowledged, `${acknowledged} were acknowledged, ${stored} are there`);
    for (const follower of [first, second]) {
      await waitFor(() => follower.number === stored || !follower.isRunning, { what: 'the reader sees everything' });
      assert.equal(follower.number, stored);
    }
  });

  test('a stopped writer keeps nobody from reading its stream or writing another one', async () => {
    const random = seededRandom(21);
    await using directory = await temporaryDirectory();
    await using log = await EmbeddedLog.open(directory.path);
    await using reader = await log.reader('eu');
    await using own = await log.writer('us');
    await using writer = new LogProcess('write', directory.path, 'eu');
    for (let round = 0; round < 10; round += 1) {
      await writer.printed(1 + random.below(50));
      writer.signal('SIGSTOP');
      const { number } = writer;
      const bounds = await reader.bounds();
      assert.ok(bounds !== null);
      const tail = await reader.readBefore(bounds.last + 1, ALL);
      assert.equal(tail.at(-1)?.offset, bounds.last);
      assert.ok(tail.filter(({ last }) => last).length >= number);
      await own.append(transaction(1, round + 1, 100));
      await own.trim(round * 50);
      await log.acknowledge('eu', 'us', round);
      await assert.rejects(log.writer('eu'), { code: 'SYN-L008', context: { pid: String(writer.pid) } });
      writer.signal('SIGCONT');
    }
    await writer.printed(10);
    assert.deepEqual(await log.acknowledged('eu'), new Map([['us', 9]]));
  });

  test('a stopped reader keeps nobody from writing, trimming and reading, and goes on afterwards', async () => {
    await using directory = await temporaryDirectory();
    await using log = await EmbeddedLog.open(directory.path);
    await using writer = await log.writer('eu');
    await using reader = await log.reader('eu');
    await writer.append([runStart(1)]);
    await using follower = new LogProcess('read', directory.path, 'eu');
    let lsn = 0;
    const appendMore = async (): Promise<void> => {
      lsn += 1;
      await writer.append(transaction(1, lsn, 500, { note: 'x'.repeat(1_000) }));
    };
    for (let round = 0; round < 10; round += 1) {
      const printed = follower.printed(1);
      for (let batch = 0; batch < 5; batch += 1) await appendMore();
      await printed;
      follower.signal('SIGSTOP');
      for (let batch = 0; batch < 5; batch += 1) await appendMore();
      const last = (await reader.bounds())?.last ?? 0;
      assert.equal((await reader.readBefore(last + 1, { records_max: 1, bytes_max: 1 })).length, 1);
      follower.signal('SIGCONT');
    }
    await waitFor(() => follower.number === lsn || !follower.isRunning, { what: 'the reader sees everything' });
    assert.equal(follower.number, lsn);
    follower.signal('SIGSTOP');
    await writer.trim((await reader.bounds())?.last ?? 0);
    assert.equal((await reader.read(0, ALL)).length, 1);
  });
});
