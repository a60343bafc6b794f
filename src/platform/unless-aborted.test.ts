import assert from 'node:assert/strict';
import { test } from 'node:test';
import { unlessAborted } from './unless-aborted.ts';

test('what the work gives or fails with is passed on, and the signal is left alone', async () => {
  const { signal } = new AbortController();
  assert.equal(await unlessAborted(Promise.resolve(7), signal), 7);
  assert.equal(await unlessAborted(Promise.resolve(7), undefined), 7);
  await assert.rejects(unlessAborted(Promise.reject(new Error('boom')), signal), /boom/);
});

test('an abort is not held up by the work, and what that still gives is told as late', async () => {
  for (const when of ['before', 'meanwhile']) {
    const abort = new AbortController();
    const { promise: work, resolve } = Promise.withResolvers<string>();
    const late = Promise.withResolvers<string>();
    if (when === 'before') abort.abort(new Error('given up'));
    const given = unlessAborted(work, abort.signal, late.resolve);
    abort.abort(new Error('given up'));
    await assert.rejects(given, /given up/);
    resolve('too late');
    assert.equal(await late.promise, 'too late');
  }
});

test('what the work fails with behind an abort ends nobody', async () => {
  const { promise: work, reject } = Promise.withResolvers<string>();
  await assert.rejects(unlessAborted(work, AbortSignal.abort(new Error('given up'))), /given up/);
  reject(new Error('boom'));
});
