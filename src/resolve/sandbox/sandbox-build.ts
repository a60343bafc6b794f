/**
 * What a merge function runs in: QuickJS as WebAssembly, what of JavaScript it has, and what is taken away.
 *
 * Everything that could give two regions different results is absent: clocks, randomness, weak references (they tell when
 * garbage is collected), arrays of raw bytes (the bits of NaN differ between processors), and whatever belongs to a host. The
 * interpreter, its arithmetic included, is the same bytes everywhere; `SANDBOX_BUILD` names them and what is set up here.
 */
import { hash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const INTRINSICS = {
  BaseObjects: true,
  Eval: true,
  StringNormalize: true,
  RegExp: true,
  RegExpCompiler: true,
  JSON: true,
  Proxy: true,
  MapSet: true,
  Promise: true,
  BigInt: true,
  Date: false,
  TypedArrays: false,
} as const;

/** Gives what calls a function with a text and gives a text; what a function does to the globals cannot reach it. */
const SETUP = `
(() => {
  const { parse, stringify } = JSON;
  const { apply } = Reflect;
  delete Math.random;
  for (const name of ['eval', 'WeakMap', 'WeakSet', 'WeakRef', 'FinalizationRegistry', 'Date']) delete globalThis[name];
  return (merge, text) => {
    const result = apply(merge, undefined, [parse(text)]);
    return typeof result === 'object' && result !== null ? stringify(result) : '';
  };
})()`;

/**
 * The interpreter's own stack. Where the thread's ends first, which nobody counts, the interpreter breaks: nesting takes up to
 * twenty times as much there.
 */
const STACK_BYTES = 128 * 1024;
export const THREAD_STACK_MB = 64;

/** Part of the identity as well: a change of what a limit means is another build. */
const LIMITS_BUILD = 1;

export const SANDBOX = { intrinsics: INTRINSICS, setup: SETUP, stackBytes: STACK_BYTES };

export const SANDBOX_WASM = readFileSync(
  fileURLToPath(import.meta.resolve('@jitl/quickjs-wasmfile-release-sync/wasm')),
);

export const SANDBOX_BUILD = hash(
  'sha256',
  JSON.stringify([hash('sha256', SANDBOX_WASM, 'hex'), INTRINSICS, SETUP, STACK_BYTES, LIMITS_BUILD]),
  'hex',
);
