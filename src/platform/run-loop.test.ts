import assert from 'node:assert/strict';
import { test } from 'node:test';
import { InvariantViolation } from './assert.ts';
import { Backoff } from './backoff.ts';
import { fail } from './errors.ts';
import { seededRandom } from './random.ts';
import { type RunState, runLoop } from './run-loop.ts';

const backoff = (): Backoff => new Backoff({ random: seededRandom(1), minMs: 100, maxMs: 800 });
const lost = (): Error => fail('SYN-P009', 'lost');

test('infrastructure faults are retried until the work returns, and every state is shown', async () => {
  const kinds: RunState['kind'][] = [];
  const delays: number[] = [];
  let runs = 0;
  await runLoop({
    run: async () => {
      runs += 1;
      if (runs < 3) throw lost();
    },
    signal: new AbortController().signal,
    backoff: backoff(),
    onState: (state) => kinds.push(state.kind),
    sleep: async (delayMs) => void delays.push(delayMs),
  });
  assert.deepEqual(kinds, ['running', 'waiting', 'waiting', 'ended']);
  assert.ok((delays[1] ?? 0) > 100);
});

test('work that got somewhere starts again with the shortest delay', async () => {
  const attempts: number[] = [];
  const kinds: RunState['kind'][] = [];
  let runs = 0;
  await runLoop({
    run: async (_signal, healthy) => {
      runs += 1;
      if (runs === 3) healthy();
      if (runs < 5) throw lost();
    },
    signal: new AbortController().signal,
    backoff: backoff(),
    onState: (state) => {
      kinds.push(state.kind);
      if (state.kind === 'waiting') attempts.push(state.attempt);
    },
    sleep: async () => undefined,
  });
  assert.deepEqual(attempts, [1, 2, 1, 2]);
  // A fault is shown until the work got somewhere, and not only between two attempts.
  assert.deepEqual(kinds, ['running', 'waiting', 'waiting', 'running', 'waiting', 'waiting', 'ended']);
});

test('any other error stops the loop and is thrown, also while it is being ended', async () => {
  for (const error of [new InvariantViolation('no'), fail('SYN-L001', 'gap'), fail('SYN-P008', 'password')]) {
    const stop = new AbortController();
    const states: RunState[] = [];
    const running = runLoop({
      run: async () => {
        stop.abort();
        throw error;
      },
      signal: stop.signal,
      backoff: backoff(),
      onState: (state) => states.push(state),
    });
    await assert.rejects(running, error);
    assert.deepEqual(states.at(-1), { kind: 'failed', error });
  }
});

test('the signal ends work and waits, and the faults that it causes are swallowed', async () => {
  const whileRunning = new AbortController();
  await runLoop({
    run: async (signal) => {
      whileRunning.abort();
      signal.throwIfAborted();
    },
    signal: whileRunning.signal,
    backoff: backoff(),
    onState: () => undefined,
  });

  const whileWaiting = new AbortController();
  const kinds: string[] = [];
  await runLoop({
    run: () => Promise.reject(lost()),
    signal: whileWaiting.signal,
    backoff: new Backoff({ random: seededRandom(1), minMs: 1e9, maxMs: 1e9 }),
    onState: (state) => {
      kinds.push(state.kind);
      if (state.kind === 'waiting') setImmediate(() => whileWaiting.abort());
    },
  });
  assert.deepEqual(kinds, ['running', 'waiting', 'ended']);
});
