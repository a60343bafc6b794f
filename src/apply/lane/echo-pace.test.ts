import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ECHO_REST_MS, EchoPace } from './echo-pace.ts';

test('the own stream rests after a batch', () => {
  const pace = new EchoPace();
  assert.equal(pace.notBeforeMs, 0);
  pace.applied(1_000, false);
  assert.equal(pace.notBeforeMs, 1_000 + ECHO_REST_MS);
});

test('it does not rest while more of it waits', () => {
  const pace = new EchoPace();
  pace.applied(1_000, false);
  pace.applied(1_010, true);
  assert.equal(pace.notBeforeMs, 0);
});

test('who waits for it ends one rest, and no later one', () => {
  const pace = new EchoPace();
  pace.applied(1_000, false);
  pace.awaited();
  assert.equal(pace.notBeforeMs, 0);
  pace.applied(1_010, false);
  assert.equal(pace.notBeforeMs, 1_010 + ECHO_REST_MS);
});
