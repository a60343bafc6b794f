/**
 * Runs merge functions, each call in an interpreter as new.
 *
 * A new instance for each call would cost ten milliseconds. Instead the memory of the one instance is kept as it is
 * after the start (the base), and as it is once a function is loaded on that (its image); before each call all of memory is set
 * to the function's image. So a call finds nothing of an earlier one, not even how its memory was dealt out, and what it
 * gives follows from the function and its input alone, limits included: steps are counted by the interpreter, memory
 * by its allocator.
 *
 * An engine that broke (SYN-A086) is not used again: what is not memory, such as its stack's place, does not come back.
 * Handles made from an image are addresses, and stay right because the memory that they point into comes back.
 */

import releaseSync from '@jitl/quickjs-wasmfile-release-sync';
import type { QuickJSContext, QuickJSHandle, QuickJSRuntime, QuickJSSyncVariant } from 'quickjs-emscripten-core';
import { newQuickJSWASMModuleFromVariant, newVariant } from 'quickjs-emscripten-core';
import { invariant } from '../../platform/assert.ts';
import { fail } from '../../platform/errors.ts';
import type { MergeAnswer } from '../fold.ts';
import { MemoryImage, type WasmMemory } from '../memory-image.ts';
import type { Fallback, MergeInput, Row } from '../merge-types.ts';
import type { MergeVersion } from './merge-version.ts';
import { SANDBOX, SANDBOX_WASM } from './sandbox-build.ts';
import { demandingPages } from './sandbox-memory.ts';

/** Node's types leave it out. */
const WASM = (globalThis as unknown as { WebAssembly: WasmApi }).WebAssembly;
type WasmApi = {
  readonly compile: (bytes: Uint8Array) => Promise<object>;
  readonly Memory: new (pages: { readonly initial: number; readonly maximum: number }) => WasmMemory;
};
/** Its types describe the package's other form, for `require`. */
const VARIANT = releaseSync as unknown as QuickJSSyncVariant;

const FILE = 'merge.js';
/**
 * In pages of 64 KB: the interpreter's stack with room for a function, and 160 MB. Freed memory in pieces that are too small does not count
 * towards a function's limit, and what a machine can give at most must not decide either.
 */
const MEMORY_PAGES = { initial: 96, maximum: 2_560 };
/** A larger memory makes each call slower, since all of it is set anew. */
const MEMORY_KEPT_BYTES = 32 * 1024 * 1024;
/** Images of functions that are kept; one has some hundred kilobytes. */
const LOADED_MAX = 32;
const BYTES_PER_MB = 1024 * 1024;
/** What is needed to look at an error once a function has used up its own. */
const DESCRIBED_BYTES = 1024 * 1024;

type Loaded = { readonly image: MemoryImage; readonly merge: QuickJSHandle } | { readonly fallback: Fallback };

export class SandboxEngine {
  readonly #memory: WasmMemory;
  readonly #runtime: QuickJSRuntime;
  readonly #context: QuickJSContext;
  readonly #call: QuickJSHandle;
  readonly #base: MemoryImage;
  readonly #loaded = new Map<string, Loaded>();
  #steps = 0;
  #stepsMax = 1;
  #memoryMax = 0;

  static async create(): Promise<SandboxEngine> {
    const wasmMemory = new WASM.Memory(MEMORY_PAGES);
    const variant = newVariant(VARIANT, {
      wasmModule: await WASM.compile(demandingPages(SANDBOX_WASM, MEMORY_PAGES.initial)),
      wasmMemory,
    });
    const quickjs = await newQuickJSWASMModuleFromVariant(variant);
    return new SandboxEngine(wasmMemory, quickjs.newRuntime());
  }

  private constructor(memory: WasmMemory, runtime: QuickJSRuntime) {
    this.#memory = memory;
    this.#runtime = runtime;
    this.#context = runtime.newContext({ intrinsics: SANDBOX.intrinsics });
    runtime.setMaxStackSize(SANDBOX.stackBytes);
    runtime.setInterruptHandler(() => {
      this.#steps += 1;
      return this.#steps > this.#stepsMax;
    });
    this.#call = this.#context.unwrapResult(this.#context.evalCode(SANDBOX.setup, 'setup.js', { type: 'global' }));
    this.#base = MemoryImage.of(memory);
  }

  /** Whether another engine would be faster. */
  get isBloated(): boolean {
    return this.#memory.buffer.byteLength > MEMORY_KEPT_BYTES;
  }

  /** Throws SYN-A082 with the place of a syntax error, or SYN-A083 where there is no function. */
  compileCheck(version: MergeVersion): void {
    const failure = this.#load(version, new Map());
    if (failure !== null) throw failure;
  }

  run(version: MergeVersion, input: MergeInput): MergeAnswer {
    const text = JSON.stringify(input);
    if (Buffer.byteLength(text) > version.limits.row_bytes) return { fallback: 'too-large' };
    if (!this.#loaded.has(version.hash)) this.#load(version, this.#loaded);
    const loaded = this.#loaded.get(version.hash);
    invariant(loaded !== undefined, 'a function that was loaded is there');
    if ('fallback' in loaded) return loaded;
    loaded.image.restore(this.#memory);
    this.#begin(version);
    const context = this.#context;
    const result = this.#guard(() =>
      context.callFunction(this.#call, context.undefined, loaded.merge, context.newString(text)),
    );
    if (result.error !== undefined) return { fallback: this.#whyFailed(result.error) };
    if (context.typeof(result.value) !== 'string') return { fallback: 'wrong-type' };
    return toAnswer(context.getString(result.value), version, input);
  }

  #begin({ limits }: MergeVersion): void {
    this.#steps = 0;
    this.#stepsMax = limits.steps;
    this.#memoryMax = limits.memory_mb * BYTES_PER_MB;
    this.#runtime.setMemoryLimit(this.#memoryMax);
  }

  /** Null for one that can be called; a function that cannot falls back in the same way at every call. */
  #load(version: MergeVersion, into: Map<string, Loaded>): Error | null {
    const context = this.#context;
    this.#base.restore(this.#memory);
    this.#begin(version);
    if (into.size >= LOADED_MAX) into.delete(into.keys().next().value ?? '');
    const result = this.#guard(() => context.evalCode(version.source, FILE, { type: 'module' }));
    if (result.error !== undefined) {
      const fallback = this.#whyFailed(result.error);
      into.set(version.hash, { fallback });
      return this.#explain(result.error, fallback);
    }
    const merge = context.getProp(result.value, 'default');
    if (context.typeof(merge) !== 'function') {
      into.set(version.hash, { fallback: 'wrong-type' });
      return fail('SYN-A083', 'there is no function as the default export');
    }
    into.set(version.hash, { image: MemoryImage.of(this.#memory), merge });
    return null;
  }

  #whyFailed(error: QuickJSHandle): Fallback {
    if (this.#steps > this.#stepsMax) return 'exhausted';
    const { name, message } = this.#describe(error);
    if (name === 'InternalError' && message === 'out of memory') return 'memory';
    return name === 'InternalError' && message === 'stack overflow' ? 'exhausted' : 'threw';
  }

  #explain(error: QuickJSHandle, fallback: Fallback): Error {
    const { name, message, stack } = this.#describe(error);
    const place = /merge\.js:(\d+)(?::(\d+))?/.exec(stack);
    const [line, column] = [Number(place?.[1] ?? 0), Number(place?.[2] ?? 0)];
    if (name === 'SyntaxError') {
      return fail('SYN-A082', `line ${line}, column ${column}: ${message}`, { context: { line, column } });
    }
    const why = fallback === 'threw' ? `${name}: ${message}` : fallback;
    return fail('SYN-A083', `the source ends before it has made its function: ${why}`, { context: { line } });
  }

  /** Of what was thrown, which may be anything. Looking must not fail for want of the memory that was used up. */
  #describe(error: QuickJSHandle): { name: string; message: string; stack: string } {
    const context = this.#context;
    this.#runtime.setMemoryLimit(DESCRIBED_BYTES + this.#memoryMax);
    this.#steps = 0;
    this.#stepsMax = 1;
    const textOf = (name: string): string => {
      if (context.typeof(error) !== 'object') return '';
      const value = context.getProp(error, name);
      return context.typeof(value) === 'string' ? context.getString(value) : '';
    };
    return { name: textOf('name'), message: textOf('message'), stack: textOf('stack') };
  }

  /** What comes out as an error of this side is no failure of the function: the interpreter is broken. */
  #guard<Result>(work: () => Result): Result {
    try {
      return work();
    } catch (error) {
      throw fail('SYN-A086', 'the interpreter of merge functions broke', { cause: error });
    }
  }
}

function toAnswer(text: string, { limits }: MergeVersion, { a, b, meta }: MergeInput): MergeAnswer {
  if (Buffer.byteLength(text) > limits.row_bytes) return { fallback: 'too-large' };
  const result = text === '' ? null : (JSON.parse(text) as unknown);
  if (!isRow(result)) return { fallback: 'wrong-type' };
  const columns = new Set([...Object.keys(a), ...Object.keys(b)]);
  const names = Object.keys(result);
  if (names.length !== columns.size || !names.every((name) => columns.has(name))) return { fallback: 'wrong-type' };
  const keepsKey = Object.entries(meta.key).every(([column, value]) => result[column] === value);
  return keepsKey ? { image: result } : { fallback: 'changed-key' };
}

function isRow(value: unknown): value is Row {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  return Object.values(value).every((each) => each === null || (typeof each === 'string' && isStorable(each)));
}

/** PostgreSQL holds neither a NUL nor half of a pair. */
function isStorable(text: string): boolean {
  return !text.includes('\0') && text.isWellFormed();
}
