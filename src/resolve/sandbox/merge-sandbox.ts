/**
 * Merge functions, for whoever folds: in a thread of their own, so that one that takes long stalls nothing else.
 *
 * Built-in functions of the interpreter do not count as steps, and a search in a long text can take hours. What is given up
 * by the clock must not decide a merge: a slow machine would then differ from a fast one. So a thread that has been
 * silent for far longer than any allowed work takes is ended, and that is a fault of the infrastructure (SYN-A085): nothing is
 * merged, the table waits and says so, and whoever asked tries again. Never is it a fallback. The same goes for a thread
 * that ends by itself (SYN-A086). The next request starts another one.
 */
import { Worker } from 'node:worker_threads';
import { invariant } from '../../platform/assert.ts';
import { fail } from '../../platform/errors.ts';
import type { MergeAnswer } from '../fold.ts';
import type { MergeRequest } from '../fold-drivers.ts';
import type { MergeInput } from '../merge-types.ts';
import type { MergeVersion } from './merge-version.ts';
import { THREAD_STACK_MB } from './sandbox-build.ts';
import type { SandboxCall, SandboxReply, SandboxTask } from './sandbox-worker.ts';

/** Calls of one message: together they stay far below the limit of silence. */
const CALLS_MAX = 16;
/** A call with the largest limits takes about three seconds of a slow machine. */
const SILENCE_MS = 300_000;

type Waiting = {
  readonly resolve: (reply: SandboxReply) => void;
  readonly reject: (error: Error) => void;
  readonly hashes: readonly string[];
};

export class MergeSandbox {
  readonly #versions = new Map<string, MergeVersion>();
  readonly #silenceMs: number;
  #thread: Thread | null = null;

  constructor(silenceMs = SILENCE_MS) {
    this.#silenceMs = silenceMs;
  }

  /** Makes a version known; calls name it by its hash. */
  add(version: MergeVersion): void {
    this.#versions.set(version.hash, version);
  }

  /** Throws SYN-A082 or SYN-A083 where the source has no function that can be called. */
  async check(version: MergeVersion): Promise<void> {
    this.add(version);
    const { refusal } = await this.#open().ask([version], (id) => ({ kind: 'check', id, hash: version.hash }));
    if (refusal !== null) throw fail(refusal.code, refusal.detail, { context: refusal.context });
  }

  /** For `foldTogether`. */
  async merge(requests: readonly MergeRequest[]): Promise<MergeAnswer[]> {
    return await this.run(
      requests.map(({ function: { hash }, base, a, b, meta }) => ({ hash, input: { base, a, b, meta } })),
    );
  }

  async run(calls: readonly SandboxCall[]): Promise<MergeAnswer[]> {
    const answers: MergeAnswer[] = [];
    for (let from = 0; from < calls.length; from += CALLS_MAX) {
      const some = calls.slice(from, from + CALLS_MAX);
      const versions = some.map(({ hash }) => this.#version(hash));
      const reply = await this.#open().ask(versions, (id) => ({ kind: 'calls', id, calls: some }));
      answers.push(...reply.answers);
    }
    return answers;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#thread?.close();
  }

  #version(hash: string): MergeVersion {
    const version = this.#versions.get(hash);
    invariant(version !== undefined, `the merge function ${hash} is known`);
    return version;
  }

  #open(): Thread {
    if (this.#thread === null || this.#thread.isOver) this.#thread = new Thread(this.#silenceMs);
    return this.#thread;
  }
}

class Thread {
  readonly #worker: Worker;
  readonly #silenceMs: number;
  readonly #sent = new Set<string>();
  readonly #waiting = new Map<number, Waiting>();
  #next = 0;
  #watchdog: NodeJS.Timeout | null = null;
  isOver = false;

  constructor(silenceMs: number) {
    this.#silenceMs = silenceMs;
    this.#worker = new Worker(new URL('./sandbox-worker.ts', import.meta.url), {
      name: 'merge-sandbox',
      resourceLimits: { stackSizeMb: THREAD_STACK_MB },
    });
    this.#worker.on('message', (reply: SandboxReply) => {
      const waiting = this.#waiting.get(reply.id);
      this.#waiting.delete(reply.id);
      this.#watch();
      waiting?.resolve(reply);
    });
    this.#worker.on('error', (error) =>
      this.#end(fail('SYN-A086', 'the sandbox ended with an error', { cause: error })),
    );
    this.#worker.on('exit', () => this.#end(fail('SYN-A086', 'the sandbox ended')));
  }

  ask(versions: readonly MergeVersion[], taskOf: (id: number) => SandboxTask): Promise<SandboxReply> {
    for (const version of versions) {
      if (this.#sent.has(version.hash)) continue;
      this.#sent.add(version.hash);
      this.#post({ kind: 'function', version });
    }
    const id = this.#next;
    this.#next += 1;
    const hashes = [...new Set(versions.map(({ hash }) => hash))];
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject, hashes });
      if (this.#waiting.size === 1) this.#watch();
      this.#post(taskOf(id));
    });
  }

  async close(): Promise<void> {
    this.#end(fail('SYN-A086', 'the sandbox was closed'));
    await this.#worker.terminate();
  }

  #post(task: SandboxTask): void {
    this.#worker.postMessage(task);
  }

  /** The silence is counted anew from each answer, and only while one is due. */
  #watch(): void {
    if (this.#watchdog !== null) clearTimeout(this.#watchdog);
    this.#watchdog = null;
    const [oldest] = this.#waiting.values();
    if (oldest === undefined) this.#worker.unref();
    else {
      this.#worker.ref();
      this.#watchdog = setTimeout(() => {
        const detail = `no answer for ${this.#silenceMs / 1000} s from ${oldest.hashes.join(', ')}`;
        this.#end(fail('SYN-A085', detail, { context: { functions: oldest.hashes.join(', ') } }));
        void this.#worker.terminate();
      }, this.#silenceMs);
    }
  }

  #end(error: Error): void {
    this.isOver = true;
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    if (this.#watchdog !== null) clearTimeout(this.#watchdog);
    for (const { reject } of waiting) reject(error);
  }
}

/** What a function gives for the same input, in any order, in threads as new: a difference is a fault of the sandbox. */
export type Repeated = { readonly isSame: boolean; readonly answers: readonly MergeAnswer[] };

/** Runs all inputs forwards in one sandbox and backwards in another. */
export async function runRepeatedly(version: MergeVersion, inputs: readonly MergeInput[]): Promise<Repeated> {
  const calls = inputs.map((input) => ({ hash: version.hash, input }));
  const runs: MergeAnswer[][] = [];
  for (const order of [calls, calls.toReversed()]) {
    await using sandbox = new MergeSandbox();
    await sandbox.check(version);
    runs.push(await sandbox.run(order));
  }
  const [forwards = [], backwards = []] = runs;
  const isSame = JSON.stringify(forwards) === JSON.stringify(backwards.toReversed());
  return { isSame, answers: forwards };
}
