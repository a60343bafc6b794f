import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Backoff } from './backoff.ts';
import { seededRandom } from './random.ts';

test('delays double up to the bound, stay within jitter, and start again after a reset', () => {
  const backoff = new Backoff({ random: seededRandom(1), minMs: 100, maxMs: 1_000 });
  for (const boundMs of [100, 200, 400, 800, 1_000, 1_000]) {
    const delayMs = backoff.nextMs();
    assert.ok(delayMs >= boundMs / 2 && delayMs <= boundMs, `${delayMs} for ${boundMs}`);
  }
  assert.equal(backoff.attempt, 6);
  backoff.reset();
  assert.ok(backoff.nextMs() <= 100);
});

test('thousands of failures do not overflow the bound', () => {
  const backoff = new Backoff({ random: seededRandom(1) });
  for (let attempt = 0; attempt < 5_000; attempt += 1) assert.ok(backoff.nextMs() <= 10_000);
});
