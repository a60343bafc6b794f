import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SANDBOX_WASM } from './sandbox-build.ts';
import { demandingPages } from './sandbox-memory.ts';

test('a module that demands less memory is the same but for that number', () => {
  const less = demandingPages(SANDBOX_WASM, 96);
  const changed = [...less.keys()].filter((at) => less[at] !== SANDBOX_WASM[at]);
  assert.deepEqual(
    changed.map((at) => less[at]),
    [0x80 | 96, 0],
  );
  assert.deepEqual(demandingPages(SANDBOX_WASM, 256), SANDBOX_WASM);
  assert.throws(() => demandingPages(less, 96), /imports one memory/);
});
