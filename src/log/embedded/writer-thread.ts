// The caller's side of the writer's thread: requests out, answers back in order.

import { Worker } from 'node:worker_threads';
import { fail } from '../../platform/errors.ts';
import type { Coded, WriterAnswer, WriterMessage, WriterRequest } from './writer-worker.ts';

type Call = { readonly resolve: (value: number) => void; readonly reject: (error: unknown) => void };

export class WriterThread {
  readonly #worker: Worker;
  readonly #calls = new Map<number, Call>();
  #nextId = 0;
  #failure: Error | undefined;

  constructor() {
    this.#worker = new Worker(new URL('./writer-worker.ts', import.meta.url), { name: 'log-writer' });
    // Only a call under way keeps the process alive.
    this.#worker.unref();
    this.#worker.on('message', (answer: WriterAnswer) => this.#settle(answer));
    this.#worker.on('error', (error) => this.#end(error));
    this.#worker.on('exit', () => this.#end(undefined));
  }

  /** After that every call fails; another thread is needed. */
  get hasEnded(): boolean {
    return this.#failure !== undefined;
  }

  call(stream: string, request: WriterRequest): Promise<number> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const id = this.#nextId;
    this.#nextId += 1;
    if (this.#calls.size === 0) this.#worker.ref();
    this.#calls.set(id, { resolve, reject });
    this.#worker.postMessage({ id, stream, request } satisfies WriterMessage);
    return promise;
  }

  async terminate(): Promise<void> {
    await this.#worker.terminate();
  }

  #settle(answer: WriterAnswer): void {
    const call = this.#calls.get(answer.id);
    this.#calls.delete(answer.id);
    if (this.#calls.size === 0) this.#worker.unref();
    if ('value' in answer) call?.resolve(answer.value);
    else call?.reject('coded' in answer ? revive(answer.coded) : answer.uncoded);
  }

  #end(cause: unknown): void {
    this.#failure ??= fail('SYN-L002', "the log's writer has ended", { cause });
    for (const { reject } of this.#calls.values()) reject(this.#failure);
    this.#calls.clear();
  }
}

const revive = ({ code, detail, context }: Coded): Error => fail(code, detail, { context });
