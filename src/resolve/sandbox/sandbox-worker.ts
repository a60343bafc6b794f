/** The thread in which merge functions run; `merge-sandbox.ts` starts it and hands it work. */
import { parentPort } from 'node:worker_threads';
import { invariant } from '../../platform/assert.ts';
import { SynclineError } from '../../platform/errors.ts';
import type { MergeAnswer } from '../fold.ts';
import type { MergeInput } from '../merge-types.ts';
import type { MergeVersion } from './merge-version.ts';
import { SandboxEngine } from './sandbox-engine.ts';

export type SandboxTask =
  /** Functions are sent once; calls name them. */
  | { readonly kind: 'function'; readonly version: MergeVersion }
  | { readonly kind: 'check'; readonly id: number; readonly hash: string }
  | { readonly kind: 'calls'; readonly id: number; readonly calls: readonly SandboxCall[] };

export type SandboxCall = { readonly hash: string; readonly input: MergeInput };

export type SandboxReply = {
  readonly id: number;
  readonly answers: readonly MergeAnswer[];
  readonly refusal: Refusal | null;
};

/** A typed error, in what a message between threads can carry. */
export type Refusal = Pick<SynclineError, 'code' | 'detail' | 'context'>;

const port = parentPort;
invariant(port !== null, 'the sandbox runs in a thread of its own');
const versions = new Map<string, MergeVersion>();
let engine = await SandboxEngine.create();
let done = Promise.resolve();

function versionOf(hash: string): MergeVersion {
  const version = versions.get(hash);
  invariant(version !== undefined, `the merge function ${hash} was sent before`);
  return version;
}

/** In turn. What is thrown besides a refusal ends the thread: whoever started it hears of that. */
port.on('message', (task: SandboxTask) => {
  done = done.then(() => work(task));
});

async function work(task: SandboxTask): Promise<void> {
  if (task.kind === 'function') versions.set(task.version.hash, task.version);
  else if (task.kind === 'check') reply({ id: task.id, answers: [], refusal: refusalOf(task.hash) });
  else {
    const answers = task.calls.map(({ hash, input }) => engine.run(versionOf(hash), input));
    reply({ id: task.id, answers, refusal: null });
  }
  if (engine.isBloated) engine = await SandboxEngine.create();
}

function reply(answer: SandboxReply): void {
  port?.postMessage(answer);
}

function refusalOf(hash: string): Refusal | null {
  try {
    engine.compileCheck(versionOf(hash));
    return null;
  } catch (error) {
    if (!(error instanceof SynclineError) || error.class !== 'operator') throw error;
    const { code, detail, context } = error;
    return { code, detail, context };
  }
}
